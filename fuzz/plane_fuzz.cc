// A worker of the data path as a whole: what the guest sends, whole connections as well as single bytes of a
// frame, mixed with the gate's answers, what the hosts at the other end do, time, a full channel and a link
// that refuses. Sockets are real: socket pairs for streams, loopback for datagrams, so that ICMP errors come
// by the kernel's own queue.
//
// What must hold: each frame has exactly one outcome; what is sent to the guest are clean frames of a size
// the link takes; a stream's bytes come out as they went in, in order and from its beginning, both ways;
// nothing is acknowledged that was not sent; each flow that was granted is closed exactly once, none twice,
// and when all are cut none is left.
//
// Input: events of a code and what it needs.
#define DOCTEST_CONFIG_IMPLEMENT
#include <netinet/in.h>
#include <netinet/udp.h>

#include <csignal>
#include <set>

#include "core/link/vnet_header.h"
#include "fuzz/input.h"
#include "tests/plane/fakes.h"

using namespace cordon;
using namespace cordon::plane;
using fuzz::require;

namespace {

// The byte of a guest's stream that has this sequence number; isn is the same modulo 256 for all of them.
std::byte guest_byte(std::uint32_t sequence) { return static_cast<std::byte>(sequence * 37U + 11U); }
std::byte host_byte(std::uint32_t offset) { return static_cast<std::byte>(offset * 73U + 5U); }

struct Conn {
  flow::Tuple tuple;
  std::uint32_t isn = 0x1000;
  net::SeqNum sent_most{};          // the guest's farthest, behind FIN and SYN
  std::optional<net::SeqNum> base;  // of our first byte
  net::SeqNum heard{};              // behind the farthest of ours
  base::Fd host{};
  std::uint32_t written = 0, read = 0;  // at the host's end
};

base::Fd loopback_udp(bool v6, net::SockAddr& name) {
  base::Fd fd{::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  const net::SockAddr any = net::to_sockaddr({*net::parse_ip(v6 ? "::1" : "127.0.0.1"), net::Port{0}});
  require(::bind(fd.get(), &any.generic, any.length) == 0);
  name.length = sizeof name.storage;
  require(::getsockname(fd.get(), &name.generic, &name.length) == 0);
  const int on = 1;
  ::setsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_UDP, UDP_GRO, &on, sizeof on);
  return fd;
}

class Machine {
 public:
  Machine() : world_(config()) {
    for (std::uint16_t i = 0; i < 4; ++i) {
      conns_[i].tuple = test::tuple(flow::Protocol::kTcp, static_cast<std::uint16_t>(40000U + i), i % 2 != 0);
      datagrams_[i] = test::tuple(flow::Protocol::kUdp, static_cast<std::uint16_t>(50000U + i), i % 2 != 0);
    }
    for (Conn& conn : conns_) conn.sent_most = net::SeqNum{conn.isn};
  }

  void event(fuzz::Input& in) {
    switch (in.u8() % 16U) {
      case 0: raw_frame(in); break;
      case 1: syn(conns_.at(in.u8() % 4U)); break;
      case 2:
      case 3:
      case 4: segment(in); break;
      case 5: datagram(in); break;
      case 6: echo(in); break;
      case 7:
      case 8: grant(in.u8()); break;
      case 9: refuse(in); break;
      case 10: cut(in); break;
      case 11: inbound(in); break;
      case 12:
      case 13: host_acts(in); break;
      case 14:
        world_.clock.time = world_.clock.time + std::chrono::microseconds{std::uint64_t{1} << in.u8() % 36U};
        break;
      default: weather(in);
    }
    turn();
  }

