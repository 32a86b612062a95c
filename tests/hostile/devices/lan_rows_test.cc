// What tests/lan and tests/wire leave open of section 4.7: messages that mean harm, each with its outcome,
// against a responder with every service on. Nothing is answered but to the guest's own MAC, and no answer
// holds a byte that the message brought where it must not (an escape sequence, a foreign address).
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <string_view>

#include "core/wire/ndp.h"
#include "tests/lan/service_fixture.h"

using namespace cordon;
using lan::Outcome;
using test::Buffer;
using test::hex;
using test::operator+;

namespace {

using test::fix_l4_checksum;
using test::put16;

// A DISCOVER of 240 bytes, then options.
Buffer discover(const Buffer& options) {
  Buffer message(240);
  message[0] = message[1] = std::byte{1};
  message[2] = std::byte{6};
  const Buffer mac = hex("525400000002");
  std::copy(mac.begin(), mac.end(), message.begin() + 28);
  const Buffer cookie = hex("63825363");
  std::copy(cookie.begin(), cookie.end(), message.begin() + 236);
  return message + options;
}
Buffer option(unsigned code, const Buffer& value) {
  return Buffer{static_cast<std::byte>(code), static_cast<std::byte>(value.size())} + value;
}
const Buffer kEnd = hex("ff");
const Buffer kDiscover = hex("350101");

struct Client : test::ServiceBench {
  lan::Answer say4(const Buffer& message) {
    return *server(test::udp4("0.0.0.0", "255.255.255.255", 68, 67, message));
  }
  lan::Answer say6(const Buffer& message) {
    return *server(test::udp6("fe80::5054:ff:fe00:2", "ff02::1:2", 546, 547, message));
  }
  lan::Answer say_ndp(const Buffer& ip) {
    const auto packet = wire::parse_packet(ip, wire::EtherType::kIpv6, wire::ChecksumPolicy::kVerifyL4);
    REQUIRE(packet);
    return responder.on_ndp(test::kGuestMac, *packet, now, out);
  }
};

Buffer ndp(std::string_view source, std::string_view destination, const Buffer& icmp) {
  Buffer ip = hex("60000000 0000 3a ff") + hex(source) + hex(destination) + icmp;
  put16(ip, 4, static_cast<std::uint32_t>(icmp.size()));
  fix_l4_checksum(ip, 2);
  return ip;
}

constexpr std::string_view kGuest = "fd0000c0002d00000000000000000015";
constexpr std::string_view kGateway = "fd0000c0002d00000000000000000002";
constexpr std::string_view kGroup = "ff0200000000000000000001ff000002";
constexpr std::string_view kAllNodes = "ff020000000000000000000000000001";
constexpr std::string_view kNobody = "00000000000000000000000000000000";

Buffer repeated(const Buffer& one, int times) {
  Buffer all;
  while (times-- > 0) all = all + one;
  return all;
}

}  // namespace

TEST_CASE("hostile lan: DHCP messages, each with its end") {
  struct Case {
    std::string_view id;
    std::string_view name;
    Buffer message;
    Outcome expected;
  };
  Buffer hops = discover(kDiscover + kEnd);
  hops[3] = std::byte{255};
  hops[8] = hops[9] = std::byte{255};
  Buffer addresses = discover(kDiscover + kEnd);
  for (const std::size_t at : {16U, 20U})
    std::fill_n(addresses.begin() + static_cast<std::ptrdiff_t>(at), 4, std::byte{9});
  Buffer loop = discover(kDiscover + hex("340103") + kEnd);
  loop[44] = loop[108] = std::byte{52};  // both areas name themselves again
  loop[45] = loop[109] = std::byte{1};
  loop[46] = loop[110] = std::byte{3};
  loop[47] = loop[111] = std::byte{255};
  const Buffer full(255, std::byte{0x41});
  const Case cases[] = {
      {"DHC-01", "255 hops, 65,535 seconds", hops, Outcome::kReply},
      {"DHC-02", "addresses of others in the answer's fields", addresses, Outcome::kReply},
      {"DHC-03", "pads before, between and behind",
       discover(Buffer(200) + kDiscover + Buffer(200) + kEnd + Buffer(60)), Outcome::kReply},
      {"DHC-03", "an end in the middle", discover(kDiscover + kEnd + hex("350107") + kEnd), Outcome::kReply},
      {"DHC-03", "areas that name each other", loop, Outcome::kMalformed},
      {"DHC-03", "an identifier of 255 bytes", discover(kDiscover + option(61, full) + kEnd),
       Outcome::kReply},
      {"DHC-03", "a relay's option of 255 bytes", discover(kDiscover + option(82, full) + kEnd),
       Outcome::kReply},
      {"DHC-03", "a list of 255 times the same", discover(kDiscover + option(55, full) + kEnd),
       Outcome::kReply},
      {"DHC-03", "a thousand options nobody knows", discover(kDiscover + repeated(hex("e000"), 500) + kEnd),
       Outcome::kReply},
      {"DHC-05", "a host name of 255 bytes", discover(kDiscover + option(12, full) + kEnd), Outcome::kReply},
  };
  for (const Case& c : cases) {
    CAPTURE(c.id);
    CAPTURE(c.name);
    Client client;
    const auto answer = client.say4(c.message);
    CHECK(answer.outcome == c.expected);
    if (answer.outcome != Outcome::kReply) continue;
    const auto packet = client.reply(answer);
    CHECK(packet.destination == *net::parse_ip("10.0.2.15"));
    CHECK(client.to == test::kGuestMac);
  }
}

