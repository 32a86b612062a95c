// TCP-25: every state, every combination of the six flags, nine places in sequence space and three lengths,
// as frames through the whole worker, against an executable model written from RFC 9293 section 3.10.7 and
// RFC 5961. The machine's own sweep (tests/tcp/sweep_test.cc) varies the acknowledgement as well.
#include "tests/hostile/frames/lab.h"

namespace cordon::hostile {
namespace {

enum class At : std::uint8_t {
  kClosed,
  kListen,  // the guest's SYN is known, the far end has not answered yet
  kSynSent,
  kSynReceived,
  kEstablished,
  kFinWait1,
  kFinWait2,
  kCloseWait,
  kClosing,
  kLastAck,
  kTimeWait
};
constexpr const char* kNames[] = {"CLOSED",      "LISTEN",     "SYN-SENT",   "SYN-RECEIVED",
                                  "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT",
                                  "CLOSING",     "LAST-ACK",   "TIME-WAIT"};

enum class Reply : std::uint8_t { kNone, kMayAck, kAck, kReset, kSynAck };
enum class End : std::uint8_t { kLives, kGraceful, kReset };

// What must come of a segment.
struct Expected {
  std::size_t delivered = 0;
  bool eof = false;
  bool asks = false;  // a new flow
  End end = End::kLives;
  Reply reply = Reply::kNone;
};

struct Shot {
  At at;
  unsigned flags;
  std::int64_t offset;  // of its sequence number, from what the machine expects
  std::uint32_t payload;
  std::int64_t window;
};

bool in(const Shot& shot, std::int64_t at) { return at >= 0 && at < shot.window; }

// RFC 9293 3.10.7.4, first check. The right edge itself counts: a guest that filled the window numbers its
// ACKs so.
bool acceptable(const Shot& shot) {
  const std::int64_t length =
      std::int64_t{shot.payload} + ((shot.flags & kSyn) != 0 ? 1 : 0) + ((shot.flags & kFin) != 0 ? 1 : 0);
  if (length == 0) return in(shot, shot.offset) || shot.offset == shot.window;
  return in(shot, shot.offset) || shot.offset == shot.window || in(shot, shot.offset + length - 1);
}

Expected without_flow(const Shot& shot) {
  if ((shot.flags & kRst) != 0) return {};
  if ((shot.flags & (kSyn | kAck | kFin)) == kSyn) return {.asks = true};
  return {.reply = Reply::kReset};
}

Expected in_listen(const Shot& shot) {
  // A reset of the SYN itself, or of what comes behind it.
  if ((shot.flags & kRst) != 0 && (shot.offset == 0 || shot.offset == -1)) return {.end = End::kReset};
  return {};
}

Expected in_syn_sent(const Shot& shot) {
  const bool ack = (shot.flags & kAck) != 0;  // always of our SYN
  if ((shot.flags & kRst) != 0) return {.end = ack ? End::kReset : End::kLives};
  if ((shot.flags & kSyn) == 0) return {};
  return {.reply = ack ? Reply::kAck : Reply::kReset};
}

// Bytes of the segment that are new and in order.
std::size_t fresh(const Shot& shot) {
  if (shot.offset > 0 || shot.offset + std::int64_t{shot.payload} <= 0) return 0;
  return static_cast<std::size_t>(shot.offset + std::int64_t{shot.payload});
}

Expected in_flow(const Shot& shot) {
  const bool rst = (shot.flags & kRst) != 0, syn = (shot.flags & kSyn) != 0, fin = (shot.flags & kFin) != 0,
             ack = (shot.flags & kAck) != 0;
  const bool receives = shot.at == At::kSynReceived || shot.at == At::kEstablished ||
                        shot.at == At::kFinWait1 || shot.at == At::kFinWait2;
  if (rst) {  // RFC 5961 section 3
    // Both ends are done in TIME-WAIT, and nobody is left to be reset.
    if (shot.offset == 0) return {.end = shot.at == At::kTimeWait ? End::kGraceful : End::kReset};
    return {.reply = in(shot, shot.offset) ? Reply::kMayAck : Reply::kNone};
  }
  if (syn) {  // RFC 5961 section 4
    if (shot.at == At::kSynReceived && shot.offset == -1 && !ack) return {.reply = Reply::kSynAck};
    if (shot.at == At::kTimeWait && shot.offset > 0 && !ack && !fin)
      return {.asks = true, .end = End::kGraceful};
    return {.reply = Reply::kMayAck};
  }
  if (!acceptable(shot)) return {.reply = Reply::kMayAck};
  if (!ack) return {};
  Expected out{.reply = Reply::kMayAck};
  if (shot.at == At::kLastAck) {
    out.end = End::kGraceful;
    return out;
  }
  if (!receives) return out;
  out.delivered = fresh(shot);
  const std::int64_t behind = shot.offset + std::int64_t{shot.payload};  // where the FIN is
  out.eof = fin && shot.offset <= 0 && behind >= 0;
  return out;
}

Expected model(const Shot& shot) {
  switch (shot.at) {
    case At::kClosed: return without_flow(shot);
    case At::kListen: return in_listen(shot);
    case At::kSynSent: return in_syn_sent(shot);
    case At::kSynReceived:
    case At::kEstablished:
    case At::kFinWait1:
    case At::kFinWait2:
    case At::kCloseWait:
    case At::kClosing:
    case At::kLastAck:
    case At::kTimeWait: return in_flow(shot);
  }
  return {};
}

// A guest's connection, brought into a state by frames and by its far end.
class Peer {
 public:
  Peer(Lab& lab, std::uint16_t port) : lab_(lab), port_(port) {}

