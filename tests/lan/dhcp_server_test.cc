#include "core/lan/dhcp_server.h"

#include "tests/lan/service_fixture.h"

using namespace cordon;
using lan::Outcome;
using test::Buffer;
using test::hex;
using test::operator+;

namespace {

struct Message {
  std::string_view type = "01";
  std::string_view options = "";  // without the message type and the end
  std::string_view client = "00000000";
  std::string_view flags = "0000";
  std::string_view relay = "00000000";
  std::string_view mac = "525400000002";
};

Buffer dhcp(const Message& m) {
  return hex("01 01 06 00 11223344 0005") + hex(m.flags) + hex(m.client) + hex("00000000 00000000") +
         hex(m.relay) + hex(m.mac) + test::zeros(10 + 64 + 128) + hex("63825363 3501") + hex(m.type) +
         hex(m.options) + hex("ff");
}

// Code to value; an option that came in pieces is whole again.
std::map<unsigned, Buffer> options_of(base::Bytes message) {
  std::map<unsigned, Buffer> all;
  for (std::size_t at = 240; at < message.size();) {
    const auto code = std::to_integer<unsigned>(message[at]);
    if (code == 255) return all;
    REQUIRE(code != 0);
    const auto length = std::to_integer<std::size_t>(message[at + 1]);
    REQUIRE(at + 2 + length <= message.size());
    const auto value = message.subspan(at + 2, length);
    all[code].insert(all[code].end(), value.begin(), value.end());
    at += 2 + length;
  }
  FAIL("no end option");
  return all;
}

struct Client : test::ServiceBench {
  using ServiceBench::ServiceBench;
  lan::Answer say(const Message& m, std::string_view source = "0.0.0.0",
                  std::string_view destination = "255.255.255.255") {
    const auto answer = server(test::udp4(source, destination, 68, 67, dhcp(m)));
    REQUIRE(answer);
    return *answer;
  }
  std::map<unsigned, Buffer> hear(const lan::Answer& answer) {
    packet = reply(answer);
    return options_of(payload);
  }
  Buffer field(std::size_t at, std::size_t size) const {
    return {payload.begin() + static_cast<std::ptrdiff_t>(at),
            payload.begin() + static_cast<std::ptrdiff_t>(at + size)};
  }
  wire::Packet packet;
};

constexpr net::MacAddress kGroup = net::MacAddress::broadcast();

}  // namespace

TEST_CASE("dhcp: a discover is offered the plan's address with everything a first client needs") {
  Client client;
  const auto options = client.hear(client.say({}));
  CHECK(client.packet.source == *net::parse_ip("10.0.2.2"));
  CHECK(client.packet.destination == *net::parse_ip("10.0.2.15"));
  CHECK(client.to == test::kGuestMac);
  CHECK(client.payload.size() == 300);
  CHECK(client.field(0, 12) == hex("02 01 06 00 11223344 0000 0000"));
  CHECK(client.field(12, 16) == hex("00000000 0a00020f 00000000 00000000"));
  CHECK(client.field(28, 16) == hex("525400000002 00000000000000000000"));
  const std::map<unsigned, Buffer> expected = {
      {53, hex("02")},       {54, hex("0a000202")}, {51, hex("00015180")}, {58, hex("0000a8c0")},
      {59, hex("00012750")}, {1, hex("ffffff00")},  {3, hex("0a000202")},  {6, hex("0a000203")},
      {26, hex("fff0")},     {28, hex("0a0002ff")}};
  CHECK(options == expected);
}