TEST_CASE("hostile lan: no text of the client's comes back or anywhere else") {
  // DHC-05
  for (const std::string_view text :
       {"\x1b[2J\x1b]0;owned\x07", "%n%n%n%s", "a\nb\r\nc", "<script>", "\xff\xfe\xc0\x80"}) {
    Client client;
    const Buffer name = test::text_bytes(text);
    const auto answer =
        client.say4(discover(kDiscover + option(12, name) + option(60, name) + option(77, name) + kEnd));
    REQUIRE(answer.outcome == Outcome::kReply);
    static_cast<void>(client.reply(answer));
    const std::string got{reinterpret_cast<const char*>(client.payload.data()), client.payload.size()};
    CHECK(got.find(text) == std::string::npos);
  }
}

TEST_CASE("hostile lan: 100,000 clients that do not exist get nothing, and cost nothing") {
  // DHC-04: any other MAC is a foreign sender; the own one has one lease, at the bucket's rate.
  Client client;
  std::mt19937 random(2131);
  int foreign = 0, replies = 0;
  for (int i = 0; i < 100'000; ++i) {
    client.now = base::Instant::from_nanos(std::int64_t{i} * 100'000);  // ten seconds
    Buffer message = discover(kDiscover + kEnd);
    const bool own = i % 2 == 0;
    for (std::size_t at = 28; at < 34 && !own; ++at) message[at] = static_cast<std::byte>(random());
    const auto answer = client.say4(message);
    foreign += answer.outcome == Outcome::kForeignSender ? 1 : 0;
    if (answer.outcome != Outcome::kReply) continue;
    ++replies;
    static_cast<void>(client.reply(answer));
    REQUIRE(client.payload[19] == std::byte{15});  // 10.0.2.15
  }
  CHECK(replies > 0);
  CHECK(foreign > 0);
  CHECK(replies + foreign <= 20 + 20 * 10 + 1);  // the rest was not even looked at
}

TEST_CASE("hostile lan: DHCPv6 messages, each with its end") {
  struct Case {
    std::string_view id;
    std::string_view name;
    Buffer message;
    Outcome expected;
  };
  // Fifty associations, each in the other's address.
  Buffer nested;
  for (int i = 0; i < 50; ++i) {
    const Buffer inner = hex("fd000000000000000000000000000001 00000000 00000000") + nested;
    Buffer address = hex("0005 0000") + inner;
    put16(address, 2, static_cast<std::uint32_t>(inner.size()));
    const Buffer body = hex("00000001 00000000 00000000") + address;
    nested = hex("0003 0000") + body;
    put16(nested, 2, static_cast<std::uint32_t>(body.size()));
  }
  const Buffer client_id = hex("0001 000a 0003 0001 525400000002");
  const Buffer ia = hex("0003 000c 00000001 00000000 00000000");
  const Case cases[] = {
      {"DH6-01", "a reply of a relay", hex("0d 00") + Buffer(64), Outcome::kRelayed},
      {"DH6-02", "fifty associations in one another", hex("01 abcdef") + client_id + nested, Outcome::kReply},
      {"DH6-02", "length 65,535", hex("01 abcdef") + client_id + hex("0003 ffff 00000001"),
       Outcome::kMalformed},
      {"DH6-02", "options that overlap by their lengths",
       hex("01 abcdef") + client_id + hex("0003 0010") + ia, Outcome::kReply},
      {"DH6-03", "an identifier of no bytes", hex("01 abcdef 0001 0000") + ia, Outcome::kMalformed},
      {"DH6-03", "an identifier of 131 bytes", hex("01 abcdef 0001 0083") + Buffer(131) + ia,
       Outcome::kMalformed},
      {"DH6-03", "the longest identifier", hex("01 abcdef 0001 0082") + Buffer(130, std::byte{7}) + ia,
       Outcome::kReply},
      {"DH6-04", "everything that makes an answer long",
       hex("01 abcdef 0001 0082") + Buffer(130, std::byte{7}) + repeated(ia, 8), Outcome::kReply},
  };
  for (const Case& c : cases) {
    CAPTURE(c.id);
    CAPTURE(c.name);
    Client client;
    const auto answer = client.say6(c.message);
    CHECK(answer.outcome == c.expected);
    if (answer.outcome != Outcome::kReply) continue;
    const auto packet = client.reply(answer);
    CHECK(packet.ip.size() <= 1280);
    CHECK(client.to == test::kGuestMac);
  }
}

TEST_CASE("hostile lan: neighbour discovery, each with its end") {
  struct Case {
    std::string_view id;
    std::string_view name;
    Buffer ip;
    Outcome expected;
  };
  const Buffer solicit = hex("87000000 00000000") + hex(kGateway);
  const Buffer nonce = hex("0e01 010203040506");
  const auto ra = [](std::string_view options) {
    return hex("86000000 40000708 00000000 00000000") + hex(options);
  };
  const Case cases[] = {
      {"NDP-03", "a target of nobody's", ndp(kGuest, kGroup, hex("87000000 00000000") + hex(kNobody)),
       Outcome::kNotForUs},
      {"NDP-04", "DAD for the gateway", ndp(kNobody, kGroup, solicit), Outcome::kReply},
      {"NDP-05", "a hundred options", ndp(kGuest, kGroup, solicit + repeated(nonce, 100)), Outcome::kReply},
      {"NDP-05", "a nonce", ndp(kGuest, kGroup, solicit + nonce), Outcome::kReply},
      {"NDP-07", "an advertisement of a prefix of 255 bits",
       ndp(kGuest, kAllNodes, ra("0304ffc0 00278d00 00093a80 00000000 20010db8000000000000000000000000")),
       Outcome::kRouterMessage},
      {"NDP-07", "a redirect with a redirected header",
       ndp(kGuest, kAllNodes,
           hex("89000000 00000000") + hex(kGateway) + hex(kGateway) + hex("0401 000000000000")),
       Outcome::kRouterMessage},
      {"NDP-07", "an override of the gateway",
       ndp(kGuest, kAllNodes, hex("88000000 20000000") + hex(kGateway) + hex("0201525400000002")),
       Outcome::kForeignSender},
      {"NDP-08", "RDNSS", ndp(kGuest, kAllNodes, ra("1903 0000 00000708 20010db8000000000000000000000053")),
       Outcome::kRouterMessage},
      {"NDP-08", "DNSSL", ndp(kGuest, kAllNodes, ra("1f02 0000 00000708 0161 00 0000000000")),
       Outcome::kRouterMessage},
      {"NDP-08", "PREF64", ndp(kGuest, kAllNodes, ra("2602 0708 0064ff9b0000000000000000")),
       Outcome::kRouterMessage},
      {"NDP-08", "a captive portal", ndp(kGuest, kAllNodes, ra("2502 68747470733a2f2f650000000000")),
       Outcome::kRouterMessage},
  };
  for (const Case& c : cases) {
    CAPTURE(c.id);
    CAPTURE(c.name);
    Client client;
    const auto answer = client.say_ndp(c.ip);
    CHECK(answer.outcome == c.expected);
    if (answer.outcome == Outcome::kReply) static_cast<void>(client.reply(answer));
  }
  // NDP-02: a wrong checksum never gets here.
  Buffer wrong = ndp(kGuest, kGroup, solicit);
  wrong[42] ^= std::byte{1};
  CHECK(!wire::parse_packet(wrong, wire::EtherType::kIpv6, wire::ChecksumPolicy::kVerifyL4));
}

TEST_CASE("hostile lan: a flood of duplicate address detection is answered within the bucket") {
  // NDP-04: 200 at once, 1,000 a second.
  Client client;
  const Buffer dad = ndp(kNobody, kGroup, hex("87000000 00000000") + hex(kGateway));
  int replies = 0;
  for (int i = 0; i < 100'000; ++i) {
    client.now = base::Instant::from_nanos(std::int64_t{i} * 10'000);  // one second
    replies += client.say_ndp(dad).outcome == Outcome::kReply ? 1 : 0;
  }
  CHECK(replies >= 1000);
  CHECK(replies <= 1201);
}