  void finish() {
    world_.gate.full = false;
    world_.link.refuse = 0;
    world_.worker.on_gate_writable();
    turn();
    while (!waiting_.empty()) {
      world_.worker.on_refuse(waiting_.front(), flow::RefuseHow::kDrop);
      waiting_.erase(waiting_.begin());
    }
    for (int round = 0; round < 6; ++round) {
      for (const flow::Id id : std::set(live_)) world_.worker.on_revoke(id, flow::RefuseHow::kReject);
      turn();
      world_.clock.time = world_.clock.time + std::chrono::minutes{5};
      turn();
      for (const flow::Id id : waiting_) world_.worker.on_refuse(id, flow::RefuseHow::kDrop);
      waiting_.clear();
    }
    require(world_.worker.live_flows() == 0);
    require(live_.empty());
  }

 private:
  static WorkerConfig config() {
    WorkerConfig out = test::config();
    out.lan.services = {.dhcp = true, .dhcpv6 = true, .router = true, .unsolicited = true, .slaac = true};
    out.limits.flows = 8;
    out.limits.udp_flows = 3;
    out.limits.icmp_flows = 1;
    out.limits.ring_bytes = std::size_t{1} << 20U;
    out.limits.stash_bytes = std::size_t{1} << 20U;
    return out;
  }

  void turn() {
    world_.turn(2);
    hear_gate();
    hear_link();
    require(world_.worker.live_flows() <= 8);
    require(world_.count(Counter::kFramesFromGuest) == world_.outcomes());
  }
  void hear_gate() {
    auto& gate = world_.gate;
    for (const auto& [id, tuple] : gate.requests) {
      require(id.generation != 0 && known_.insert(id).second);
      waiting_.push_back(id);
      tuples_[id] = tuple;
    }
    for (const auto& [id, offer] : gate.claims) {
      require(known_.insert(id).second && live_.insert(id).second);
      require(offers_.erase(offer) == 1);
    }
    for (const std::uint32_t offer : gate.declines) require(offers_.erase(offer) == 1);
    for (const auto& close : gate.closes) {
      const bool waited = std::erase(waiting_, close.id) == 1;
      require((live_.erase(close.id) == 1) != waited);
    }
    gate.requests.clear();
    gate.claims.clear();
    gate.declines.clear();
    gate.closes.clear();
    gate.packets.clear();
    gate.volume_reports.clear();
  }

  void hear_link() {
    for (; !world_.link.output.empty(); world_.link.output.pop_front()) {
      const auto& item = world_.link.output.front();
      const auto ethernet = wire::EthernetView::parse(item.bytes);
      require(ethernet.has_value() && ethernet->source() == test::kOurMac);
      const bool super = item.offload.gso != link::Gso::kNone;
      require(item.bytes.size() <= (super ? 65535U + 14U : 1500U + 14U));
      require(!super || item.offload.gso_size > 0);
      if (ethernet->type() == wire::EtherType::kArp) continue;
      const auto packet = wire::parse_packet(
          ethernet->payload(), ethernet->type(),
          item.offload.needs_checksum ? wire::ChecksumPolicy::kSkipL4 : wire::ChecksumPolicy::kVerifyL4);
      require(packet.has_value());
      if (packet->protocol != wire::IpProtocol::kTcp || packet->is_fragment) continue;
      const auto tcp = wire::TcpView::parse(packet->l4);
      require(tcp.has_value());
      hear_tcp(*packet, *tcp);
    }
  }
  void hear_tcp(const wire::Packet& packet, const wire::TcpView& tcp) {
    for (Conn& conn : conns_) {
      if (conn.tuple.guest != net::Endpoint{packet.destination, tcp.destination_port()} ||
          conn.tuple.remote != net::Endpoint{packet.source, tcp.source_port()})
        continue;
      const auto flags = tcp.flags();
      if (flags.syn) {
        conn.base = tcp.seq() + 1U;
        conn.heard = tcp.seq() + 1U;
      }
      if (flags.rst || !conn.base) return;
      if (flags.ack) require(!tcp.ack().after(conn.sent_most));
      const std::uint32_t length = static_cast<std::uint32_t>(tcp.payload().size());
      const std::uint32_t from = static_cast<std::uint32_t>(tcp.seq().distance_from(*conn.base));
      require(length == 0 || std::uint64_t{from} + length <= conn.written);
      for (std::uint32_t i = 0; i < length; ++i) require(tcp.payload()[i] == host_byte(from + i));
      const net::SeqNum end = tcp.seq() + length + (flags.fin ? 1U : 0U);
      if (end.after(conn.heard)) conn.heard = end;
    }
  }