TEST_CASE("dhcp: what each state of a client is told") {
  constexpr std::string_view kOffer = "02";
  constexpr std::string_view kAck = "05";
  constexpr std::string_view kNak = "06";
  struct Case {
    std::string_view name;
    Message message;
    std::string_view source;
    std::string_view destination;
    std::string_view type;      // of the reply
    std::string_view reply_to;  // its destination address
  };
  const std::string_view any = "255.255.255.255";
  const Case cases[] = {
      {"discover that can only hear broadcasts", {.flags = "8000"}, "0.0.0.0", any, kOffer, any},
      {"discover that would like another address",
       {.options = "32 04 c0a80105"},
       "0.0.0.0",
       any,
       kOffer,
       "10.0.2.15"},
      {"rapid commit", {.options = "5000"}, "0.0.0.0", any, kAck, "10.0.2.15"},
      {"selecting", {"03", "3604 0a000202 3204 0a00020f"}, "0.0.0.0", any, kAck, "10.0.2.15"},
      {"selecting, another address", {"03", "3604 0a000202 3204 0a000210"}, "0.0.0.0", any, kNak, any},
      {"init-reboot", {"03", "3204 0a00020f"}, "0.0.0.0", any, kAck, "10.0.2.15"},
      {"init-reboot from another network", {"03", "3204 c0a80105"}, "0.0.0.0", any, kNak, any},
      {"renewing", {"03", "", "0a00020f"}, "10.0.2.15", "10.0.2.2", kAck, "10.0.2.15"},
      {"rebinding", {"03", "", "0a00020f"}, "10.0.2.15", any, kAck, "10.0.2.15"},
      {"rebinding, broadcast flag", {"03", "", "0a00020f", "8000"}, "10.0.2.15", any, kAck, "10.0.2.15"},
      {"renewing another address", {"03", "", "0a000210"}, "10.0.2.15", "10.0.2.2", kNak, any},
      {"renewing, says it twice", {"03", "3204 0a00020f", "0a00020f"}, "10.0.2.15", any, kAck, "10.0.2.15"},
      {"inform", {"08", "", "0a00020f"}, "10.0.2.15", any, kAck, "10.0.2.15"},
      {"inform without ciaddr", {"08"}, "10.0.2.15", any, kAck, "10.0.2.15"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Client client;
    const auto options = client.hear(client.say(c.message, c.source, c.destination));
    CHECK(options.at(53) == hex(c.type));
    CHECK(options.at(54) == hex("0a000202"));
    CHECK(net::to_string(client.packet.destination) == c.reply_to);
    CHECK(client.to == (c.reply_to == any ? kGroup : test::kGuestMac));
    const bool leases = c.type != kNak && c.message.type != "08";
    CHECK(client.field(16, 4) == hex(leases ? "0a00020f" : "00000000"));
    CHECK(options.contains(51) == leases);
    CHECK(options.contains(1) == (c.type != kNak));
    CHECK(options.contains(80) == (c.type == kAck && c.message.type == "01"));
  }
}

TEST_CASE("dhcp: who gets no answer") {
  struct Case {
    std::string_view name;
    Message message;
    Outcome expected;
  };
  const Case cases[] = {
      {"release", {"07", "3604 0a000202", "0a00020f"}, Outcome::kNothingToSay},
      {"decline", {"04", "3604 0a000202 3204 0a00020f"}, Outcome::kNothingToSay},
      {"the choice of another server", {"03", "3604 c0a80101 3204 c0a80105"}, Outcome::kNotForUs},
      {"release at another server", {"07", "3604 c0a80101", "0a00020f"}, Outcome::kNotForUs},
      {"by a relay", {.relay = "0a000209"}, Outcome::kRelayed},
      {"for another MAC", {.mac = "525400000003"}, Outcome::kForeignSender},
      {"inform of a foreign address", {"08", "", "0a000210"}, Outcome::kForeignSender},
      {"inform of nobody", {"08"}, Outcome::kForeignSender},
      {"a request without address", {"03", "3604 0a000202"}, Outcome::kMalformed},
      {"a request with two addresses", {"03", "3204 0a000210", "0a00020f"}, Outcome::kMalformed},
      {"an offer", {"02"}, Outcome::kMalformed},
      {"an acknowledgement", {"05"}, Outcome::kMalformed},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Client client;
    CHECK(client.say(c.message).outcome == c.expected);
  }
  Client client;
  CHECK(client.say({"08", "", "0a000210"}).claimed == net::parse_ip("10.0.2.16"));
}

TEST_CASE("dhcp: the parameter request list chooses, identifiers and times always come") {
  auto config = test::service_config();
  config.services.search = test::domains({"corp.example", "lab.corp.example"});
  config.services.hostname = net::DomainName::parse("web");
  config.services.fqdn = net::DomainName::parse("web.corp.example");
  config.services.lease_seconds = 600;
  Client client{config};
  auto options = client.hear(client.say({.options = "3702 0379"}));
  CHECK(options == std::map<unsigned, Buffer>{{53, hex("02")},
                                              {54, hex("0a000202")},
                                              {51, hex("00000258")},
                                              {58, hex("0000012c")},
                                              {59, hex("0000020d")},
                                              {3, hex("0a000202")},
                                              {121, hex("00 0a000202")}});
  options = client.hear(client.say({.options = "3705 0c 0f 77 51 99 3d04 01020304"}));
  CHECK(options.at(12) == test::text_bytes("web"));
  CHECK(options.at(15) == test::text_bytes("corp.example"));
  // "lab" and a pointer to offset 0 (RFC 3397)
  CHECK(options.at(119) == hex("04 636f7270 07 6578616d706c65 00 03 6c6162 c000"));
  CHECK(options.at(61) == hex("01020304"));  // RFC 6842
  CHECK_FALSE(options.contains(3));
  // N, encoded as the client's; nobody sent the option, so the canonical form.
  CHECK(options.at(81) == hex("0c ffff 03 776562 04 636f7270 07 6578616d706c65 00"));
}

TEST_CASE("dhcp: the FQDN option is answered in the client's encoding, updates are declined") {
  auto config = test::service_config();
  config.services.fqdn = net::DomainName::parse("web.corp.example");
  Client client{config};
  auto options = client.hear(client.say({.options = "5107 05 0000 03 776562"}));
  CHECK(options.at(81) == hex("0e ffff 03 776562 04 636f7270 07 6578616d706c65 00"));
  options = client.hear(client.say({.options = "5106 00 0000 776562"}));
  CHECK(options.at(81) == hex("08 ffff") + test::text_bytes("web.corp.example"));
  CHECK_FALSE(client.hear(client.say({})).contains(81));
  Client nameless;
  CHECK_FALSE(nameless.hear(nameless.say({.options = "5107 05 0000 03 776562"})).contains(81));
}

TEST_CASE("dhcp: a gateway outside of the subnet is reached by a route of its own") {
  auto config = test::service_config();
  config.v4->on_link = *net::parse_prefix("10.0.2.15/32");
  config.v4->gateway = *net::parse_ip("192.0.2.1");
  Client client{config};
  const auto options = client.hear(client.say({.options = "3703 01 1c 79"}));
  CHECK(options.at(1) == hex("ffffffff"));
  CHECK(options.at(121) == hex("20 c0000201 00000000  00 c0000201"));
  CHECK_FALSE(options.contains(28));
}

TEST_CASE("dhcp: a reply keeps within the client's size, and leaves options out as a whole") {
  auto config = test::service_config();
  std::vector<net::DomainName> many;
  for (int i = 0; i < 30; ++i)
    many.push_back(*net::DomainName::parse("d" + std::to_string(i) + std::string(20, 'x') + ".example" +
                                           std::to_string(i)));
  config.services.search = many;
  Client client{config};
  client.hear(client.say({}));
  CHECK(client.payload.size() <= 548);
  const auto options = client.hear(client.say({.options = "3902 05dc"}));
  CHECK(client.payload.size() <= 1472);
  CHECK(options.at(119).size() > 255);  // in pieces (RFC 3396)
}

TEST_CASE("dhcp: switched off, or to somebody else, it is no message for the server") {
  auto config = test::service_config();
  config.services.dhcp = false;
  Client off{config};
  CHECK_FALSE(off.server(test::udp4("0.0.0.0", "255.255.255.255", 68, 67, dhcp({}))));
  Client on;
  CHECK_FALSE(on.server(test::udp4("10.0.2.15", "192.0.2.1", 68, 67, dhcp({}))));
}

TEST_CASE("dhcp: a flood is answered within the bucket") {
  Client client;
  int replies = 0;
  for (int i = 0; i < 1000; ++i) {
    client.now = base::Instant::from_nanos(i * 1'000'000);  // one second
    replies += client.say({}).outcome == Outcome::kReply ? 1 : 0;
  }
  CHECK(replies >= 20);
  CHECK(replies <= 41);
}

TEST_CASE("dhcp: name servers of the command line are told instead of the forwarder, or none") {
  auto config = test::service_config();
  auto& told = config.v4->name_servers.emplace();
  Client nobody{config};
  CHECK(!nobody.hear(nobody.say({})).contains(6));
  told[0] = *net::parse_ip("192.0.2.53");
  told[1] = *net::parse_ip("9.9.9.9");
  Client client{config};
  CHECK(client.hear(client.say({}))[6] == hex("c0000235 09090909"));
}

TEST_CASE("dhcp: an MTU that is not to be told is not") {
  auto config = test::service_config();
  Client with{config};
  CHECK(with.hear(with.say({})).contains(26));
  config.announce_mtu = false;
  Client without{config};
  CHECK(!without.hear(without.say({})).contains(26));
}
