#include "core/lan/router_advertiser.h"

#include "tests/lan/service_fixture.h"

using namespace cordon;
using namespace std::chrono_literals;
using lan::Outcome;
using test::Buffer;
using test::hex;
using test::operator+;

namespace {

Buffer solicitation(std::string_view source, std::string_view option = "0101525400000002") {
  const Buffer l4 = hex("85 00 0000 00000000") + hex(option);
  Buffer ip = hex("60000000 0000 3a ff");
  for (const auto text : {source, std::string_view{"ff02::2"}}) {
    const auto bytes = net::parse_ip(text)->v6().bytes();
    for (const auto b : bytes) ip.push_back(std::byte{b});
  }
  ip = ip + l4;
  test::put16(ip, 4, static_cast<std::uint32_t>(l4.size()));
  test::fix_l4_checksum(ip, 2);
  return ip;
}

struct Link : test::ServiceBench {
  using ServiceBench::ServiceBench;
  lan::Answer ask(std::string_view source, std::string_view option = "0101525400000002") {
    const auto ip = solicitation(source, option);
    const auto packet =
        wire::parse_packet(ip, wire::EtherType::kIpv6, wire::ChecksumPolicy::kVerifyL4).value();
    return responder.on_ndp(test::kGuestMac, packet, now, out);
  }
  // 0: nothing was due.
  std::size_t timer() { return responder.on_timer(now, out); }
};

constexpr std::string_view kPrefix = "fd0000c0002d00000000000000000000";

}  // namespace

TEST_CASE("ra: a solicitation is answered to who asked, with everything SLAAC needs") {
  auto config = test::service_config();
  config.services.search = test::domains({"a.example", "b.example"});
  Link link{config};
  const auto packet = link.reply(link.ask("fe80::5054:ff:fe00:2"));
  CHECK(packet.source == *net::parse_ip("fe80::1"));
  CHECK(packet.destination == *net::parse_ip("fe80::5054:ff:fe00:2"));
  CHECK(packet.hop_limit == 255);
  CHECK(link.to == test::kGuestMac);
  Buffer l4{packet.l4.begin(), packet.l4.end()};
  test::put16(l4, 2, 0);  // the checksum was verified
  CHECK(l4 == hex("86 00 0000 40 c0 0708 00000000 00000000"
                  "01 01 020000000001"
                  "05 01 0000 0000fff0") +
                  hex("03 04 40 c0 00278d00 00093a80 00000000") + hex(kPrefix) +
                  hex("19 03 0000 00000708 fd0000c0002d00000000000000000003"
                      "1f 04 0000 00000708 0161 07 6578616d706c65 00 0162 07 6578616d706c65 00 0000"));
}

TEST_CASE("ra: flags follow what is offered") {
  struct Case {
    std::string_view name;
    bool dhcpv6, slaac;
    std::string_view prefix;
    std::string_view flags, prefix_head;
  };
  for (const Case& c : {Case{"both", true, true, "fd00:c0:2d::/64", "c0", "030440c0"},
                        Case{"DHCPv6 alone", true, false, "fd00:c0:2d::/64", "c0", "03044080"},
                        Case{"SLAAC alone", false, true, "fd00:c0:2d::/64", "00", "030440c0"},
                        Case{"a longer prefix", true, false, "fd00:c0:2d::/80", "c0", "03045080"}}) {
    CAPTURE(c.name);
    auto config = test::service_config();
    config.services.dhcpv6 = c.dhcpv6;
    config.services.slaac = c.slaac;
    config.v6->on_link = *net::parse_prefix(c.prefix);
    Link link{config};
    const auto packet = link.reply(link.ask("fe80::2"));
    CHECK(packet.l4[5] == hex(c.flags)[0]);
    CHECK(Buffer(packet.l4.begin() + 32, packet.l4.begin() + 36) == hex(c.prefix_head));
  }
}

