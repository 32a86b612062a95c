#include "tests/hostile/rogue/remote.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <cerrno>

namespace cordon::rogue {
namespace {

constexpr auto kPatience = milliseconds{30'000};

base::Fd dial(const std::string& path) {
  base::Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  path.copy(at.sun_path, sizeof at.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) fd.reset();
  return fd;
}

}  // namespace

// While an old translator is on its way out a new client is accepted and closed.
Remote::Remote(const std::string& socket) {
  const auto end = Clock::now() + kPatience;
  for (;;) {
    fd_ = dial(socket);
    try {
      if (fd_) {
        receive(&hello_, sizeof hello_);
        break;
      }
    } catch (const Gone&) {
    }
    if (Clock::now() > end) throw std::runtime_error("no agent answers");
    constexpr timespec kPause{0, 2'000'000};
    ::nanosleep(&kPause, nullptr);
  }
  message_ = room(2048);
  incoming_ = room(2048);
}

void Remote::transmit(const void* from, std::size_t size) {
  const auto* at = static_cast<const std::byte*>(from);
  while (size > 0) {
    const ssize_t put = ::send(fd_.get(), at, size, MSG_NOSIGNAL);
    if (put < 0) throw Gone{};
    at += put;
    size -= static_cast<std::size_t>(put);
  }
}

void Remote::receive(void* into, std::size_t size) {
  auto* at = static_cast<std::byte*>(into);
  while (size > 0) {
    pollfd ready{fd_.get(), POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(kPatience.count())) != 1)
      throw std::runtime_error("the agent hangs");
    const ssize_t got = ::recv(fd_.get(), at, size, 0);
    if (got <= 0) throw Gone{};
    at += got;
    size -= static_cast<std::size_t>(got);
  }
}

std::uint64_t Remote::room(std::size_t size) {
  const std::size_t at = (used_ + 15) & ~std::size_t{15};
  if (at + size > kArena) throw std::runtime_error("the arena is full");
  used_ = at + size;
  return hello_.arena + at;
}

std::uint64_t Remote::put(base::Bytes bytes) {
  const std::uint64_t address = room(bytes.size());
  write(address, bytes);
  return address;
}

void Remote::write(std::uint64_t address, base::Bytes bytes) {
  Command command{.order = Order::kPut, .offset = offset_of(address), .size = bytes.size()};
  transmit(&command, sizeof command);
  transmit(bytes.data(), bytes.size());
}

std::vector<std::byte> Remote::read(std::uint64_t address, std::size_t size) {
  Command command{.order = Order::kGet, .offset = offset_of(address), .size = size};
  transmit(&command, sizeof command);
  std::vector<std::byte> bytes(size);
  receive(bytes.data(), size);
  return bytes;
}

Result Remote::make(const Call& call) {
  const Command command{.order = Order::kCall, .call = call};
  transmit(&command, sizeof command);
  Result result;
  receive(&result, sizeof result);
  return result;
}

void Remote::begin(const Command& command) { transmit(&command, sizeof command); }

Tally Remote::tally() {
  Tally tally;
  receive(&tally, sizeof tally);
  return tally;
}

void Remote::other(Order order, std::uint64_t address, std::uint64_t time) {
  const Command command{.order = order, .address = address, .milliseconds = time};
  transmit(&command, sizeof command);
  Result done;
  receive(&done, sizeof done);
}

Result Remote::send(base::Bytes bytes) {
  std::uint64_t at = message_;
  if (bytes.size() > 2048)
    at = put(bytes);
  else
    write(at, bytes);
  return call(SYS_sendto, kChannel, at, bytes.size(), 0, 0, 0);
}

std::optional<Remote::Answer> Remote::hear(milliseconds limit) {
  // One layout for as long as the agent lives: header, vector, control, data.
  struct Incoming {
    msghdr header;
    iovec part;
    alignas(8) std::array<char, 64> control;
    std::array<std::byte, 1024> data;
  };
  static_assert(sizeof(Incoming) <= 2048);
  const auto at = [this](std::size_t offset) { return incoming_ + offset; };
  const auto pointer = [](std::uint64_t address) { return reinterpret_cast<void*>(address); };
  Incoming out{};
  out.part = {pointer(at(offsetof(Incoming, data))), sizeof out.data};
  out.header.msg_iov = static_cast<iovec*>(pointer(at(offsetof(Incoming, part))));
  out.header.msg_iovlen = 1;
  out.header.msg_control = pointer(at(offsetof(Incoming, control)));
  Result got;
  const bool came = within(limit, [&] {
    out.header.msg_controllen = CMSG_LEN(3 * sizeof(int));
    write(incoming_, base::as_bytes(&out, sizeof out));
    got = call(SYS_recvmsg, kChannel, incoming_, MSG_DONTWAIT);
    return got.value >= 0;
  });
  if (got.value == 0) await_end();
  if (!came || got.value < static_cast<std::int64_t>(sizeof(message::Header))) return std::nullopt;
  const auto in = get<Incoming>(incoming_);
  message::Header header;
  std::memcpy(&header, in.data.data(), sizeof header);
  Answer answer{.type = header.type,
                .id = {header.slot, header.generation},
                .size = static_cast<std::size_t>(got.value)};
  if (in.header.msg_controllen >= CMSG_LEN(sizeof(int)))
    std::memcpy(&answer.fd, in.control.data() + CMSG_LEN(0), sizeof answer.fd);
  const auto type = static_cast<message::Type>(header.type);
  if (type == message::Type::kRefuse || type == message::Type::kRevoke)
    answer.how = static_cast<flow::RefuseHow>(in.data.at(sizeof header));
  return answer;
}

message::WireTuple wire_tuple(flow::Protocol protocol, std::string_view guest, std::uint16_t guest_port,
                              std::string_view remote, std::uint16_t remote_port) {
  const int family = remote.find(':') == std::string_view::npos ? AF_INET : AF_INET6;
  message::WireTuple tuple{.protocol = static_cast<std::uint8_t>(protocol),
                           .family = family == AF_INET ? std::uint8_t{4} : std::uint8_t{6},
                           .guest_port = guest_port,
                           .remote_port = remote_port};
  if (::inet_pton(family, std::string{guest}.c_str(), tuple.guest.data()) != 1 ||
      ::inet_pton(family, std::string{remote}.c_str(), tuple.remote.data()) != 1)
    throw std::runtime_error("no address: " + std::string{guest} + " " + std::string{remote});
  return tuple;
}

message::FlowRequest Remote::request(flow::Protocol protocol, std::string_view remote, std::uint16_t port,
                                     std::uint16_t from) {
  const bool v6 = remote.find(':') != std::string_view::npos;
  const std::uint32_t slot = next_slot_++;
  const auto own = static_cast<std::uint16_t>(from != 0 ? from : 20'000 + slot % 40'000);
  last_ = {slot, 1};
  return {.header = {.type = static_cast<std::uint16_t>(message::Type::kFlowRequest),
                     .slot = slot,
                     .generation = 1},
          .tuple = wire_tuple(protocol, v6 ? "fd00:c0:2d::15" : "10.0.2.15", own, remote,
                              protocol == flow::Protocol::kIcmpEcho ? std::uint16_t{0} : port)};
}

// The broker has closed the channel, and the launcher is asked to end us.
void Remote::await_end() {
  static_cast<void>(within(milliseconds{3000}, [&] { return call(SYS_getpid).value < 0; }));
  throw std::runtime_error("the broker does not answer");
}

Remote::Answer Remote::ask(const message::FlowRequest& request) {
  const Result sent = say(request);
  if (sent.value < 0 && sent.error != EPIPE && sent.error != ECONNRESET)
    throw std::runtime_error("the channel takes no request: " + std::to_string(sent.error));
  // News of other flows may come first.
  constexpr int kMostNews = 4096;
  for (int i = 0; i < kMostNews; ++i) {
    const auto answer = hear(sent.value < 0 ? milliseconds{0} : milliseconds{5000});
    if (!answer) break;
    if (answer->id == flow::Id{request.header.slot, request.header.generation}) return *answer;
  }
  await_end();
}

int Remote::grant(flow::Protocol protocol, std::string_view remote, std::uint16_t port, std::uint16_t from) {
  const Answer answer = ask(request(protocol, remote, port, from));
  if (answer.how) throw Refused{*answer.how};
  if (answer.fd < 0) throw std::runtime_error("no descriptor with an answer");
  return answer.fd;
}

Result Remote::close_flow(flow::Id id, flow::CloseHow how) {
  return say(message::Close{.header = {.type = static_cast<std::uint16_t>(message::Type::kClose),
                                       .slot = id.slot,
                                       .generation = id.generation},
                            .how = static_cast<std::uint8_t>(how)});
}

}  // namespace cordon::rogue
