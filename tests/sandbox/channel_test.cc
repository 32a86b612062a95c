#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sandbox/channel_messages.h"

namespace cordon::sandbox {

using namespace test;

namespace {

struct Events final : flow::GateEvents {
  void on_grant(flow::Grant grant) override { grants.push_back(std::move(grant)); }
  void on_refuse(flow::Id id, flow::RefuseHow how) override { refusals.emplace_back(id, how); }
  void on_revoke(flow::Id id, flow::RefuseHow how) override { revocations.emplace_back(id, how); }
  void on_reshape(flow::Id id, const flow::Shaping& shaping) override { reshaped.emplace_back(id, shaping); }
  void on_gate_writable() override {
    ++writable;
    if (when_writable) when_writable();
  }
  void on_inbound(flow::Inbound offered) override {
    firsts.emplace_back(reinterpret_cast<const char*>(offered.first.data()), offered.first.size());
    inbound.push_back(std::move(offered));
  }
  void on_late_datagram(const flow::LateDatagram& late) override {
    lates.emplace_back(late.id,
                       std::string{reinterpret_cast<const char*>(late.payload.data()), late.payload.size()});
  }
  std::vector<flow::Inbound> inbound;
  std::vector<std::string> firsts;
  std::vector<std::pair<flow::Id, std::string>> lates;
  std::vector<flow::Grant> grants;
  std::vector<std::pair<flow::Id, flow::RefuseHow>> refusals;
  std::vector<std::pair<flow::Id, flow::RefuseHow>> revocations;
  std::vector<std::pair<flow::Id, flow::Shaping>> reshaped;
  int writable = 0;
  std::function<void()> when_writable;
};

struct Ends {
  Ends() {
    auto pair = make_channel_pair();
    REQUIRE(pair.has_value());
    raw_broker = pair->broker.get();
    raw_translator = pair->translator.get();
    broker.emplace(std::move(pair->broker));
    gate.emplace(std::move(pair->translator));
  }
  int raw_broker = -1;
  int raw_translator = -1;
  std::optional<BrokerChannel> broker;
  std::optional<ChannelGate> gate;
};

const flow::Tuple kTuple{flow::Protocol::kUdp,
                         {net::Ipv4Address{10, 0, 2, 15}, net::Port{1000}},
                         {net::Ipv4Address{192, 0, 2, 1}, net::Port{53}}};

int open_fds() {
  int count = 0;
  for (int fd = 0; fd < 256; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

void send_with_fds(int socket, const Raw& raw, std::span<const int> fds) {
  iovec part{const_cast<std::uint8_t*>(raw.data()), raw.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(fds.size_bytes());
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(fds.size_bytes());
  std::memcpy(CMSG_DATA(head), fds.data(), fds.size_bytes());
  static_cast<void>(::sendmsg(socket, &message, MSG_NOSIGNAL));
}

}  // namespace

TEST_CASE("channel: request, grant with its socket, refusal, revocation, close") {
  Ends ends;
  Events events;
  REQUIRE(ends.gate->request({1, 2}, kTuple));
  const auto request = ends.broker->receive();
  REQUIRE(request.has_value());
  CHECK(std::get<FlowRequest>(*request).tuple == kTuple);
  CHECK(ends.broker->receive().error() == ReceiveStop::kEmpty);

  const base::Fd file{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  REQUIRE(ends.broker->send_grant({1, 2}, file.get(), 1500, 65536) == SendStatus::kSent);
  REQUIRE(ends.broker->send_refuse({3, 4}, flow::RefuseHow::kHostUnreachable) == SendStatus::kSent);
  REQUIRE(ends.broker->send_revoke({1, 2}, flow::RefuseHow::kDrop) == SendStatus::kSent);
  const flow::Shaping other{.shaper = 5, .outer = 6, .rate = 7, .outer_rate = std::uint64_t{8} << 32U};
  REQUIRE(ends.broker->send_reshape({1, 2}, other) == SendStatus::kSent);
  CHECK(ends.gate->dispatch(events, false) == ChannelGate::Status::kOpen);  // all of them in one wake-up
  CHECK(events.reshaped == std::vector{std::pair{flow::Id{1, 2}, other}});
  REQUIRE(events.grants.size() == 1);
  CHECK(events.grants[0].id == flow::Id{1, 2});
  CHECK(events.grants[0].path_mtu == 1500);
  CHECK(events.grants[0].receive_window == 65536);
  CHECK((::fcntl(events.grants[0].socket.get(), F_GETFD) & FD_CLOEXEC) != 0);
  struct stat ours{}, theirs{};
  ::fstat(file.get(), &ours);
  ::fstat(events.grants[0].socket.get(), &theirs);
  CHECK(ours.st_rdev == theirs.st_rdev);
  REQUIRE(events.refusals.size() == 1);
  CHECK(events.refusals[0] == std::pair{flow::Id{3, 4}, flow::RefuseHow::kHostUnreachable});
  REQUIRE(events.revocations.size() == 1);
  CHECK(events.revocations[0] == std::pair{flow::Id{1, 2}, flow::RefuseHow::kDrop});

  REQUIRE(ends.gate->close({1, 2}, flow::CloseHow::kReset, flow::EndReason::kRevoked, {10, 20, 3}));
  const auto close = ends.broker->receive();
  REQUIRE(close.has_value());
  CHECK(std::get<FlowClose>(*close).volumes.bytes_to_guest == 20);
  CHECK(std::get<FlowClose>(*close).volumes.datagrams_from_guest == 3);

  REQUIRE(ends.gate->report_volumes({5, 6}, {30, 40, 7}));
  const auto volumes = ends.broker->receive();
  REQUIRE(volumes.has_value());
  const auto& report = std::get<FlowVolumes>(*volumes);
  CHECK(report.id == flow::Id{5, 6});
  CHECK(report.volumes.bytes_from_guest == 30);
  CHECK(report.volumes.bytes_to_guest == 40);
  CHECK(report.volumes.datagrams_from_guest == 7);
}

TEST_CASE("channel: an offer, its claim, later datagrams, a decline") {
  Ends ends;
  Events events;
  const base::Fd file{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const std::string longest(65527, 'x');
  const InboundOffer udp{.offer = 5,
                         .tuple = kTuple,
                         .path_mtu = 1500,
                         .receive_window = 0,
                         .shaping = {3, 4, 125000, 250000, 65536}};
  InboundOffer tcp = udp;
  tcp.offer = 6;
  tcp.tuple.protocol = flow::Protocol::kTcp;
  REQUIRE(ends.broker->send_inbound(udp, file.get(), base::as_bytes(longest.data(), longest.size())) ==
          SendStatus::kSent);
  static_cast<void>(ends.gate->dispatch(events, false));
  REQUIRE(ends.broker->send_inbound(tcp, file.get(), {}) == SendStatus::kSent);
  REQUIRE(ends.broker->send_late_datagram({8, 9}, base::as_bytes("again", 5)) == SendStatus::kSent);
  REQUIRE(ends.broker->send_late_datagram({8, 9}, {}) == SendStatus::kSent);
  REQUIRE(ends.gate->dispatch(events, false) == ChannelGate::Status::kOpen);
  REQUIRE(events.inbound.size() == 2);
  CHECK(events.inbound[0].offer == 5);
  CHECK(events.inbound[0].tuple == kTuple);
  CHECK(events.inbound[0].path_mtu == 1500);
  CHECK(events.inbound[0].shaping == flow::Shaping{3, 4, 125000, 250000, 65536});
  CHECK(events.inbound[0].socket.valid());
  CHECK(events.firsts[0] == longest);
  CHECK(events.inbound[1].offer == 6);
  CHECK(events.inbound[1].tuple.protocol == flow::Protocol::kTcp);
  CHECK(events.firsts[1].empty());
  REQUIRE(events.lates.size() == 2);
  CHECK(events.lates[0] == std::pair{flow::Id{8, 9}, std::string{"again"}});
  CHECK(events.lates[1].second.empty());

  REQUIRE(ends.gate->claim({8, 9}, 5));
  REQUIRE(ends.gate->decline(6));
  const auto claimed = ends.broker->receive();
  REQUIRE(claimed.has_value());
  CHECK(std::get<FlowClaim>(*claimed).id == flow::Id{8, 9});
  CHECK(std::get<FlowClaim>(*claimed).offer == 5);
  const auto declined = ends.broker->receive();
  REQUIRE(declined.has_value());
  CHECK(std::get<FlowDecline>(*declined).offer == 6);
}

TEST_CASE("channel: dispatch keeps to its budget") {
  Ends ends;
  Events events;
  for (std::uint32_t i = 1; i <= 5; ++i)
    REQUIRE(ends.broker->send_refuse({i, 1}, flow::RefuseHow::kDrop) == SendStatus::kSent);
  static_cast<void>(ends.gate->dispatch(events, false, 3));
  CHECK(events.refusals.size() == 3);
  static_cast<void>(ends.gate->dispatch(events, false, 3));
  CHECK(events.refusals.size() == 5);
}

TEST_CASE("channel: a full channel is back-pressure and no request is lost") {
  Ends ends;
  Events events;
  std::uint32_t next = 1;
  while (ends.gate->request({next, 1}, kTuple)) ++next;
  CHECK(next > 250);  // mechanisms.md 2: a default pair holds some 278
  CHECK(ends.gate->wants_write());
  ends.gate->report_packet({.tuple = kTuple});
  CHECK(ends.gate->lost_reports() == 1);
  CHECK_FALSE(ends.gate->send_counters({}));
  // A wake-up without room in between changes nothing.
  static_cast<void>(ends.gate->dispatch(events, false));
  CHECK(events.writable == 0);

  std::uint32_t seen = 0;
  while (const auto message = ends.broker->receive())
    CHECK(std::get<FlowRequest>(*message).id.slot == ++seen);
  CHECK(seen == next - 1);
  // The callback may send at once, and may fill the channel again.
  events.when_writable = [&] { CHECK(ends.gate->request({next, 1}, kTuple)); };
  static_cast<void>(ends.gate->dispatch(events, true));
  CHECK(events.writable == 1);
  CHECK_FALSE(ends.gate->wants_write());
  const auto last = ends.broker->receive();
  REQUIRE(last.has_value());
  CHECK(std::get<FlowRequest>(*last).id.slot == next);
}

TEST_CASE("channel: the broker hears of full and closed channels too") {
  Ends ends;
  SendStatus status = SendStatus::kSent;
  for (int i = 0; i < 1'000'000 && status == SendStatus::kSent; ++i)
    status = ends.broker->send_refuse({1, 1}, flow::RefuseHow::kDrop);
  CHECK(status == SendStatus::kFull);
  ends.gate.reset();
  CHECK(ends.broker->send_refuse({1, 1}, flow::RefuseHow::kDrop) == SendStatus::kClosed);
  CHECK(ends.broker->receive().error() == ReceiveStop::kClosed);
}

TEST_CASE("channel: descriptors towards the broker never arrive") {
  const int before = open_fds();
  {
    Ends ends;
    const std::array fds{0, 1};
    send_with_fds(ends.raw_translator, request_v4(), fds);
    const auto received = ends.broker->receive();
    // With SO_PASSRIGHTS (Linux 6.16) the sender is refused and nothing comes; before, it is a violation.
    REQUIRE_FALSE(received.has_value());
    if (received.error() == ReceiveStop::kViolation)
      CHECK(ends.broker->violation() == Violation::kDescriptor);
  }
  CHECK(open_fds() == before);
}

TEST_CASE("channel: only a grant and an offer carry a descriptor, and exactly one; the rest is closed") {
  struct Case {
    std::string_view name;
    unsigned type;
    std::size_t fds;
    std::size_t body;
  };
  const Case cases[] = {
      {"a refusal with a descriptor", 17, 1, 4},
      {"a revocation with a descriptor", 18, 1, 4},
      {"a grant without", 16, 0, 28},
      {"a grant with two", 16, 2, 28},
      {"a grant with six", 16, 6, 28},
      {"a short grant with one", 16, 1, 4},
      {"an offer with slot and one", 19, 1, 76},
      {"an unknown type with one", 21, 1, 4},
      {"generation 0 with one", 16, 1, 28},
  };
  const int before = open_fds();
  for (const Case& row : cases) {
    CAPTURE(row.name);
    Ends ends;
    Events events;
    Raw raw = header(row.type, 1, row.name.starts_with("generation") ? 0 : 1);
    raw.resize(raw.size() + row.body, 0);
    const std::array<int, 8> fds{};
    if (row.fds == 0)
      static_cast<void>(::send(ends.raw_broker, raw.data(), raw.size(), MSG_NOSIGNAL));
    else
      send_with_fds(ends.raw_broker, raw, std::span{fds}.first(row.fds));
    CHECK(ends.gate->dispatch(events, false) == ChannelGate::Status::kClosed);
    CHECK(events.grants.empty());
    CHECK(events.refusals.empty());
    CHECK(events.revocations.empty());
    ends.gate.reset();
    ends.broker.reset();
    CHECK(open_fds() == before);
  }
}

TEST_CASE("channel: oversized and empty messages from a rogue translator") {
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{11}, std::size_t{401}, std::size_t{60000}}) {
    CAPTURE(size);
    Ends ends;
    Raw raw = counters();
    raw.resize(size, 0);
    REQUIRE(::send(ends.raw_translator, raw.data(), raw.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(size));
    const auto received = ends.broker->receive();
    REQUIRE_FALSE(received.has_value());
    CHECK(received.error() == (size == 0 ? ReceiveStop::kClosed : ReceiveStop::kViolation));
  }
}

TEST_CASE("channel: a port that cannot exist is refused without troubling the broker") {
  Ends ends;
  Events events;
  for (const auto protocol : {flow::Protocol::kTcp, flow::Protocol::kUdp})
    for (const bool guest : {true, false}) {
      flow::Tuple tuple = kTuple;
      tuple.protocol = protocol;
      (guest ? tuple.guest : tuple.remote).port = net::Port{0};
      REQUIRE(ends.gate->request({9, 9}, tuple));
    }
  CHECK(ends.broker->receive().error() == ReceiveStop::kEmpty);
  CHECK(ends.broker->impossible_requests() == 4);
  static_cast<void>(ends.gate->dispatch(events, false));
  CHECK(events.refusals.size() == 4);
  // An echo has no ports: identifier 0 is as good as any.
  flow::Tuple echo = kTuple;
  echo.protocol = flow::Protocol::kIcmpEcho;
  echo.guest.port = echo.remote.port = net::Port{0};
  REQUIRE(ends.gate->request({9, 9}, echo));
  CHECK(ends.broker->receive().has_value());
}

TEST_CASE("channel: when the broker is gone the gate says so once it reads") {
  Ends ends;
  Events events;
  ends.broker.reset();
  CHECK(ends.gate->request({1, 1}, kTuple));  // nothing to keep: the process is about to end
  CHECK(ends.gate->dispatch(events, false) == ChannelGate::Status::kClosed);
}

}  // namespace cordon::sandbox
