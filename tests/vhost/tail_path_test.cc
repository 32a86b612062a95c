// From a driver's ring through the link and a worker to a socket: TCP's payload is copied once, by the
// kernel.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "core/vhost/fault_guard.h"
#include "tests/plane/fakes.h"
#include "tests/vhost/in_child.h"
#include "tests/vhost/pair.h"

using namespace cordon;
using namespace cordon::vhost_client;
using plane::Counter;
using plane::test::config;

namespace {

constexpr VirtioNetHeader kSuper{
    .flags = 1, .gso_type = 1, .hdr_len = 54, .gso_size = 1448, .csum_start = 34, .csum_offset = 16};

// A guest with one connection.
struct Path {
  explicit Path(bool v6 = false) : t(plane::test::tuple(flow::Protocol::kTcp, 40000, v6)) {
    if (v6) super.gso_type = 4, super.hdr_len = 74, super.csum_start = 54;
    pair.post(200, 2000);
  }
  void turn(int times = 1) {
    for (int i = 0; i < times; ++i) worker.run_once(std::chrono::nanoseconds{0});
  }
  std::vector<std::byte> segment(const wire::TcpFields& fields, base::Bytes payload) const {
    std::array<std::byte, wire::kMaxHeaders> headers;
    const iovec part{const_cast<std::byte*>(payload.data()), payload.size()};
    const auto built = wire::build_tcp(plane::test::from_guest(t, wire::IpProtocol::kTcp), fields,
                                       std::span(&part, 1), wire::ChecksumMode::kPartial, headers);
    return plane::test::join(headers, built.length, payload);
  }
  [[nodiscard]] wire::TcpFields at(net::SeqNum from) const {
    wire::TcpFields fields;
    fields.seq = from;
    fields.ack = ack;
    fields.flags.ack = true;
    fields.window = 65535;
    return fields;
  }
  // The worker's end and the other.
  static std::array<base::Fd, 2> connected(bool tcp) {
    std::array<int, 2> fds{-1, -1};
    if (!tcp) {
      static_cast<void>(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()));
      return {base::Fd{fds[0]}, base::Fd{fds[1]}};
    }
    const base::Fd listener{::socket(AF_INET, SOCK_STREAM, 0)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = static_cast<sockaddr*>(static_cast<void*>(&address));
    base::Fd client{::socket(AF_INET, SOCK_STREAM, 0)};
    if (::bind(listener.get(), generic, size) != 0 || ::listen(listener.get(), 1) != 0 ||
        ::getsockname(listener.get(), generic, &size) != 0 || ::connect(client.get(), generic, size) != 0 ||
        ::fcntl(client.get(), F_SETFL, O_NONBLOCK) != 0)
      return {};
    base::Fd server{::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK)};
    return {std::move(client), std::move(server)};
  }
  // false: something was not as it should be.
  bool connect(int send_buffer = 0, bool tcp = false) {
    wire::TcpFields syn;
    syn.seq = net::SeqNum{1000};
    syn.flags.syn = true;
    syn.window = 65535;
    syn.mss = 1460;
    syn.window_scale = 7;
    syn.sack_permitted = true;
    VirtioNetHeader partial = super;
    partial.gso_type = 0;
    pair.put_frame(partial, segment(syn, {}));
    turn();
    if (gate.requests.empty()) return false;
    auto ends = connected(tcp);
    if (!ends[0] || !ends[1]) return false;
    if (send_buffer != 0)
      ::setsockopt(ends[0].get(), SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    host = std::move(ends[1]);
    worker.on_grant({.id = gate.requests.back().first, .socket = std::move(ends[0])});
    turn();
    const auto used = pair.receive.take_used();
    if (!used) return false;
    const base::Bytes answer{pair.memory.at(pair.posted.at(used->head).address), used->length};
    const auto view = wire::TcpView::parse(answer.subspan(kNetHeader + super.csum_start));
    if (!view || !view->flags().syn) return false;
    seq = net::SeqNum{1001};
    ack = view->seq() + 1U;
    return true;
  }
  // As a driver has it: headers, then pages. Returns where the payload begins.
  std::byte* put(const wire::TcpFields& fields, base::Bytes payload, std::size_t padding = 0) {
    auto frame = segment(fields, payload);
    frame.resize(frame.size() + padding, std::byte{0xaa});
    const std::size_t headers = super.hdr_len;
    const std::uint64_t where = pair.memory.allocate(kNetHeader + frame.size(), 4096);
    std::memcpy(pair.memory.at(where), &super, kNetHeader);
    std::memcpy(pair.memory.at(where) + kNetHeader, frame.data(), frame.size());
    std::vector<Buffer> buffers{{where, static_cast<std::uint32_t>(kNetHeader + headers)}};
    for (std::size_t done = headers; done < frame.size();) {
      const std::size_t n = std::min<std::size_t>(frame.size() - done, 4096);
      buffers.push_back({where + kNetHeader + done, static_cast<std::uint32_t>(n)});
      done += n;
    }
    if (!pair.transmit.add(buffers, false)) return nullptr;
    pair.transmit.publish();
    return pair.memory.at(where) + kNetHeader + headers;
  }
  std::vector<std::byte> host_reads() {
    std::vector<std::byte> out(1U << 20U);
    const ssize_t n = ::recv(host.get(), out.data(), out.size(), 0);
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }
  std::size_t given_back() {
    std::size_t n = 0;
    while (pair.transmit.take_used()) ++n;
    return n;
  }

  VirtioNetHeader super = kSuper;
  Pair pair;
  plane::test::ListGate gate;
  plane::test::TestClock clock;
  plane::Worker worker{config(), pair.link, gate, clock};
  flow::Tuple t;
  net::SeqNum seq, ack;
  base::Fd host;
};

}  // namespace