  void raw_frame(fuzz::Input& in) {
    link::VnetHeader header{};
    if (in.flag())
      header = {.flags = in.u8(),
                .gso_type = in.u8(),
                .hdr_len = in.u16(),
                .gso_size = in.u16(),
                .csum_start = in.u16(),
                .csum_offset = in.u16()};
    const base::Bytes bytes = in.bytes(in.u16() % 2048U);
    // No link hands out less than an Ethernet header, nor what its offload contradicts.
    if (bytes.size() < link::kEthernetSize) return;
    const auto offload = link::read_offload(header, bytes.size());
    // It may be about a connection we keep books of: TCP only by segment().
    const auto ethernet = wire::EthernetView::parse(bytes);
    if (ethernet) {
      const auto packet =
          wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kSkipL4);
      if (packet && packet->protocol == wire::IpProtocol::kTcp)
        for (const Conn& conn : conns_)
          if (packet->destination == conn.tuple.remote.address) return;
    }
    if (offload) world_.link.from_guest({bytes.begin(), bytes.end()}, *offload);
  }
  void say(Conn& conn, const wire::TcpFields& fields, base::Bytes payload) {
    const net::SeqNum end = fields.seq + static_cast<std::uint32_t>(payload.size()) +
                            (fields.flags.syn || fields.flags.fin ? 1U : 0U);
    if (end.after(conn.sent_most)) conn.sent_most = end;
    world_.link.from_guest(test::tcp_frame(conn.tuple, fields, payload));
  }
  void syn(Conn& conn) {
    wire::TcpFields fields;
    fields.seq = net::SeqNum{conn.isn};
    fields.flags.syn = true;
    fields.window = 65535;
    fields.mss = 1460;
    fields.window_scale = 7;
    fields.sack_permitted = true;
    say(conn, fields, {});
  }
  static std::uint32_t distance(fuzz::Input& in) {
    const unsigned kind = in.u8();
    if (kind < 160) return 0;
    if (kind < 224) return static_cast<std::uint32_t>(static_cast<std::int8_t>(in.u8()));
    if (kind < 252) return static_cast<std::uint32_t>(static_cast<std::int16_t>(in.u16()));
    return in.u32() % (1U << 20U);
  }
  void segment(fuzz::Input& in) {
    Conn& conn = conns_.at(in.u8() % conns_.size());
    const unsigned flags = in.u8();
    wire::TcpFields fields;
    fields.seq = ((flags & 1U) != 0 ? net::SeqNum{conn.isn + 1U} : conn.sent_most) + distance(in);
    fields.ack = conn.heard + distance(in);
    fields.flags.ack = (flags & 2U) == 0;
    fields.flags.psh = (flags & 4U) != 0;
    fields.flags.fin = (flags & 0x18U) == 0x18U;
    fields.flags.rst = (flags & 0x60U) == 0x60U;
    fields.window = in.u16();
    if ((flags & 0x80U) != 0 && conn.tuple.guest.port.number() == 22) {  // answers our SYN
      fields.flags.syn = true;
      fields.seq = net::SeqNum{conn.isn};
      fields.mss = in.u16();
      fields.window_scale = static_cast<std::uint8_t>(in.u8() % 15U);
    }
    std::vector<std::byte> payload(fields.flags.syn ? 0U : in.u8() * 5U);
    const std::uint32_t first = static_cast<std::uint32_t>(fields.seq.distance_from(net::SeqNum{0}));
    for (std::uint32_t i = 0; i < payload.size(); ++i) payload[i] = guest_byte(first + i);
    say(conn, fields, payload);
  }
  void datagram(fuzz::Input& in) {
    const flow::Tuple& tuple = datagrams_.at(in.u8() % 4U);
    const std::vector<std::byte> payload(in.u16() % 1473U);
    world_.link.from_guest(test::udp_frame(tuple, payload));
  }
  void echo(fuzz::Input& in) {
    const bool v6 = in.flag();
    flow::Tuple tuple = test::tuple(flow::Protocol::kIcmpEcho, 7, v6);
    tuple.remote.port = net::Port{0};
    const std::vector<std::byte> payload(in.u8());
    const iovec part = wire::piece(payload);
    std::array<std::byte, wire::kMaxHeaders> headers;
    const auto protocol = v6 ? wire::IpProtocol::kIcmpv6 : wire::IpProtocol::kIcmp;
    const auto built = wire::build_icmp(test::from_guest(tuple, protocol), v6 ? 128 : 8, 0, in.u32(),
                                        std::span(&part, 1), headers);
    world_.link.from_guest(test::join(headers, built.length, payload));
  }

