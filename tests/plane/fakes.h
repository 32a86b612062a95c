// A guest made of bytes, a link and a gate that are just lists, and real loopback or pair sockets as host
// side.
#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/net/sockaddr.h"
#include "core/plane/worker.h"
#include "core/wire/frame_builder.h"
#include "core/wire/packet.h"
#include "core/wire/tcp.h"
#include "core/wire/udp.h"

namespace cordon::plane::test {

using namespace std::chrono_literals;

inline const net::MacAddress kGuestMac = *net::parse_mac("02:00:00:00:00:15");
inline const net::MacAddress kOurMac = *net::parse_mac("02:00:00:00:00:02");

inline WorkerConfig config() {
  WorkerConfig c;
  c.lan.guest_mac = kGuestMac;
  c.lan.our_mac = kOurMac;
  c.lan.v4 = lan::LanAddresses{*net::parse_ip("10.0.2.15"), *net::parse_prefix("10.0.2.0/24"),
                               *net::parse_ip("10.0.2.2"), net::parse_ip("10.0.2.3")};
  c.lan.v6 = lan::LanAddresses{*net::parse_ip("fd00::15"), *net::parse_prefix("fd00::/64"),
                               *net::parse_ip("fd00::2"), net::parse_ip("fd00::3")};
  c.lan.our_link_local = *net::parse_ipv6("fe80::2");
  c.lan.mtu = 1500;
  c.key = {1, 2};
  c.limits.flows = 64;
  c.limits.udp_flows = 8;
  c.limits.icmp_flows = 4;
  c.busy_poll.longest = 0ns;
  return c;
}

struct ListLink final : link::Link {
  link::Capabilities caps{.tso = true, .uso = true, .checksum = true};
  ListLink() { REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds.data()) == 0); }
  ~ListLink() override {
    ::close(fds[0]);
    ::close(fds[1]);
  }
  [[nodiscard]] link::Capabilities capabilities() const override { return caps; }
  [[nodiscard]] int poll_fd() const override { return fds[0]; }
  bool serves = true;
  [[nodiscard]] bool serves_guest() const override { return serves; }
  // Each frame is announced by one byte in the pair, so that epoll sees it. `start`: it has a tail behind as
  // many bytes.
  void from_guest(std::vector<std::byte> bytes, link::Offload offload = {}, std::size_t start = 0) {
    input.push_back({std::move(bytes), offload, start});
    REQUIRE(::write(fds[1], "x", 1) == 1);
  }
  [[nodiscard]] std::size_t receive(std::span<link::Frame> frames) override {
    std::size_t n = 0;
    held.clear();
    for (; n < frames.size() && !input.empty(); ++n) {
      char c;
      REQUIRE(::read(fds[0], &c, 1) == 1);
      held.push_back(std::move(input.front()));
      input.pop_front();
    }
    for (std::size_t i = 0; i < n; ++i) {
      Item& item = held[i];
      frames[i] = {item.bytes, item.offload};
      if (item.start == 0) continue;
      const base::MutableBytes room = std::span(item.bytes).subspan(item.start);
      item.tail.assign(room.begin(), room.end());
      std::ranges::fill(room, std::byte{0xdd});
      item.piece = {item.tail.data(), item.tail.size()};
      frames[i].bytes = std::span(item.bytes).first(item.start);
      frames[i].tail = {std::span(&item.piece, 1), item.tail.size(), room.data()};
    }
    return n;
  }
  [[nodiscard]] link::SendStatus send(const link::Offload& offload, std::span<const iovec> parts) override {
    if (refuse > 0) {
      --refuse;
      return link::SendStatus::kAgain;
    }
    Item item{.offload = offload};
    for (const iovec& part : parts) {
      const auto* at = static_cast<const std::byte*>(part.iov_base);
      item.bytes.insert(item.bytes.end(), at, at + part.iov_len);
    }
    if (keep) output.push_back(std::move(item));
    return link::SendStatus::kSent;
  }
  struct Item {
    std::vector<std::byte> bytes{};
    link::Offload offload{};
    std::size_t start = 0;
    std::vector<std::byte> tail{};
    iovec piece{};
  };
  std::array<int, 2> fds{};
  std::deque<Item> input;
  std::deque<Item> held;
  std::deque<Item> output;
  int refuse = 0;
  bool keep = true;
};