TEST_CASE("vhost path: super-frames reach the socket, whichever their family") {
  for (const bool v6 : {false, true}) {
    CAPTURE(v6);
    Path path{v6};
    REQUIRE(path.connect());
    for (unsigned i = 0; i < 10; ++i) {
      const auto payload = some_frame(5000 + 1000 * i, i);
      REQUIRE(path.put(path.at(path.seq), payload));
      path.seq += static_cast<std::uint32_t>(payload.size());
      path.turn();
      CHECK(path.host_reads() == payload);
    }
    CHECK(path.pair.link.stats().tails == 10);
    CHECK(path.given_back() == 11);
    CHECK_FALSE(path.pair.link.dead());
  }
}

TEST_CASE("vhost path: several segments of a turn, out of order and twice, are one stream") {
  Path path;
  REQUIRE(path.connect());
  const auto all = some_frame(30000);
  const auto piece = [&](std::size_t from, std::size_t to) {
    return std::span(all).subspan(from, to - from);
  };
  const auto put = [&](std::size_t from, std::size_t to) {
    REQUIRE(path.put(path.at(path.seq + static_cast<std::uint32_t>(from)), piece(from, to)));
  };
  put(12000, 18000);
  put(0, 6000);
  put(3000, 9000);  // the second half is new, and it begins in a tail
  put(9000, 15000);
  put(18000, 30000);
  path.turn(2);
  CHECK(path.host_reads() == all);
  CHECK(path.pair.link.stats().tails == 5);
  CHECK(path.given_back() == 6);
}

TEST_CASE("vhost path: what a full socket does not take is ours before the guest gets its memory back") {
  Path path;
  REQUIRE(path.connect(16384));
  std::vector<std::byte> all, got;
  std::vector<std::byte*> where;
  for (unsigned i = 0; i < 5; ++i) {
    const auto payload = some_frame(12000, i);
    all.insert(all.end(), payload.begin(), payload.end());
    where.push_back(path.put(path.at(path.seq), payload));
    path.seq += static_cast<std::uint32_t>(payload.size());
  }
  path.turn();
  CHECK(path.given_back() == 6);
  for (std::byte* const at : where) std::memset(at, 0xee, 12000);
  for (int i = 0; i < 100 && got.size() < all.size(); ++i) {
    const auto more = path.host_reads();
    got.insert(got.end(), more.begin(), more.end());
    path.turn();
  }
  CHECK(got == all);
}