  Conn* conn_of(const flow::Tuple& tuple) {
    const auto found = std::ranges::find(conns_, tuple, &Conn::tuple);
    return found == conns_.end() ? nullptr : &*found;
  }
  // Our end, the other one is kept.
  base::Fd socket_for(const flow::Tuple& tuple) {
    if (tuple.protocol != flow::Protocol::kTcp) {
      const bool v6 = tuple.remote.address.is_v6();
      net::SockAddr ours, theirs;
      base::Fd fd = loopback_udp(v6, ours), far = loopback_udp(v6, theirs);
      require(::connect(fd.get(), &theirs.generic, theirs.length) == 0);
      require(::connect(far.get(), &ours.generic, ours.length) == 0);
      if (far_.size() >= 8) far_.erase(far_.begin());
      far_.push_back(std::move(far));
      return fd;
    }
    std::array<int, 2> fds{};
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
    base::Fd far{fds[1]};
    if (Conn* conn = conn_of(tuple)) {
      conn->host = std::move(far);
      conn->written = conn->read = 0;
      conn->sent_most = net::SeqNum{conn->isn} + 1U;
      conn->base.reset();
    }
    return base::Fd{fds[0]};
  }
  void grant(unsigned which) {
    if (waiting_.empty()) return;
    const flow::Id id = waiting_.at(which % waiting_.size());
    std::erase(waiting_, id);
    live_.insert(id);
    world_.worker.on_grant({.id = id, .socket = socket_for(tuples_.at(id)), .path_mtu = 1500});
  }
  void refuse(fuzz::Input& in) {
    const unsigned which = in.u8();
    const auto how = static_cast<flow::RefuseHow>(in.u8() % 5U);
    if (waiting_.empty()) return;
    const flow::Id id = waiting_.at(which % waiting_.size());
    std::erase(waiting_, id);
    world_.worker.on_refuse(id, how);
  }
  // Of a live flow, or of one that never was.
  flow::Id some_id(fuzz::Input& in) const {
    const unsigned which = in.u8();
    if (live_.empty() || which > 250) return {which % 8U, 1U + which};
    return *std::next(live_.begin(), static_cast<std::ptrdiff_t>(which % live_.size()));
  }
  void cut(fuzz::Input& in) {
    const unsigned how = in.u8();
    const flow::Id id = some_id(in);
    if (how % 4U == 0) {
      world_.worker.on_revoke(id, static_cast<flow::RefuseHow>(how / 4U % 5U));
    } else if (how % 4U == 1U) {
      const auto shaper = static_cast<std::uint16_t>(1U + in.u8() % 64U);
      world_.worker.on_reshape(id, {shaper, 0, 1U + std::uint64_t{in.u16()} * 64U, 0, in.u16()});
    } else {
      const std::vector<std::byte> payload(in.u16() % 3000U);
      world_.worker.on_late_datagram({id, payload});
    }
  }
  void inbound(fuzz::Input& in) {
    const unsigned how = in.u8();
    const bool v6 = (how & 2U) != 0;
    flow::Tuple tuple = test::tuple(flow::Protocol::kTcp, 22, v6);
    tuple.remote.port = net::Port{51000};
    const std::vector<std::byte> first(in.u16() % 2000U);
    if ((how & 1U) != 0) {
      tuple.protocol = flow::Protocol::kUdp;
      tuple.remote.port = net::Port{static_cast<std::uint16_t>(51000U + (how >> 4U))};
    } else {
      Conn& conn = conns_.at(v6 ? 5 : 4);
      // Nobody keeps two flows of one tuple: it would be declined, and our books would be the older one's.
      if (conn.host) return;
      conn.tuple = tuple;
    }
    const std::uint32_t offer = ++last_offer_;
    offers_.insert(offer);
    world_.worker.on_inbound({.offer = offer,
                              .tuple = tuple,
                              .socket = socket_for(tuple),
                              .path_mtu = 1500,
                              .first = (how & 1U) != 0 ? base::Bytes{first} : base::Bytes{}});
  }