struct ListGate final : flow::Gate {
  struct Close {
    flow::Id id;
    flow::CloseHow how;
    flow::EndReason reason;
    flow::Volumes volumes;
  };
  [[nodiscard]] bool request(flow::Id id, const flow::Tuple& tuple) override {
    if (full) return false;
    requests.push_back({id, tuple});
    return true;
  }
  [[nodiscard]] bool close(flow::Id id, flow::CloseHow how, flow::EndReason reason,
                           const flow::Volumes& volumes) override {
    if (full) return false;
    closes.push_back({id, how, reason, volumes});
    return true;
  }
  [[nodiscard]] bool claim(flow::Id id, std::uint32_t offer) override {
    if (full) return false;
    claims.push_back({id, offer});
    return true;
  }
  [[nodiscard]] bool decline(std::uint32_t offer) override {
    if (full) return false;
    declines.push_back(offer);
    return true;
  }
  [[nodiscard]] bool report_volumes(flow::Id id, const flow::Volumes& volumes) override {
    if (full) return false;
    volume_reports.push_back({id, volumes});
    return true;
  }
  void report_packet(const flow::PacketReport& report) override { packets.push_back(report); }
  std::vector<std::pair<flow::Id, flow::Tuple>> requests;
  std::vector<Close> closes;
  std::vector<std::pair<flow::Id, std::uint32_t>> claims;
  std::vector<std::uint32_t> declines;
  std::vector<flow::PacketReport> packets;
  std::vector<std::pair<flow::Id, flow::Volumes>> volume_reports;
  bool full = false;
};

struct TestClock final : Clock {
  base::Instant time = base::Instant::from_nanos(1'000'000'000'000);
  [[nodiscard]] base::Instant now() const override { return time; }
};

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto* at = reinterpret_cast<const std::byte*>(text.data());
  return {at, at + text.size()};
}
inline std::string text_of(base::Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A frame of the guest.
inline wire::FrameTemplate from_guest(const flow::Tuple& t, wire::IpProtocol protocol) {
  return wire::FrameTemplate(
      {.source_mac = kGuestMac, .destination_mac = kOurMac, .source = t.guest, .destination = t.remote},
      protocol);
}
inline std::vector<std::byte> join(const std::array<std::byte, wire::kMaxHeaders>& headers, std::size_t n,
                                   base::Bytes payload) {
  std::vector<std::byte> out(headers.begin(), headers.begin() + static_cast<std::ptrdiff_t>(n));
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}
inline std::vector<std::byte> tcp_frame(const flow::Tuple& t, const wire::TcpFields& fields,
                                        base::Bytes payload = {}) {
  std::array<std::byte, wire::kMaxHeaders> headers;
  const iovec part{const_cast<std::byte*>(payload.data()), payload.size()};
  const auto built = wire::build_tcp(from_guest(t, wire::IpProtocol::kTcp), fields, std::span(&part, 1),
                                     wire::ChecksumMode::kFull, headers);
  return join(headers, built.length, payload);
}
inline std::vector<std::byte> udp_frame(const flow::Tuple& t, base::Bytes payload) {
  std::array<std::byte, wire::kMaxHeaders> headers;
  const iovec part{const_cast<std::byte*>(payload.data()), payload.size()};
  const auto built = wire::build_udp(from_guest(t, wire::IpProtocol::kUdp), std::span(&part, 1),
                                     wire::ChecksumMode::kFull, headers);
  return join(headers, built.length, payload);
}

inline flow::Tuple tuple(flow::Protocol protocol, std::uint16_t guest_port = 40000, bool v6 = false) {
  return {protocol,
          {*net::parse_ip(v6 ? "fd00::15" : "10.0.2.15"), net::Port{guest_port}},
          {*net::parse_ip(v6 ? "2001:db8::1" : "192.0.2.1"), net::Port{80}}};
}

struct SeenTcp {
  wire::TcpFlags flags;
  net::SeqNum seq, ack;
  std::uint16_t window = 0;
  std::string payload;
  link::Offload offload;
};

// Worker with everything around it.
struct World {
  explicit World(const WorkerConfig& c = config()) : worker(c, link, gate, clock) {}

  void turn(int times = 1) {
    for (int i = 0; i < times; ++i) worker.run_once(0ns);
  }
  // The next frame to the guest as TCP; REQUIREs that it is.
  SeenTcp take_tcp() {
    REQUIRE_FALSE(link.output.empty());
    const auto item = std::move(link.output.front());
    link.output.pop_front();
    const auto ethernet = wire::EthernetView::parse(item.bytes);
    REQUIRE(ethernet);
    const auto packet = wire::parse_packet(
        ethernet->payload(), ethernet->type(),
        item.offload.needs_checksum ? wire::ChecksumPolicy::kSkipL4 : wire::ChecksumPolicy::kVerifyL4);
    REQUIRE(packet);
    REQUIRE(packet->protocol == wire::IpProtocol::kTcp);
    const auto view = wire::TcpView::parse(packet->l4);
    REQUIRE(view);
    return {view->flags(), view->seq(), view->ack(), view->window(), text_of(view->payload()), item.offload};
  }
  [[nodiscard]] std::uint64_t count(Counter c) const { return worker.counters().get(c); }
  [[nodiscard]] std::uint64_t outcomes() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < kCounters; ++i)
      if (is_frame_outcome(static_cast<Counter>(i))) sum += worker.counters().values()[i];
    return sum;
  }

  ListLink link;
  ListGate gate;
  TestClock clock;
  Worker worker;
};