TEST_CASE("vhost path: padding behind a segment is none of it") {
  Path path;
  REQUIRE(path.connect());
  const auto payload = some_frame(6000);
  REQUIRE(path.put(path.at(path.seq), payload, 100));
  path.turn();
  CHECK(path.host_reads() == payload);
}

TEST_CASE("vhost path: a length that promises more than the frame has is refused") {
  Path path;
  REQUIRE(path.connect());
  std::byte* const payload = path.put(path.at(path.seq), some_frame(6000));
  REQUIRE(payload);
  payload[-54 + 14 + 2] = std::byte{0x40};  // the IPv4 total length, and its checksum made good
  payload[-54 + 14 + 10] = payload[-54 + 14 + 11] = std::byte{0};
  std::uint32_t sum = 0;
  for (int i = 0; i < 20; i += 2)
    sum += std::to_integer<std::uint32_t>(payload[-40 + i]) << 8U |
           std::to_integer<std::uint32_t>(payload[-40 + i + 1]);
  while (sum > 0xffff) sum = (sum & 0xffffU) + (sum >> 16U);
  payload[-54 + 14 + 10] = static_cast<std::byte>(~sum >> 8U & 0xffU);
  payload[-54 + 14 + 11] = static_cast<std::byte>(~sum & 0xffU);
  path.turn();
  CHECK(path.worker.counters().get(Counter::kDropMalformed) == 1);
  CHECK(path.host_reads().empty());
}

TEST_CASE("vhost path: other protocols are put together first") {
  Path path;
  path.t = plane::test::tuple(flow::Protocol::kUdp, 41000);
  const auto send = [&](base::Bytes payload) {
    std::array<std::byte, wire::kMaxHeaders> headers;
    const iovec part{const_cast<std::byte*>(payload.data()), payload.size()};
    const auto built = wire::build_udp(plane::test::from_guest(path.t, wire::IpProtocol::kUdp),
                                       std::span(&part, 1), wire::ChecksumMode::kPartial, headers);
    path.pair.put_frame({.flags = 1, .csum_start = 34, .csum_offset = 6},
                        plane::test::join(headers, built.length, payload));
    path.turn();
  };
  send(some_frame(100));
  REQUIRE(path.gate.requests.size() == 1);
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
  path.host = base::Fd{fds[1]};
  path.worker.on_grant({.id = path.gate.requests.back().first, .socket = base::Fd{fds[0]}});
  path.turn();
  static_cast<void>(path.host_reads());
  send(some_frame(9000));
  CHECK(path.host_reads() == some_frame(9000));
  CHECK(path.pair.link.stats().tails == 1);
}

// The file of the guest's memory is cut in the middle of a payload, or before its first page: the host gets
// what was there, or nothing. The device is over, and so is everything that was copied since.
namespace {

template <bool kTcp, int kKept>
int vanish() {
  if (!vhost::fault_guard::install()) return 1;
  Path path;
  if (!vhost::fault_guard::watch(path.pair.table.regions()[0].bytes)) return 2;
  if (!path.connect(0, kTcp)) return 3;
  const auto payload = some_frame(60000);
  const std::byte* const at = path.put(path.at(path.seq), payload);
  if (at == nullptr) return 4;
  // The start of the frame stays, and so do the rings below it.
  const auto keep = (at - path.pair.memory.bytes().data() + kKept + 4095) / 4096 * 4096;
  if (::ftruncate(path.pair.memory.fd(), keep) != 0) return 5;
  path.turn(5);
  if (path.pair.link.intact()) return 6;
  std::vector<std::byte> got;
  for (int i = 0; i < 20; ++i) {
    const auto more = path.host_reads();
    got.insert(got.end(), more.begin(), more.end());
    path.turn();
  }
  if (got.size() > static_cast<std::size_t>(kKept) + 4096) return 7;
  return std::equal(got.begin(), got.end(), payload.begin()) ? 0 : 8;
}

}  // namespace

TEST_CASE("vhost path: memory that vanishes in the middle of a send gives the host no wrong byte") {
  CHECK(in_child(vanish<false, 20000>) == 0);
  CHECK(in_child(vanish<true, 20000>) == 0);
  CHECK(in_child(vanish<false, 0>) == 0);
  CHECK(in_child(vanish<true, 0>) == 0);
}