  void host_acts(fuzz::Input& in) {
    const unsigned what = in.u8();
    const std::size_t amount = in.u16();
    if (what % 8U == 7U) return far_acts(what / 8U, amount);
    Conn& conn = conns_.at(what / 8U % conns_.size());
    if (!conn.host) return;
    switch (what % 8U) {
      case 0:
      case 1: {
        std::vector<std::byte> bytes(amount);
        for (std::uint32_t i = 0; i < bytes.size(); ++i) bytes[i] = host_byte(conn.written + i);
        const ssize_t sent = ::send(conn.host.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) conn.written += static_cast<std::uint32_t>(sent);
        break;
      }
      case 2: ::shutdown(conn.host.get(), SHUT_WR); break;
      case 3: conn.host.reset(); break;
      default: read(conn, amount);
    }
  }
  static void read(Conn& conn, std::size_t most) {
    std::vector<std::byte> bytes(most);
    const ssize_t got = ::recv(conn.host.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    for (ssize_t i = 0; i < got; ++i)
      require(bytes[static_cast<std::size_t>(i)] == guest_byte(conn.isn + 1U + conn.read++));
  }
  void far_acts(unsigned what, std::size_t amount) {
    if (far_.empty()) return;
    const std::vector<std::byte> bytes(amount % 9000U);
    const int fd = far_.at(what % far_.size()).get();
    if (what >= 24) {
      far_.erase(far_.begin() + static_cast<std::ptrdiff_t>(what % far_.size()));  // ICMP errors from now on
      return;
    }
    static_cast<void>(::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  void weather(fuzz::Input& in) {
    const unsigned what = in.u8();
    switch (what % 4U) {
      case 0: world_.link.refuse = in.u8() % 16U; break;
      case 1: world_.gate.full = true; break;
      default: world_.gate.full = false; world_.worker.on_gate_writable();
    }
  }

  test::World world_;
  std::array<Conn, 6> conns_;
  std::array<flow::Tuple, 4> datagrams_;
  std::vector<base::Fd> far_;  // datagram peers
  std::set<flow::Id> known_, live_;
  std::vector<flow::Id> waiting_;
  std::map<flow::Id, flow::Tuple> tuples_;
  std::set<std::uint32_t> offers_;
  std::uint32_t last_offer_ = 0;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 8192) return 0;
  std::signal(SIGPIPE, SIG_IGN);            // as the translator does
  static doctest::Context doctest_context;  // for the checks of the fakes
  doctest_context.setAsDefaultForAssertsOutOfTestCases();
  doctest_context.setAssertHandler([](const doctest::AssertData& check) {
    std::fprintf(stderr, "%s:%d: %s\n", check.m_file, check.m_line, check.m_expr);
    std::abort();
  });
  fuzz::Input in{data, size};
  Machine machine;
  for (int i = 0; i < 256 && !in.empty(); ++i) machine.event(in);
  machine.finish();
  return 0;
}
