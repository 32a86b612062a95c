#include "sandbox/channel.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <random>
#include <string_view>
#include <vector>

namespace cordon::sandbox {
namespace {

using Raw = std::vector<std::uint8_t>;

base::Bytes bytes(const Raw& raw) { return base::as_bytes(raw.data(), raw.size()); }

// Messages by hand, so that a change of messages.h shows here. x86-64 and arm64 are little-endian.
void put16(Raw& raw, unsigned value) {
  raw.push_back(static_cast<std::uint8_t>(value & 0xffU));
  raw.push_back(static_cast<std::uint8_t>(value >> 8U));
}
void put32(Raw& raw, std::uint32_t value) {
  put16(raw, value & 0xffffU);
  put16(raw, value >> 16U);
}
Raw header(unsigned type, std::uint32_t slot, std::uint32_t generation) {
  Raw raw;
  put16(raw, 1);
  put16(raw, type);
  put32(raw, slot);
  put32(raw, generation);
  return raw;
}
void put_tuple(Raw& raw, std::uint8_t protocol, std::uint8_t family, unsigned guest_port,
               unsigned remote_port, const Raw& guest, const Raw& remote) {
  raw.push_back(protocol);
  raw.push_back(family);
  put16(raw, guest_port);
  put16(raw, remote_port);
  put16(raw, 0);
  for (const Raw& address : {guest, remote}) {
    Raw padded = address;
    padded.resize(16, 0);
    raw.insert(raw.end(), padded.begin(), padded.end());
  }
}
Raw request_v4() {
  Raw raw = header(1, 7, 3);
  put_tuple(raw, 6, 4, 40000, 443, {10, 0, 2, 15}, {192, 0, 2, 1});
  return raw;
}
Raw close_message() {
  Raw raw = header(2, 7, 3);
  raw.insert(raw.end(), {1, 4, 0, 0});
  put32(raw, 1000);
  put32(raw, 0);
  put32(raw, 0);
  put32(raw, 2);  // 2 << 32 bytes to the guest
  put32(raw, 9);
  put32(raw, 0);  // 9 datagrams
  return raw;
}
Raw spoof_report() {
  Raw raw = header(3, 0, 0);
  put_tuple(raw, 17, 6, 0, 53, {0xfe, 0x80}, {0x20, 0x01, 0x0d, 0xb8});
  raw.insert(raw.end(), {2, 0, 0, 0, 0, 9, 0, 0});
  return raw;
}
Raw counters() {
  Raw raw = header(4, 0, 0);
  raw.resize(16 + 8 * 48, 0);
  raw[16] = 5;
  return raw;
}

struct Edit {
  std::size_t offset;
  std::uint8_t value;
};
struct Bad {
  std::string_view name;
  Raw base;
  std::vector<Edit> edits;
  Violation violation;
};

}  // namespace

TEST_CASE("channel: messages of the translator become values") {
  const auto request = decode_from_translator(bytes(request_v4()));
  REQUIRE(request.has_value());
  const auto& flow = std::get<FlowRequest>(*request);
  CHECK(flow.id == flow::Id{7, 3});
  CHECK(flow.tuple.protocol == flow::Protocol::kTcp);
  CHECK(net::to_string(flow.tuple.guest) == "10.0.2.15:40000");
  CHECK(net::to_string(flow.tuple.remote) == "192.0.2.1:443");

  const auto closed = decode_from_translator(bytes(close_message()));
  REQUIRE(closed.has_value());
  const auto& close = std::get<FlowClose>(*closed);
  CHECK(close.how == flow::CloseHow::kReset);
  CHECK(close.reason == flow::EndReason::kLimit);
  CHECK(close.volumes.bytes_from_guest == 1000);
  CHECK(close.volumes.bytes_to_guest == std::uint64_t{2} << 32U);
  CHECK(close.volumes.datagrams_from_guest == 9);

  const auto spoof = decode_from_translator(bytes(spoof_report()));
  REQUIRE(spoof.has_value());
  CHECK(net::to_string(std::get<flow::SpoofReport>(*spoof).source_mac) == "02:00:00:00:00:09");
  CHECK(net::to_string(std::get<flow::SpoofReport>(*spoof).tuple.remote) == "[2001:db8::]:53");

  const auto totals = decode_from_translator(bytes(counters()));
  REQUIRE(totals.has_value());
  CHECK(std::get<CounterReport>(*totals).values[0] == 5);
}

TEST_CASE("channel: every field that cannot be is a violation") {
  const Bad cases[] = {
      {"version 0", request_v4(), {{0, 0}}, Violation::kVersion},
      {"version 2", request_v4(), {{0, 2}}, Violation::kVersion},
      {"type 0", request_v4(), {{2, 0}}, Violation::kType},
      {"type 5", request_v4(), {{2, 5}}, Violation::kType},
      {"a grant, in the wrong direction", request_v4(), {{2, 16}}, Violation::kType},
      {"type 257", request_v4(), {{3, 1}}, Violation::kType},
      {"a request with the length of a spoof report", spoof_report(), {{2, 1}, {8, 1}}, Violation::kLength},
      {"generation 0", request_v4(), {{8, 0}}, Violation::kSlotOrGeneration},
      {"protocol 0", request_v4(), {{12, 0}}, Violation::kProtocol},
      {"protocol 58", request_v4(), {{12, 58}}, Violation::kProtocol},
      {"SCTP", request_v4(), {{12, 132}}, Violation::kProtocol},
      {"family 0", request_v4(), {{13, 0}}, Violation::kFamily},
      {"family 10, as the kernel numbers it", request_v4(), {{13, 10}}, Violation::kFamily},
      {"reserved", request_v4(), {{18, 1}}, Violation::kReserved},
      {"byte 5 of an IPv4 guest address", request_v4(), {{24, 1}}, Violation::kAddressPadding},
      {"byte 16 of an IPv4 remote address", request_v4(), {{51, 1}}, Violation::kAddressPadding},
      {"echo with a remote port", request_v4(), {{12, 1}}, Violation::kPort},
      {"close: how", close_message(), {{12, 2}}, Violation::kEnum},
      {"close: reason", close_message(), {{13, 6}}, Violation::kEnum},
      {"close: reserved", close_message(), {{14, 1}}, Violation::kReserved},
      {"close: generation 0", close_message(), {{8, 0}}, Violation::kSlotOrGeneration},
      {"spoof: slot", spoof_report(), {{4, 1}}, Violation::kSlotOrGeneration},
      {"spoof: generation", spoof_report(), {{8, 1}}, Violation::kSlotOrGeneration},
      {"spoof: reserved", spoof_report(), {{59, 1}}, Violation::kReserved},
      {"counters: generation", counters(), {{8, 1}}, Violation::kSlotOrGeneration},
      {"counters: reserved", counters(), {{12, 1}}, Violation::kReserved},
  };
  for (const Bad& row : cases) {
    CAPTURE(row.name);
    Raw raw = row.base;
    for (const Edit& edit : row.edits) raw.at(edit.offset) = edit.value;
    const auto decoded = decode_from_translator(bytes(raw));
    REQUIRE_FALSE(decoded.has_value());
    CHECK(decoded.error() == row.violation);
    CHECK(to_string(decoded.error()) != "?");
  }
}

TEST_CASE("channel: no other length than the exact one is taken") {
  for (const Raw& good : {request_v4(), close_message(), spoof_report(), counters()}) {
    for (std::size_t size = 0; size <= good.size() + 16; ++size) {
      Raw raw = good;
      raw.resize(size, 0);
      CAPTURE(size);
      const auto decoded = decode_from_translator(bytes(raw));
      CHECK(decoded.has_value() == (size == good.size()));
      if (!decoded) CHECK(decoded.error() == Violation::kLength);
    }
  }
}

TEST_CASE("channel: what a mutated message decodes to is in range") {
  std::mt19937 random{4711};
  const std::array<Raw, 4> seeds{request_v4(), close_message(), spoof_report(), counters()};
  int accepted = 0;
  for (int round = 0; round < 200'000; ++round) {
    Raw raw = seeds.at(random() % seeds.size());
    for (unsigned n = random() % 4; n-- > 0;)
      raw.at(random() % raw.size()) = static_cast<std::uint8_t>(random());
    if (random() % 8 == 0) raw.resize(random() % (raw.size() + 8));
    const auto decoded = decode_from_translator(bytes(raw));
    if (!decoded) continue;
    ++accepted;
    if (const auto* request = std::get_if<FlowRequest>(&*decoded)) {
      CHECK(request->id.generation != 0);
      CHECK(request->tuple.guest.address.family() == request->tuple.remote.address.family());
      const auto protocol = request->tuple.protocol;
      CHECK((protocol == flow::Protocol::kTcp || protocol == flow::Protocol::kUdp ||
             protocol == flow::Protocol::kIcmpEcho));
      if (protocol == flow::Protocol::kIcmpEcho) CHECK(request->tuple.remote.port.number() == 0);
    }
    if (const auto* close = std::get_if<FlowClose>(&*decoded)) {
      CHECK(close->how <= flow::CloseHow::kReset);
      CHECK(close->reason <= flow::EndReason::kError);
    }
  }
  CHECK(accepted > 10'000);  // the mutations reach past the header
}

namespace {

struct Events final : flow::GateEvents {
  void on_grant(flow::Grant grant) override { grants.push_back(std::move(grant)); }
  void on_refuse(flow::Id id, flow::RefuseHow how) override { refusals.emplace_back(id, how); }
  void on_revoke(flow::Id id, flow::RefuseHow how) override { revocations.emplace_back(id, how); }
  void on_gate_writable() override {
    ++writable;
    if (when_writable) when_writable();
  }
  std::vector<flow::Grant> grants;
  std::vector<std::pair<flow::Id, flow::RefuseHow>> refusals;
  std::vector<std::pair<flow::Id, flow::RefuseHow>> revocations;
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
  CHECK(ends.gate->dispatch(events, false) == ChannelGate::Status::kOpen);  // all three in one wake-up
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
  ends.gate->report_spoof({net::MacAddress{}, kTuple});
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

TEST_CASE("channel: only a grant carries a descriptor, and exactly one; the rest is closed") {
  struct Case {
    std::string_view name;
    unsigned type;
    std::size_t fds;
    std::size_t body;
  };
  const Case cases[] = {
      {"a refusal with a descriptor", 17, 1, 4},
      {"a revocation with a descriptor", 18, 1, 4},
      {"a grant without", 16, 0, 8},
      {"a grant with two", 16, 2, 8},
      {"a grant with six", 16, 6, 8},
      {"a short grant with one", 16, 1, 4},
      {"an unknown type with one", 19, 1, 4},
      {"generation 0 with one", 16, 1, 8},
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