// A guest's half of one TCP connection with a socket pair behind it.
struct GuestTcp {
  explicit GuestTcp(World& w, std::uint16_t port = 40000, bool v6 = false)
      : world(w), t(tuple(flow::Protocol::kTcp, port, v6)) {}
  void syn() {
    wire::TcpFields f;
    f.seq = net::SeqNum{isn};
    f.flags.syn = true;
    f.window = 65535;
    f.mss = 1460;
    f.window_scale = 7;
    f.sack_permitted = true;
    world.link.from_guest(tcp_frame(t, f));
    world.turn();
    seq = net::SeqNum{isn} + 1;
  }
  void grant() {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
    host = base::Fd(fds[1]);
    REQUIRE_FALSE(world.gate.requests.empty());
    id = world.gate.requests.back().first;
    world.worker.on_grant({.id = id, .socket = base::Fd(fds[0])});
    world.turn();
  }
  void connect() {
    syn();
    grant();
    const SeenTcp answer = world.take_tcp();
    REQUIRE(answer.flags.syn);
    REQUIRE(answer.flags.ack);
    ack = answer.seq + 1;
    send({});
  }
  void send(base::Bytes payload, bool fin = false, std::uint16_t window = 65535) {
    queue(payload, fin, window);
    world.turn();
  }
  void queue(base::Bytes payload, bool fin = false, std::uint16_t window = 65535) {
    wire::TcpFields f;
    f.seq = seq;
    f.ack = ack;
    f.flags.ack = true;
    f.flags.fin = fin;
    f.window = window;
    world.link.from_guest(tcp_frame(t, f, payload));
    seq = seq + static_cast<std::uint32_t>(payload.size()) + (fin ? 1U : 0U);
  }
  std::string host_reads(std::size_t most = 1 << 20) {
    std::string out(most, '\0');
    const ssize_t n = ::recv(host.get(), out.data(), out.size(), 0);
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }
  World& world;
  flow::Tuple t;
  flow::Id id;
  base::Fd host;
  std::uint32_t isn = 1000;
  net::SeqNum seq, ack;
};

}  // namespace cordon::plane::test