TEST_CASE("ra: from the unspecified address the answer goes to all nodes, at most once in three seconds") {
  Link link;
  const auto packet = link.reply(link.ask("::", ""));
  CHECK(packet.destination == *net::parse_ip("ff02::1"));
  CHECK(link.to == net::MacAddress{{0x33, 0x33, 0, 0, 0, 1}});
  CHECK(link.responder.next_deadline() == base::Instant::never());
  link.now = link.now + 1s;
  CHECK(link.ask("::", "").outcome == Outcome::kRateLimited);
  // The second one is not forgotten.
  CHECK(link.responder.next_deadline() == base::Instant{} + 3s);
  CHECK(link.timer() == 0);
  link.now = link.responder.next_deadline();
  CHECK(link.timer() != 0);
  CHECK(link.timer() == 0);
  CHECK(link.responder.next_deadline() == base::Instant::never());
}

TEST_CASE("ra: malformed and foreign solicitations") {
  Link link;
  CHECK(link.ask("::").outcome == Outcome::kMalformed);  // RFC 4861 6.1.1: no link-layer address with ::
  CHECK(link.ask("fe80::2", "0101525400000003").outcome == Outcome::kForeignSender);
  CHECK(link.ask("fe80::2", "0100525400000002").outcome == Outcome::kMalformed);
  CHECK(link.ask("fe80::2", "0102525400000002").outcome == Outcome::kMalformed);
}

TEST_CASE("ra: a flood of solicitations is answered within the bucket") {
  Link link;
  int replies = 0;
  for (int i = 0; i < 10000; ++i) {
    link.now = base::Instant::from_nanos(std::int64_t{i} * 1'000'000);  // ten seconds
    replies += link.ask("fe80::2").outcome == Outcome::kReply ? 1 : 0;
  }
  CHECK(replies >= 20);
  CHECK(replies <= 26);
}

TEST_CASE("ra: unasked advertisements come three times in half a minute, then every 200 to 600 s") {
  auto config = test::service_config();
  config.services.unsolicited = true;
  Link link{config};
  CHECK(link.responder.next_deadline() == base::Instant::never());
  link.responder.start(link.now);
  std::vector<base::Duration> gaps;
  base::Instant last = link.now;
  for (int i = 0; i < 200; ++i) {
    const auto due = link.responder.next_deadline();
    REQUIRE(due != base::Instant::never());
    gaps.push_back(due - last);
    last = link.now = due;
    REQUIRE(link.timer() != 0);
  }
  CHECK(gaps[0] == 0s);
  CHECK(gaps[1] == 16s);
  CHECK(gaps[2] == 16s);
  const auto [shortest, longest] = std::minmax_element(gaps.begin() + 3, gaps.end());
  CHECK(*shortest >= 200s);
  CHECK(*longest <= 600s);
  CHECK(*longest - *shortest > 300s);
}

TEST_CASE("ra: switched off there is neither an answer nor a timer") {
  auto config = test::service_config();
  config.services.router = false;
  config.services.unsolicited = true;
  Link link{config};
  link.responder.start(link.now);
  CHECK(link.responder.next_deadline() == base::Instant::never());
  CHECK(link.ask("fe80::2").outcome == Outcome::kNothingToSay);
}

TEST_CASE("ra: the name servers and the MTU that are to be told") {
  struct Case {
    std::string_view name;
    std::vector<std::string_view> servers;
    std::string_view expected;  // the RDNSS option
  };
  for (const Case& c :
       {Case{"none", {}, ""}, Case{"three",
                                   {"2001:db8::1", "2001:db8::2", "2001:db8::3"},
                                   "19 07 0000 00000708 20010db8000000000000000000000001"
                                   "20010db8000000000000000000000002 20010db8000000000000000000000003"}}) {
    CAPTURE(c.name);
    auto config = test::service_config();
    config.announce_mtu = false;
    auto& told = config.v6->name_servers.emplace();
    for (std::size_t i = 0; i < c.servers.size(); ++i) told.at(i) = *net::parse_ip(c.servers[i]);
    Link link{config};
    const auto packet = link.reply(link.ask("fe80::2"));
    Buffer l4{packet.l4.begin(), packet.l4.end()};
    test::put16(l4, 2, 0);
    CHECK(l4 == hex("86 00 0000 40 c0 0708 00000000 00000000 01 01 020000000001") +
                    hex("03 04 40 c0 00278d00 00093a80 00000000") + hex(kPrefix) + hex(c.expected));
  }
}
