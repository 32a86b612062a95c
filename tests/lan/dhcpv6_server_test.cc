#include "core/lan/dhcpv6_server.h"

#include "tests/lan/service_fixture.h"

using namespace cordon;
using lan::Outcome;
using test::Buffer;
using test::hex;
using test::operator+;

namespace {

constexpr std::string_view kLinkLocal = "fe80::5054:ff:fe00:2";
constexpr std::string_view kServers = "ff02::1:2";
// DUID-LL of our MAC, and a client's.
const std::string kOurs = "0002 000a 0003 0001 020000000001 ";
const std::string kClient = "0001 000a 0003 0001 525400000002 ";
const std::string kStranger = "0002 000a 0003 0001 0299999999aa ";
const std::string kLease = "fd0000c0002d00000000000000000015";
const std::string kSecond = "fd0000c0002d00000000000000000016";
const std::string kForeign = "20010db8000000000000000000000015";

std::string ia_na(std::string_view id, std::initializer_list<std::string> addresses = {}) {
  static constexpr std::string_view kLengths[] = {"000c", "0028", "0044"};
  std::string text =
      "0003 " + std::string{kLengths[addresses.size()]} + std::string{id} + "00000000 00000000 ";
  for (const auto& address : addresses) text += "0005 0018 " + address + "00000000 00000000 ";
  return text;
}
std::string ia_reply(std::string_view id, std::string_view times, std::initializer_list<std::string> inside,
                     unsigned length) {
  Buffer size(2);
  test::put16(size, 0, length);
  std::string text = "0003 ";
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const auto b : size) {
    text += kDigits[std::to_integer<std::size_t>(b) / 16];
    text += kDigits[std::to_integer<std::size_t>(b) % 16];
  }
  text += std::string{id} + std::string{times};
  for (const auto& each : inside) text += each;
  return text;
}
std::string leased(const std::string& address) { return "0005 0018" + address + "00015180 00015180"; }
std::string ended(const std::string& address) { return "0005 0018" + address + "00000000 00000000"; }
std::string status(std::string_view code) { return "000d 0002 " + std::string{code}; }
constexpr std::string_view kTimes = "0000a8c0 00010e00";  // T1 and T2 of a day's lease
constexpr std::string_view kNoTimes = "00000000 00000000";
const std::string kDns = "0017 0010 fd0000c0002d00000000000000000003 ";

struct Client : test::ServiceBench {
  using ServiceBench::ServiceBench;
  lan::Answer say(const std::string& message, std::string_view destination = kServers) {
    const auto answer = server(test::udp6(kLinkLocal, destination, 546, 547, hex(message)));
    REQUIRE(answer);
    return *answer;
  }
  Buffer hear(const lan::Answer& answer) {
    packet = reply(answer);
    return {payload.begin(), payload.end()};
  }
  wire::Packet packet;
};

}  // namespace

