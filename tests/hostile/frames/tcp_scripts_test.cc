// Rows of 4.5 that need a connection or a crowd, through the whole worker behind every kind of link.
#include "tests/hostile/frames/lab.h"

namespace cordon::hostile {
namespace {

// A guest's connection, established; `host` is its far end.
struct Connection {
  Connection(Lab& the_lab, std::uint16_t the_port) : lab(the_lab), port(the_port) {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
    host = base::Fd(fds[1]);
    send({.seq = isn, .flags = kSyn});
    id = lab.grant(base::Fd(fds[0]));
    const auto said = lab.take();
    REQUIRE(said.size() == 1);
    ack = said[0].seq + 1;
    send({.seq = isn + 1, .ack = ack, .flags = kAck});
    lab.take();
  }
  void queue(Tcp segment) const {
    segment.from = port;
    lab.bench().put(lab.make.tcp(segment));
  }
  void send(const Tcp& segment) const {
    queue(segment);
    lab.turn(2);
  }
  [[nodiscard]] std::string read() const {
    std::string out(4096, '\0');
    const ssize_t n = ::recv(host.get(), out.data(), out.size(), MSG_DONTWAIT);
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }
  Lab& lab;
  std::uint16_t port;
  std::uint32_t isn = 0xffffffff, ack = 0;
  flow::Id id;
  base::Fd host;
};

Buffer text(std::string_view words) {
  const auto bytes = std::as_bytes(std::span(words));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("hostile frames: a flood of SYNs fills its slots and nothing else") {
  const char* const row = "TCP-08";
  CAPTURE(row);
  for (const Way& way : kWays) {
    CAPTURE(way.name);
    Lab lab(way.make());
    Honest honest(lab);
    for (unsigned i = 0; i < 4000; ++i) {
      lab.bench().put(lab.make.tcp({.from = static_cast<std::uint16_t>(2000 + i), .to = 7}));
      if (i % 32 == 0) lab.turn(2);
    }
    lab.turn(4);
    CHECK(lab.count(Counter::kDropTableFull) >= 4000 - 2046);
    CHECK(lab.worker.live_flows() <= 2048);
    honest.go_on();
    lab.answer();
    lab.pass(20s);
    CHECK(lab.worker.live_flows() == 2);
    honest.go_on();
    lab.check_conservation();
  }
}

TEST_CASE("hostile frames: a reset and the next SYN in one batch are both heeded") {
  const char* const row = "TCP-11";
  CAPTURE(row);
  for (const Way& way : kWays) {
    CAPTURE(way.name);
    Lab lab(way.make());
    const Connection old(lab, 45000);
    old.queue({.seq = 0, .flags = kRst});
    old.queue({.seq = 5000, .flags = kSyn});
    lab.turn(3);
    REQUIRE(lab.gate.closes.size() == 1);
    CHECK(lab.gate.closes[0].how == flow::CloseHow::kReset);
    // The slot may still have been busy: a guest sends its SYN again.
    if (lab.gate.requests.size() == 1) old.send({.seq = 5000, .flags = kSyn});
    CHECK(lab.gate.requests.size() == 2);
    lab.check_conservation();
  }
}

TEST_CASE("hostile frames: the first bytes win, urgent or not, over the wrap of sequence numbers") {
  const char* const row = "TCP-16";
  CAPTURE(row);
  for (const Way& way : kWays) {
    CAPTURE(way.name);
    Lab lab(way.make());
    const Connection c(lab, 45001);  // its first byte has the number 0
    c.send({.seq = 4, .ack = c.ack, .flags = kAck, .payload = text("EFGH")});
    c.send({.seq = 2, .ack = c.ack, .flags = kAck, .payload = text("zzzzzz")});
    c.send({.seq = 0, .ack = c.ack, .flags = kAck | kUrg, .urgent = 65535, .payload = text("ABCD")});
    c.send({.seq = 0, .ack = c.ack, .flags = kAck | kPsh, .payload = text("abcdefghIJ")});
    const std::string got = c.read();
    CHECK(got.size() == 10);
    CHECK(got.substr(0, 2) == "AB");
    CHECK(got.substr(4) == "EFGHIJ");
    lab.check_conservation();
  }
}

TEST_CASE("hostile frames: storms of acknowledgements cost a bounded number of answers") {
  const char* const row = "TCP-14";
  CAPTURE(row);
  Lab lab(kWays[0].make());
  const Connection c(lab, 45002);
  for (int i = 0; i < 20000; ++i) {
    c.queue({.seq = 0, .ack = c.ack + (i % 2 == 0 ? 100000U : 0U), .flags = kAck});
    if (i % 64 == 63) lab.turn();
  }
  lab.turn(2);
  CHECK(lab.take().size() < 2000);
  CHECK(lab.worker.live_flows() == 1);
  lab.check_conservation();
}

}  // namespace cordon::hostile
