#include "netlink/fib.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "netlink/parse.h"

namespace cordon::netlink {
namespace {

std::size_t slot_of(const net::IpAddress& address, std::size_t slots) {
  // A direct-mapped cache: a collision costs a system call, so a plain hash will do.
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const std::uint8_t byte : address.bytes()) hash = (hash ^ byte) * 0x100000001b3ULL;
  return static_cast<std::size_t>(hash >> 32U) % slots;
}

// net/ipv4/route.c and net/ipv6/route.c answer a reject route with its errno.
RouteType type_of_errno(int error) {
  switch (error) {
    case EACCES: return RouteType::kProhibit;
    case EINVAL: return RouteType::kBlackhole;
    case EHOSTUNREACH: return RouteType::kUnreachable;  // such a route; none at all is ENETUNREACH
    default: return RouteType::kNone;
  }
}

}  // namespace

base::Result<Fib> Fib::open() { return Fib{CORDON_TRY(RouteSocket::open())}; }

base::Result<FibAnswer> Fib::lookup(const net::IpAddress& destination) {
  Entry& entry = (*cache_)[slot_of(destination, kEntries)];
  if (entry.generation == generation_ && entry.destination == destination) return entry.answer;
  const FibAnswer answer = CORDON_TRY(lookup_fresh(destination));
  entry = {generation_, destination, answer};
  return answer;
}

base::Result<FibAnswer> Fib::lookup_fresh(const net::IpAddress& destination) {
  rtmsg header{};
  header.rtm_family = destination.is_v4() ? AF_INET : AF_INET6;
  header.rtm_dst_len = static_cast<unsigned char>(destination.bit_count());
  Request request{RTM_GETROUTE, 0, header};
  request.address(RTA_DST, destination);
  return ask(request, destination);
}

// Asked for an interface alone, IPv4 answers "on-link" when no route leads there (net/ipv4/route.c); the
// matching table entry is what tells a route from that guess.
bool Fib::reaches_by(const net::IpAddress& destination, std::uint32_t interface) {
  rtmsg header{};
  header.rtm_family = destination.is_v4() ? AF_INET : AF_INET6;
  header.rtm_dst_len = static_cast<unsigned char>(destination.bit_count());
  header.rtm_flags = RTM_F_FIB_MATCH;
  Request request{RTM_GETROUTE, 0, header};
  request.address(RTA_DST, destination).number(RTA_OIF, interface);
  const auto answer = ask(request, destination);
  return answer && answer->type == RouteType::kUnicast;
}

base::Result<FibAnswer> Fib::ask(Request& request, const net::IpAddress& destination) {
  const auto sequence = CORDON_TRY(socket_.send(request));

  std::optional<FibAnswer> answer;
  constexpr int kMaxPackets = 16;  // late answers to an earlier, failed request
  for (int i = 0; i < kMaxPackets && !answer; ++i) {
    const auto result = socket_.receive([&](const nlmsghdr& message) {
      if (message.nlmsg_seq != sequence) return;
      if (const auto error = parse_error(message))
        answer = FibAnswer{.type = type_of_errno(*error)};
      else if (auto parsed = parse_fib_answer(message))
        answer = *parsed;
    });
    if (result == ReceiveResult::kEmpty || result == ReceiveResult::kFailed) break;
  }
  if (!answer) return base::fail("RTM_GETROUTE", to_string(destination) + ": no answer");
  return *answer;
}

}  // namespace cordon::netlink