TEST_CASE("dhcpv6: what each message of a client is told") {
  struct Case {
    std::string_view name;
    std::string message;
    std::string expected;
  };
  const std::string id = "11223344";
  const Case cases[] = {
      {"solicit", "01 abcdef" + kClient + ia_na(id),
       "02 abcdef" + kOurs + kClient + "0007 0001 ff" + kDns + ia_reply(id, kTimes, {leased(kLease)}, 40)},
      {"solicit with rapid commit", "01 abcdef" + kClient + "000e 0000" + ia_na(id),
       "07 abcdef" + kOurs + kClient + "000e 0000" + kDns + ia_reply(id, kTimes, {leased(kLease)}, 40)},
      {"solicit hoping for another address", "01 abcdef" + kClient + ia_na(id, {kForeign}),
       "02 abcdef" + kOurs + kClient + "0007 0001 ff" + kDns + ia_reply(id, kTimes, {leased(kLease)}, 40)},
      {"request", "03 abcdef" + kClient + kOurs + ia_na(id, {kLease}),
       "07 abcdef" + kOurs + kClient + kDns + ia_reply(id, kTimes, {leased(kLease)}, 40)},
      {"request of an address of another link", "03 abcdef" + kClient + kOurs + ia_na(id, {kForeign}),
       "07 abcdef" + kOurs + kClient + kDns + ia_reply(id, kNoTimes, {status("0004")}, 18)},
      {"renew", "05 abcdef" + kClient + kOurs + ia_na(id, {kLease}),
       "07 abcdef" + kOurs + kClient + kDns + ia_reply(id, kTimes, {leased(kLease)}, 40)},
      {"renew with a foreign address beside it",
       "05 abcdef" + kClient + kOurs + ia_na(id, {kLease, kForeign}),
       "07 abcdef" + kOurs + kClient + kDns + ia_reply(id, kTimes, {leased(kLease), ended(kForeign)}, 68)},
      {"rebind with a foreign address", "06 abcdef" + kClient + ia_na(id, {kForeign}),
       "07 abcdef" + kOurs + kClient + kDns + ia_reply(id, kTimes, {ended(kForeign), leased(kLease)}, 68)},
      {"confirm", "04 abcdef" + kClient + ia_na(id, {kLease}),
       "07 abcdef" + kOurs + kClient + status("0000")},
      {"confirm of an address of another link", "04 abcdef" + kClient + ia_na(id, {kLease, kForeign}),
       "07 abcdef" + kOurs + kClient + status("0004")},
      {"release", "08 abcdef" + kClient + kOurs + ia_na(id, {kLease}),
       "07 abcdef" + kOurs + kClient + status("0000")},
      {"release of what was never given", "08 abcdef" + kClient + kOurs + ia_na(id, {kForeign}),
       "07 abcdef" + kOurs + kClient + status("0000") + ia_reply(id, kNoTimes, {status("0003")}, 18)},
      {"decline", "09 abcdef" + kClient + kOurs + ia_na(id, {kLease}),
       "07 abcdef" + kOurs + kClient + status("0000")},
      {"information", "0b abcdef" + kClient, "07 abcdef" + kOurs + kClient + kDns},
      {"information of somebody without identifier", "0b abcdef", "07 abcdef" + kOurs + kDns},
      {"information with refresh time", "0b abcdef 0006 0004 0017 0020",
       "07 abcdef" + kOurs + kDns + "0020 0004 00015180"},
      {"only what is requested", "0b abcdef 0006 0002 0018", "07 abcdef" + kOurs},
      {"several associations, one address", "01 abcdef" + kClient + ia_na(id) + ia_na("00000002"),
       "02 abcdef" + kOurs + kClient + "0007 0001 ff" + kDns + ia_reply(id, kTimes, {leased(kLease)}, 40) +
           ia_reply("00000002", kNoTimes, {status("0002")}, 18)},
      {"temporary addresses", "01 abcdef" + kClient + "0004 0004 00000007",
       "02 abcdef" + kOurs + kClient + "0007 0001 ff" + kDns + "0004 000a 00000007" + status("0002")},
      {"a prefix", "01 abcdef" + kClient + "0019 000c 00000007 00000000 00000000",
       "02 abcdef" + kOurs + kClient + "0007 0001 ff" + kDns + "0019 0012 00000007 00000000 00000000" +
           status("0006")},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Client client;
    CHECK(client.hear(client.say(c.message)) == hex(c.expected));
    CHECK(client.packet.source == *net::parse_ip("fe80::1"));
    CHECK(client.packet.destination == *net::parse_ip(kLinkLocal));
    CHECK(client.to == test::kGuestMac);
  }
}

TEST_CASE("dhcpv6: who gets no answer") {
  struct Case {
    std::string_view name;
    std::string message;
    Outcome expected;
  };
  const std::string ia = ia_na("00000001", {kLease});
  const Case cases[] = {
      {"solicit without client", "01 abcdef" + ia, Outcome::kMalformed},
      {"solicit that names a server", "01 abcdef" + kClient + kOurs + ia, Outcome::kMalformed},
      {"request without server", "03 abcdef" + kClient + ia, Outcome::kMalformed},
      {"request without client", "03 abcdef" + kOurs + ia, Outcome::kMalformed},
      {"request to another server", "03 abcdef" + kClient + kStranger + ia, Outcome::kNotForUs},
      {"renew without server", "05 abcdef" + kClient + ia, Outcome::kMalformed},
      {"rebind that names a server", "06 abcdef" + kClient + kOurs + ia, Outcome::kMalformed},
      {"confirm that names a server", "04 abcdef" + kClient + kOurs + ia, Outcome::kMalformed},
      {"confirm of nothing", "04 abcdef" + kClient + ia_na("00000001"), Outcome::kNothingToSay},
      {"release at another server", "08 abcdef" + kClient + kStranger + ia, Outcome::kNotForUs},
      {"information with addresses", "0b abcdef" + kClient + ia, Outcome::kMalformed},
      {"information from another server", "0b abcdef" + kStranger, Outcome::kMalformed},
      {"an advertisement", "02 abcdef" + kClient + kOurs, Outcome::kMalformed},
      {"a reply", "07 abcdef" + kClient + kOurs, Outcome::kMalformed},
      {"reconfigure", "0a abcdef" + kClient + kOurs, Outcome::kMalformed},
      {"a relay", "0c 00" + std::string(64, '0'), Outcome::kRelayed},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Client client;
    CHECK(client.say(c.message).outcome == c.expected);
  }
}