  void reach(At at) {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
    host = base::Fd(fds[1]);
    base::Fd near(fds[0]);
    seq = 0xfffffc00U;  // wraps soon
    ack = 77;
    window = 4096;
    if (at == At::kClosed) return;
    if (at == At::kSynSent) return dial(std::move(near));
    send(kSyn, 0);
    ++seq;
    id = lab_.gate.requests.back().first;
    if (at == At::kListen) return;
    lab_.worker.on_grant({.id = id, .socket = std::move(near)});
    lab_.turn();
    hear();
    if (at == At::kSynReceived) return;
    send(kAck, 0);
    send(kAck, 500);
    settle();
    REQUIRE(read() == 500);
    if (at == At::kEstablished) return;
    if (at == At::kCloseWait || at == At::kLastAck) {
      send(kFin | kAck, 0);
      settle();
      if (at == At::kLastAck) close();
      return;
    }
    const std::uint32_t before = ack;
    close();
    if (at == At::kFinWait1) return;
    if (at == At::kClosing) {
      const std::uint32_t after = std::exchange(ack, before);
      send(kFin | kAck, 0);
      settle();
      ack = after;
      return;
    }
    send(kAck, 0);
    if (at == At::kFinWait2) return;
    send(kFin | kAck, 0);
    settle();
  }

