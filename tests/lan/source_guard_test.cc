#include "core/lan/source_guard.h"

#include <doctest/doctest.h>

#include "core/wire/packet.h"
#include "tests/lan/lan_fixture.h"

using namespace cordon;
using namespace std::chrono_literals;
using lan::SourceCheck;

namespace {

net::IpAddress self_made(unsigned i) { return *net::parse_ip("fd00:c0:2d::1:" + std::to_string(i + 1)); }

lan::LanConfig slaac_config() {
  auto config = test::lan_config();
  config.services.slaac = true;
  config.v4->more_guest[0] = net::parse_ip("10.0.2.99");
  config.v6->more_guest[3] = net::parse_ip("2001:db8::99");
  return config;
}

wire::Packet from(const net::IpAddress& source) {
  wire::Packet packet;
  packet.source = source;
  packet.destination = *net::parse_ip(source.is_v4() ? "192.0.2.1" : "2001:db8::1");
  packet.protocol = wire::IpProtocol::kTcp;
  return packet;
}

}  // namespace

TEST_CASE("slaac table: sixteen are live, the longest idle one makes room after five minutes") {
  lan::SlaacTable table;
  const base::Instant start;
  for (unsigned i = 0; i < 16; ++i) CHECK(table.admit(self_made(i), start + i * 1s));
  CHECK_FALSE(table.admit(self_made(16), start + 60s));
  CHECK(table.admit(self_made(0), start + 60s));  // used again: no more the oldest
  CHECK_FALSE(table.admit(self_made(16), start + 300s));
  CHECK(table.admit(self_made(16), start + 301s));  // in place of 1
  CHECK_FALSE(table.admit(self_made(1), start + 301s));
  CHECK(table.admit(self_made(0), start + 301s));
  CHECK(table.size() == 16);
}

TEST_CASE("source guard: which addresses are the guest's where SLAAC is offered") {
  struct Case {
    std::string_view name;
    std::string_view source;
    SourceCheck with, without;  // SLAAC
  };
  using enum SourceCheck;
  for (const Case& c :
       {Case{"the plan's", "fd00:c0:2d::15", kAssigned, kAssigned},
        Case{"a further one", "2001:db8::99", kAssigned, kAssigned},
        Case{"a further one, IPv4", "10.0.2.99", kAssigned, kAssigned},
        Case{"another one of the subnet, IPv4", "10.0.2.98", kForeignAddress, kForeignAddress},
        Case{"of its /64", "fd00:c0:2d:0:1234:5678:9abc:def0", kAssigned, kForeignAddress},
        Case{"of the next /64", "fd00:c0:2d:1::1", kForeignAddress, kForeignAddress},
        Case{"the gateway's", "fd00:c0:2d::2", kForeignAddress, kForeignAddress},
        Case{"the name server's", "fd00:c0:2d::3", kForeignAddress, kForeignAddress},
        Case{"the subnet-router anycast address", "fd00:c0:2d::", kForeignAddress, kForeignAddress}}) {
    CAPTURE(c.name);
    for (const bool offered : {true, false}) {
      auto config = slaac_config();
      config.services.slaac = offered;
      lan::SourceGuard guard;
      CHECK(guard.check(config, test::kGuestMac, from(*net::parse_ip(c.source)), {}) ==
            (offered ? c.with : c.without));
    }
  }
  auto config = slaac_config();
  config.v6->on_link = *net::parse_prefix("fd00:c0:2d::/80");
  lan::SourceGuard guard;
  CHECK(guard.check(config, test::kGuestMac, from(*net::parse_ip("fd00:c0:2d::77")), {}) == kForeignAddress);
}

TEST_CASE("source guard: too many self-made addresses are refused, the plan's own never") {
  const auto config = slaac_config();
  lan::SourceGuard guard;
  for (unsigned i = 0; i < 100; ++i)
    CHECK(guard.check(config, test::kGuestMac, from(self_made(i)), {}) ==
          (i < 16 ? SourceCheck::kAssigned : SourceCheck::kTooManyAddresses));
  CHECK(guard.check(config, test::kGuestMac, from(*net::parse_ip("fd00:c0:2d::15")), {}) ==
        SourceCheck::kAssigned);
  CHECK(guard.check(config, test::kOurMac, from(self_made(0)), {}) == SourceCheck::kForeignMac);
}