TEST_CASE("dhcpv6: by unicast a client is sent back to multicast") {
  Client client;
  const std::string ia = ia_na("00000001", {kLease});
  CHECK(client.hear(client.say("05 abcdef" + kClient + kOurs + ia, "fe80::1")) ==
        hex("07 abcdef" + kOurs + kClient + status("0005")));
  CHECK(client.say("01 abcdef" + kClient + ia, "fe80::1").outcome == Outcome::kNotForUs);
  CHECK(client.say("06 abcdef" + kClient + ia, "fd00:c0:2d::2").outcome == Outcome::kNotForUs);
}

TEST_CASE("dhcpv6: several addresses go to several associations, and stay where they are") {
  auto config = test::service_config();
  config.v6->more_guest[0] = net::parse_ip("fd00:c0:2d::16");
  Client client{config};
  const std::string head = "07 abcdef" + kOurs + kClient;
  // Renewed in the other order, and the second one alone.
  CHECK(client.hear(client.say("03 abcdef" + kClient + kOurs + ia_na("00000002") + ia_na("00000001"))) ==
        hex(head + kDns + ia_reply("00000002", kTimes, {leased(kLease)}, 40) +
            ia_reply("00000001", kTimes, {leased(kSecond)}, 40)));
  CHECK(client.hear(client.say("05 abcdef" + kClient + kOurs + ia_na("00000001", {kSecond}) +
                               ia_na("00000002", {kLease}))) ==
        hex(head + kDns + ia_reply("00000001", kTimes, {leased(kSecond)}, 40) +
            ia_reply("00000002", kTimes, {leased(kLease)}, 40)));
  CHECK(client.hear(client.say("05 abcdef" + kClient + kOurs + ia_na("00000001", {kSecond}))) ==
        hex(head + kDns + ia_reply("00000001", kTimes, {leased(kSecond)}, 40)));
  // A newcomer takes what nobody in the message lists.
  CHECK(client.hear(
            client.say("05 abcdef" + kClient + kOurs + ia_na("00000003") + ia_na("00000002", {kLease}))) ==
        hex(head + kDns + ia_reply("00000003", kTimes, {leased(kSecond)}, 40) +
            ia_reply("00000002", kTimes, {leased(kLease)}, 40)));
}

TEST_CASE("dhcpv6: search list and FQDN") {
  auto config = test::service_config();
  config.services.search = test::domains({"a.example", "b.example"});
  config.services.fqdn = net::DomainName::parse("web.example");
  Client client{config};
  CHECK(client.hear(client.say("0b abcdef 0006 0004 0018 0027")) ==
        hex("07 abcdef" + kOurs + "0018 0016 01 61 07 6578616d706c65 00 01 62 07 6578616d706c65 00" +
            "0027 000e 04 03 776562 07 6578616d706c65 00"));
  // The client asks us to update (S): overridden.
  CHECK(client.hear(client.say("0b abcdef 0006 0002 0063 0027 0002 01 00")) ==
        hex("07 abcdef" + kOurs + "0027 000e 06 03 776562 07 6578616d706c65 00"));
}

TEST_CASE("dhcpv6: the largest message gets an answer that fits the smallest MTU") {
  std::string message = "05 abcdef" + kClient + kOurs;
  for (int i = 0; i < 8; ++i) {
    message += "0003 00ec 0000000" + std::to_string(i) + "00000000 00000000";
    for (int k = 0; k < 8; ++k)
      message +=
          "0005 0018 20010db80000000000000000000000" + std::to_string(10 * i + 10 + k) + "00000000 00000000";
  }
  Client client;
  client.hear(client.say(message));
  CHECK(client.packet.ip.size() <= 1280);
}

TEST_CASE("dhcpv6: name servers of the command line are told instead of the forwarder, or none") {
  auto config = test::service_config();
  auto& told = config.v6->name_servers.emplace();
  Client nobody{config};
  CHECK(nobody.hear(nobody.say("0b abcdef 0006 0002 0017")) == hex("07 abcdef" + kOurs));
  told[0] = *net::parse_ip("2001:db8::1");
  told[2] = *net::parse_ip("2001:db8::2");
  Client client{config};
  CHECK(client.hear(client.say("0b abcdef 0006 0002 0017")) ==
        hex("07 abcdef" + kOurs +
            "0017 0020 20010db8000000000000000000000001 20010db8000000000000000000000002"));
}