  void fire(const Shot& shot) {
    const Buffer payload(shot.payload, std::byte{0x61});
    lab_.bench().put(lab_.make.tcp({.from = port_,
                                    .to = 80,
                                    .seq = seq + static_cast<std::uint32_t>(shot.offset),
                                    .ack = ack,
                                    .flags = static_cast<std::uint16_t>(shot.flags),
                                    .window = 60000,
                                    .payload = payload}));
    lab_.turn();
  }
  // Bytes at the far end; -1: its end. Both: the bytes, and `eof`.
  std::size_t read() {
    std::array<char, 4096> bytes;
    std::size_t total = 0;
    for (;;) {
      const ssize_t n = ::recv(host.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      eof = eof || n == 0;
      if (n <= 0) return total;
      total += static_cast<std::size_t>(n);
    }
  }

  flow::Id id;
  base::Fd host;
  std::uint32_t seq = 0, ack = 0;
  std::int64_t window = 0;
  bool eof = false;

 private:
  void dial(base::Fd near) {
    flow::Inbound inbound;
    inbound.offer = 7;
    inbound.tuple = {flow::Protocol::kTcp,
                     {*net::parse_ip(lab_.place.guest4), net::Port{port_}},
                     {*net::parse_ip(lab_.place.remote4), net::Port{80}}};
    inbound.socket = std::move(near);
    lab_.worker.on_inbound(std::move(inbound));
    lab_.turn();
    id = lab_.gate.claims.back().first;
    hear();
  }
  void send(unsigned flags, std::size_t size) {
    lab_.bench().put(lab_.make.tcp({.from = port_,
                                    .to = 80,
                                    .seq = seq,
                                    .ack = ack,
                                    .flags = static_cast<std::uint16_t>(flags),
                                    .window = 60000,
                                    .payload = Buffer(size, std::byte{0x61})}));
    seq += static_cast<std::uint32_t>(size) + ((flags & kFin) != 0 ? 1U : 0U);
    lab_.turn();
    hear();
  }
  void close() {
    REQUIRE(::shutdown(host.get(), SHUT_WR) == 0);
    lab_.turn(2);
    hear();
  }
  // Delayed acknowledgements leave.
  void settle() {
    lab_.pass(15ms);
    hear();
  }
  void hear() {
    for (const Seen& seen : lab_.take()) {
      if (seen.to != port_ || seen.kind != Kind::kTcp) continue;
      const std::uint32_t end = seen.seq + static_cast<std::uint32_t>(seen.payload.size()) +
                                ((seen.flags & (kSyn | kFin)) != 0 ? 1U : 0U);
      ack = end;
      if ((seen.flags & kAck) != 0) window = seen.window;
    }
  }
  Lab& lab_;
  std::uint16_t port_;
};

void check_replies(const Expected& expected, const Shot& shot, const Peer& peer,
                   const std::vector<Seen>& said) {
  const bool ack = (shot.flags & kAck) != 0;
  const std::uint32_t seq = peer.seq + static_cast<std::uint32_t>(shot.offset);
  if (expected.reply == Reply::kNone) CHECK(said.empty());
  if (expected.reply == Reply::kMayAck) CHECK(said.size() <= 1);
  if (expected.reply >= Reply::kAck) CHECK(said.size() == 1);
  for (const Seen& seen : said) {
    if (expected.reply == Reply::kReset) {  // RFC 9293 3.10.7.1
      CHECK(seen.kind == Kind::kReset);
      CHECK(seen.flags == (ack ? kRst : kRst | kAck));
      const std::uint32_t length =
          shot.payload + ((shot.flags & kSyn) != 0 ? 1U : 0U) + ((shot.flags & kFin) != 0 ? 1U : 0U);
      CHECK((ack ? seen.seq == peer.ack : seen.ack == seq + length));
      continue;
    }
    CHECK(seen.kind == Kind::kTcp);
    CHECK((seen.flags & kSyn) == (expected.reply == Reply::kSynAck ? kSyn : 0));
    CHECK((seen.flags & kAck) != 0);
    const std::uint32_t next =
        shot.at == At::kSynSent
            ? seq + 1
            : peer.seq + static_cast<std::uint32_t>(expected.delivered) + (expected.eof ? 1U : 0U);
    CHECK(seen.ack == next);
  }
}

void run(Lab& lab, At at, unsigned flags, int place, std::uint32_t payload, std::uint16_t port) {
  Peer peer(lab, port);
  peer.reach(at);
  const bool had_eof = (peer.read(), peer.eof);
  lab.take();
  const std::int64_t offsets[] = {
      0, -1, 1, -501, peer.window - 1, peer.window, peer.window + 1, 0x7fffffff, -0x7fffffff};
  const Shot shot{at, flags, offsets[place], payload, peer.window};
  const Expected expected = model(shot);
  const std::string state = kNames[static_cast<std::size_t>(at)];
  CAPTURE(state);
  CAPTURE(flags);
  CAPTURE(place);
  CAPTURE(payload);
  const std::size_t requests = lab.gate.requests.size();
  lab.gate.closes.clear();
  peer.fire(shot);
  CHECK(peer.read() == expected.delivered);
  CHECK(peer.eof == (had_eof || expected.eof || expected.end != End::kLives));
  CHECK((lab.gate.requests.size() > requests) == expected.asks);
  check_replies(expected, shot, peer, lab.take());
  // What it leaves behind is cut, and nothing stays.
  const bool ended = !lab.gate.closes.empty() && lab.gate.closes.front().id == peer.id;
  CHECK(ended == (expected.end != End::kLives));
  if (ended) CHECK((lab.gate.closes.front().how == flow::CloseHow::kReset) == (expected.end == End::kReset));
  if (lab.gate.requests.size() > requests || at == At::kListen)
    lab.worker.on_refuse(lab.gate.requests.back().first, flow::RefuseHow::kReject);
  if (at != At::kClosed && at != At::kListen && !ended)
    lab.worker.on_revoke(peer.id, flow::RefuseHow::kReject);
  lab.pass(10ms);
  REQUIRE(lab.worker.live_flows() == 0);
}

}  // namespace

TEST_CASE("hostile frames: states x flags x sequence x payload are as the model says") {
  const char* const row = "TCP-25";
  CAPTURE(row);
  Lab lab(kWays[0].make());
  lab.clock.time = lab.clock.time + 1s;
  std::uint32_t shots = 0;
  for (unsigned at = 0; at <= static_cast<unsigned>(At::kTimeWait); ++at)
    for (unsigned flags = 0; flags < 64; ++flags)
      for (int place = 0; place < 9; ++place)
        for (const std::uint32_t payload : {0U, 1U, 1460U})
          run(lab, static_cast<At>(at), flags, place, payload, static_cast<std::uint16_t>(2000 + shots++));
  CHECK(shots == 19008);
  lab.check_conservation();
}

}  // namespace cordon::hostile
