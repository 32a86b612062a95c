#include <doctest/doctest.h>
#include <fcntl.h>

#include <array>
#include <random>
#include <string>
#include <string_view>

#include "tests/sandbox/channel_messages.h"

namespace cordon::sandbox {

using namespace test;

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

  const auto packet = decode_from_translator(bytes(packet_report()));
  REQUIRE(packet.has_value());
  CHECK(net::to_string(std::get<flow::PacketReport>(*packet).source_mac) == "02:00:00:00:00:09");
  CHECK(net::to_string(std::get<flow::PacketReport>(*packet).tuple.remote) == "[2001:db8::]:53");

  const auto totals = decode_from_translator(bytes(counters()));
  REQUIRE(totals.has_value());
  CHECK(std::get<CounterReport>(*totals).values[0] == 5);
}

TEST_CASE("channel: every field that cannot be is a violation") {
  const Bad cases[] = {
      {"version 0", request_v4(), {{0, 0}}, Violation::kVersion},
      {"version 1, before inbound flows", request_v4(), {{0, 1}}, Violation::kVersion},
      {"version 2, before reshapes", request_v4(), {{0, 2}}, Violation::kVersion},
      {"version 4", request_v4(), {{0, 4}}, Violation::kVersion},
      {"type 0", request_v4(), {{2, 0}}, Violation::kType},
      {"type 8", request_v4(), {{2, 8}}, Violation::kType},
      {"an offer, in the wrong direction", inbound_tcp(), {}, Violation::kType},
      {"a late datagram, in the wrong direction", late_datagram(), {}, Violation::kType},
      {"a claim with the length of a request", request_v4(), {{2, 5}}, Violation::kLength},
      {"claim: offer 0", claim(), {{12, 0}, {13, 0}, {14, 0}, {15, 0}}, Violation::kOffer},
      {"claim: generation 0", claim(), {{8, 0}}, Violation::kSlotOrGeneration},
      {"decline: offer 0", decline(), {{12, 0}}, Violation::kOffer},
      {"decline: slot", decline(), {{4, 1}}, Violation::kSlotOrGeneration},
      {"decline: generation", decline(), {{8, 1}}, Violation::kSlotOrGeneration},
      {"a grant, in the wrong direction", request_v4(), {{2, 16}}, Violation::kType},
      {"type 257", request_v4(), {{3, 1}}, Violation::kType},
      {"a request with the length of a packet report", packet_report(), {{2, 1}, {8, 1}}, Violation::kLength},
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
      {"volumes: generation 0", volumes(), {{8, 0}}, Violation::kSlotOrGeneration},
      {"volumes: reserved", volumes(), {{12, 1}}, Violation::kReserved},
      {"packet: slot", packet_report(), {{4, 1}}, Violation::kSlotOrGeneration},
      {"packet: generation", packet_report(), {{8, 1}}, Violation::kSlotOrGeneration},
      {"packet: why", packet_report(), {{58, 5}}, Violation::kEnum},
      {"packet: a protocol without need", packet_report(), {{59, 1}}, Violation::kReserved},
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
  for (const Raw& good :
       {request_v4(), close_message(), packet_report(), counters(), claim(), decline(), volumes()}) {
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
  const std::array<Raw, 6> seeds{request_v4(), close_message(), packet_report(),
                                 counters(),   claim(),         decline()};
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
    if (const auto* taken = std::get_if<FlowClaim>(&*decoded)) {
      CHECK(taken->id.generation != 0);
      CHECK(taken->offer != 0);
    }
    if (const auto* refused = std::get_if<FlowDecline>(&*decoded)) CHECK(refused->offer != 0);
    if (const auto* close = std::get_if<FlowClose>(&*decoded)) {
      CHECK(close->how <= flow::CloseHow::kReset);
      CHECK(close->reason <= flow::EndReason::kError);
    }
  }
  CHECK(accepted > 10'000);  // the mutations reach past the header
}

TEST_CASE("channel: a wrong message of the broker is a fault to stop at") {
  struct Case {
    std::string_view name;
    Raw base;
    std::vector<Edit> edits;
    Violation violation;
    bool with_fd = true;
  };
  const Case cases[] = {
      {"grant: shaper without a rate", grant(), {{28, 0}}, Violation::kEnum},
      {"grant: shaper 65", grant(), {{20, 65}}, Violation::kEnum},
      {"grant: a rate without a shaper", grant(), {{20, 0}}, Violation::kEnum},
      {"grant: outer shaper 65", grant(), {{22, 65}}, Violation::kEnum},
      {"grant: one shaper twice", grant(), {{22, 64}}, Violation::kEnum},
      {"grant: an outer rate alone", grant(), {{22, 0}}, Violation::kEnum},
      {"grant: an outer shaper without a rate", grant(), {{32, 0}}, Violation::kEnum},
      {"grant: an outer shaper alone", grant(), {{20, 0}, {28, 0}}, Violation::kEnum},
      {"inbound: no descriptor", inbound_udp("x"), {}, Violation::kDescriptor, false},
      {"inbound: offer 0", inbound_udp("x"), {{12, 0}}, Violation::kOffer},
      {"inbound: slot", inbound_udp("x"), {{4, 1}}, Violation::kSlotOrGeneration},
      {"inbound: echo", inbound_udp("x"), {{16, 1}, {20, 0}, {21, 0}}, Violation::kProtocol},
      {"inbound: guest port 0", inbound_udp("x"), {{18, 0}, {19, 0}}, Violation::kPort},
      {"inbound: peer port 0", inbound_udp("x"), {{20, 0}, {21, 0}}, Violation::kPort},
      {"inbound: a longer payload is promised", inbound_udp("x"), {{88, 2}}, Violation::kLength},
      {"inbound: a shorter payload is promised", inbound_udp("x"), {{88, 0}}, Violation::kLength},
      {"inbound: TCP with a payload", inbound_udp("x"), {{16, 6}}, Violation::kLength},
      {"inbound: too long", inbound_udp(std::string(65528, 'x')), {}, Violation::kLength},
      {"reshape: with a descriptor", reshape(), {}, Violation::kDescriptor},
      {"reshape: generation 0", reshape(), {{8, 0}}, Violation::kSlotOrGeneration, false},
      {"reshape: shaper without a rate", reshape(), {{16, 0}}, Violation::kEnum, false},
      {"reshape: shaper 65", reshape(), {{12, 65}}, Violation::kEnum, false},
      {"reshape: an outer shaper alone", reshape(), {{12, 0}, {16, 0}}, Violation::kEnum, false},
      {"reshape: the type of a grant", reshape(), {{2, 16}}, Violation::kLength},
      {"reshape: the next type", reshape(), {{2, 22}}, Violation::kType, false},
      {"late datagram: with a descriptor", late_datagram(), {}, Violation::kDescriptor},
      {"late datagram: generation 0", late_datagram(), {{8, 0}}, Violation::kSlotOrGeneration, false},
      {"late datagram: a longer payload is promised", late_datagram(), {{12, 3}}, Violation::kLength, false},
  };
  for (const Case& row : cases) {
    CAPTURE(row.name);
    Raw raw = row.base;
    for (const Edit& edit : row.edits) raw.at(edit.offset) = edit.value;
    base::Fd fd;
    if (row.with_fd) fd = base::Fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    const auto decoded = decode_from_broker(bytes(raw), std::move(fd));
    REQUIRE_FALSE(decoded.has_value());
    CHECK(decoded.error() == row.violation);
  }
  for (const Raw& good : {grant(), inbound_tcp(), inbound_udp(""), inbound_udp("x")})
    CHECK(decode_from_broker(bytes(good), base::Fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)}).has_value());
  CHECK(decode_from_broker(bytes(late_datagram()), base::Fd{}).has_value());
  const auto reshaped = decode_from_broker(bytes(reshape()), base::Fd{});
  REQUIRE(reshaped.has_value());
  CHECK(std::get<FlowReshape>(*reshaped).id == flow::Id{7, 3});
  CHECK(std::get<FlowReshape>(*reshaped).shaping ==
        flow::Shaping{.shaper = 9, .outer = 1, .rate = 200, .outer_rate = 5000, .report = 4096});
  // Every other length is none.
  for (std::size_t size = 0; size < reshape().size() + 4; ++size) {
    Raw raw = reshape();
    raw.resize(size);
    CHECK(decode_from_broker(bytes(raw), base::Fd{}).has_value() == (size == reshape().size()));
  }
}

TEST_CASE("channel: what a mutated reshape decodes to is in range") {
  std::mt19937 random{815};
  int accepted = 0;
  for (int round = 0; round < 100'000; ++round) {
    Raw raw = reshape();
    for (unsigned n = random() % 4; n-- > 0;)
      raw.at(random() % raw.size()) = static_cast<std::uint8_t>(random());
    const auto decoded = decode_from_broker(bytes(raw), base::Fd{});
    if (!decoded) continue;
    const auto* reshaped = std::get_if<FlowReshape>(&*decoded);
    if (reshaped == nullptr) continue;
    ++accepted;
    const flow::Shaping& shaping = reshaped->shaping;
    CHECK(reshaped->id.generation != 0);
    CHECK(shaping.shaper <= flow::kMaxShapers);
    CHECK(shaping.outer <= flow::kMaxShapers);
    CHECK((shaping.shaper == 0) == (shaping.rate == 0));
    CHECK((shaping.outer == 0 || (shaping.shaper != 0 && shaping.shaper != shaping.outer)));
  }
  CHECK(accepted > 10'000);
}

}  // namespace cordon::sandbox
