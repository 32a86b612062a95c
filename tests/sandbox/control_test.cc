#include "sandbox/control.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <array>

namespace cordon::sandbox {

TEST_CASE("control: each message arrives as it was sent, and only in its direction") {
  using namespace control;
  auto pair = make_packet_pair();
  REQUIRE(pair.has_value());
  LauncherControl launcher{std::move(pair->first)};
  BrokerControl broker{std::move(pair->second)};

  CHECK(broker.receive().error() == ReceiveStop::kEmpty);
  const Resolvers list{{{net::Ipv4Address{192, 0, 2, 53}, 0}, {*net::parse_ip("fe80::1"), 3}}};
  REQUIRE(launcher.send_resolvers(list) == SendStatus::kSent);
  const base::Fd file{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  REQUIRE(launcher.send_new_translator(file.get()) == SendStatus::kSent);
  REQUIRE(launcher.send_isolation({.of_launcher = true, .full = false, .summary = "launcher: a b"}) ==
          SendStatus::kSent);
  REQUIRE(launcher.send_isolation({.of_launcher = false, .full = true, .summary = std::string(5000, 'x')}) ==
          SendStatus::kSent);
  REQUIRE(launcher.send_stop() == SendStatus::kSent);
  const auto resolvers = broker.receive();
  REQUIRE(resolvers.has_value());
  CHECK(std::get<Resolvers>(*resolvers).servers == list.servers);
  const auto fresh = broker.receive();
  REQUIRE(fresh.has_value());
  CHECK(std::get<NewTranslator>(*fresh).channel.valid());
  const auto isolation = broker.receive();
  REQUIRE(isolation.has_value());
  CHECK(std::get<RoleIsolation>(*isolation).of_launcher);
  CHECK_FALSE(std::get<RoleIsolation>(*isolation).full);
  CHECK(std::get<RoleIsolation>(*isolation).summary == "launcher: a b");
  const auto cut = broker.receive();
  REQUIRE(cut.has_value());
  CHECK(std::get<RoleIsolation>(*cut).full);
  CHECK(std::get<RoleIsolation>(*cut).summary == std::string(kMaxSummary, 'x'));
  const auto stop = broker.receive();
  REQUIRE(stop.has_value());
  CHECK(std::holds_alternative<Stop>(*stop));

  REQUIRE(broker.send(Ready{0x81}) == SendStatus::kSent);
  REQUIRE(broker.send(RevokeBegin{41}) == SendStatus::kSent);
  REQUIRE(broker.send(RevokeEnd{42}) == SendStatus::kSent);
  REQUIRE(broker.send(KillTranslator{Violation::kFamily}) == SendStatus::kSent);
  CHECK(std::get<Ready>(*launcher.receive()).missing == 0x81);
  CHECK(std::get<RevokeBegin>(*launcher.receive()).serial == 41);
  CHECK(std::get<RevokeEnd>(*launcher.receive()).serial == 42);
  CHECK(std::get<KillTranslator>(*launcher.receive()).reason == Violation::kFamily);

  // A Ready sent to the broker is nothing the launcher says.
  const std::array<std::uint16_t, 4> ready{1, 16, 0, 0};
  REQUIRE(::send(launcher.poll_fd(), ready.data(), sizeof ready, 0) == sizeof ready);
  CHECK(broker.receive().error() == ReceiveStop::kViolation);
}

}  // namespace cordon::sandbox
