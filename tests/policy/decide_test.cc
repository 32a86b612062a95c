#include "policy/decide.h"

#include "policy/destination.h"
#include "policy/special_purpose.h"
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;
using flow::Protocol;
using flow::RefuseHow;

namespace {

struct Case {
  std::string_view name;
  flow::Tuple tuple;
  HostFacts facts;
  bool allow;
  Reason reason;
  DstClass dst_class;
};

void check(const PolicySet& policy, std::initializer_list<Case> cases) {
  for (const auto& c : cases) {
    CAPTURE(c.name);
    const auto d = decide(policy, c.tuple, c.facts);
    CHECK(d.allow == c.allow);
    CHECK(to_string(d.reason) == to_string(c.reason));
    CHECK(to_string(d.dst_class) == to_string(c.dst_class));
  }
}

// Opens everything a file can open by words and CIDRs, except the guarded words.
PolicySet wide_open() {
  return load_ok({file({"allow: [any, dns, 0.0.0.0/0, \"::/0\"], ports: [tcp, udp, icmp/echo]"})});
}

}  // namespace

TEST_CASE("policy: the floor is opened by no rule") {
  const auto r = facts(routed());
  std::vector<Case> cases;
  for (const std::string_view address :
       {"0.0.0.0",         "0.1.2.3",     "127.0.0.1",   "127.255.255.254", "169.254.1.1",
        "192.0.0.8",       "192.88.99.1", "224.0.0.251", "239.255.255.250", "240.0.0.1",
        "255.255.255.255", "::",          "::1",         "100::1",          "100:0:0:1::1",
        "2001:1::3",       "2001:10::1",  "5f00::1",     "fe80::1",         "febf::1",
        "fec0::1",         "ff02::1",     "ff0e::1",     "4000::1",         "8000::1"})
    check(wide_open(),
          {Case{address, flow_to(address, 443), r, false, Reason::kSpecialAddress, DstClass::kSpecial}});
  for (const auto fib : {FibType::kBroadcast, FibType::kAnycast, FibType::kMulticast}) {
    auto f = r;
    f.dial.fib = fib;
    check(wide_open(), {Case{"group route", flow_to("93.184.216.255", 9, Protocol::kUdp), f, false,
                             Reason::kSpecialAddress, DstClass::kSpecial}});
  }
  auto gateway = r;
  gateway.sandbox_address = true;
  check(wide_open(), {Case{"our own gateway address", flow_to("10.0.2.2", 80), gateway, false,
                           Reason::kSpecialAddress, DstClass::kSpecial}});
}

TEST_CASE("policy: without a unicast route through an uplink nothing leaves") {
  struct RouteCase {
    std::string_view name;
    FibType fib;
    bool uplink;
    RefuseHow how;
  };
  for (const auto& c : {
           RouteCase{"no route", FibType::kNone, false, RefuseHow::kNetworkUnreachable},
           RouteCase{"unreachable", FibType::kUnreachable, false, RefuseHow::kNetworkUnreachable},
           RouteCase{"prohibit", FibType::kProhibit, false, RefuseHow::kReject},
           RouteCase{"blackhole", FibType::kBlackhole, false, RefuseHow::kDrop},
           RouteCase{"a type we do not know", FibType::kOther, true, RefuseHow::kReject},
           RouteCase{"docker0, a VPN, another bridge", FibType::kUnicast, false, RefuseHow::kReject},
       }) {
    CAPTURE(c.name);
    for (const bool has_gateway : {false, true}) {
      const auto f = facts({.fib = c.fib, .has_gateway = has_gateway, .oif_is_uplink = c.uplink});
      for (const std::string_view address :
           {"172.17.0.2", "93.184.216.34", "192.0.2.7", "2606::1", "fd01::1"}) {
        const auto d = decide(wide_open(), flow_to(address, 80), f);
        CHECK_FALSE(d.allow);
        CHECK(d.reason == Reason::kRouteBlocked);
        CHECK(d.layer == Decision::kFloor);
        CHECK(d.how == c.how);
      }
    }
  }
}

TEST_CASE("policy: facts that nobody filled in deny") {
  CHECK(decide(wide_open(), flow_to("93.184.216.34", 80), {}).reason == Reason::kSourceSpoof);
  CHECK(decide(wide_open(), flow_to("93.184.216.34", 80), {}).how == RefuseHow::kDrop);
  CHECK(decide(wide_open(), flow_to("93.184.216.34", 80), {.source_assigned = true}).reason ==
        Reason::kRouteBlocked);
  CHECK_FALSE(decide(PolicySet{}, flow_to("93.184.216.34", 80), facts(routed())).allow);
  CHECK(decide(PolicySet{}, flow_to("93.184.216.34", 80), facts(routed())).reason == Reason::kNoRule);
}

TEST_CASE("policy: host is what the kernel says, and only its own word in the first file opens it") {
  auto alias = facts(routed());
  alias.dial.is_host = true;                        // 1:1 NAT: our public address is routed out
  auto unlisted = facts({.fib = FibType::kLocal});  // AnyIP: a local route, no address
  check(
      wide_open(),
      {
          {"primary", flow_to("93.184.216.34", 22), facts(local()), false, Reason::kHostAddress,
           DstClass::kHost},
          {"private", flow_to("10.0.0.5", 22), facts(local()), false, Reason::kHostAddress, DstClass::kHost},
          {"v6", flow_to("2606::1", 22), facts(local()), false, Reason::kHostAddress, DstClass::kHost},
          {"alias", flow_to("93.184.216.34", 22), alias, false, Reason::kHostAddress, DstClass::kHost},
          {"AnyIP", flow_to("10.9.1.1", 22), unlisted, false, Reason::kHostAddress, DstClass::kHost},
          {"documentation", flow_to("192.0.2.1", 22), facts(local()), false, Reason::kHostAddress,
           DstClass::kHost},
          {"loopback stays floor", flow_to("127.0.0.1", 22), facts(local()), false, Reason::kSpecialAddress,
           DstClass::kSpecial},
      });
  const auto by_address = load_ok({file({"allow: [93.184.216.34, 10.0.0.5]"})});
  CHECK(decide(by_address, flow_to("93.184.216.34", 22), facts(local())).reason == Reason::kHostAddress);

  const auto opened = load_ok({file({"allow: host, ports: tcp/22"})});
  const auto yes = decide(opened, flow_to("93.184.216.34", 22), facts(local()));
  CHECK(yes.allow);
  CHECK(yes.layer == 0);
  CHECK(yes.rule == 0);
  CHECK(decide(opened, flow_to("93.184.216.34", 22), alias).allow);
  CHECK(decide(opened, flow_to("93.184.216.34", 23), facts(local())).reason == Reason::kHostAddress);
  auto not_by_uplink = alias;
  not_by_uplink.dial.oif_is_uplink = false;
  CHECK(decide(opened, flow_to("93.184.216.34", 22), not_by_uplink).reason == Reason::kRouteBlocked);

  const auto denied_first = load_ok({file({"deny: 10.0.0.5", "allow: host"})});
  CHECK_FALSE(decide(denied_first, flow_to("10.0.0.5", 22), facts(local())).allow);
  CHECK(decide(denied_first, flow_to("10.0.0.6", 22), facts(local())).allow);
  const auto narrowed = load_ok({file({"allow: host"}), file({"allow: [any, 0.0.0.0/0]"})});
  CHECK(decide(narrowed, flow_to("10.0.0.5", 22), facts(local())).reason == Reason::kNoRule);
  const auto audit_only = load_ok({file({"allow: any"}, "mode: audit\n")});
  CHECK(decide(audit_only, flow_to("10.0.0.5", 22), facts(local())).reason == Reason::kHostAddress);
}

TEST_CASE("policy: metadata endpoints, public ones too, need the word metadata") {
  const auto opened = load_ok({file({"allow: metadata, ports: tcp/80"})});
  for (const std::string_view address :
       {"169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16",
        "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"}) {
    CAPTURE(address);
    check(
        wide_open(),
        {{address, flow_to(address, 80), facts(routed()), false, Reason::kMetadata, DstClass::kMetadata},
         {"on-link", flow_to(address, 80), facts(on_link()), false, Reason::kMetadata, DstClass::kMetadata}});
    CHECK(decide(opened, flow_to(address, 80), facts(routed())).allow);
    CHECK_FALSE(decide(opened, flow_to(address, 81), facts(routed())).allow);
  }
  CHECK(decide(load_ok({file({"allow: 168.63.129.16"})}), flow_to("168.63.129.16", 80), facts(routed()))
            .reason == Reason::kMetadata);
}

TEST_CASE("policy: guests need their word, another tenant's guests cannot be opened") {
  auto mine = facts(on_link());
  mine.dial.guest = GuestRelation::kSameTenant;
  auto other = facts(on_link());
  other.dial.guest = GuestRelation::kOtherTenant;
  const auto opened = load_ok({file({"allow: guests"})});
  check(wide_open(),
        {{"same", flow_to("10.5.0.9", 80), mine, false, Reason::kTenantIsolation, DstClass::kGuests},
         {"other", flow_to("10.5.0.9", 80), other, false, Reason::kTenantIsolation, DstClass::kGuests}});
  check(opened,
        {{"same", flow_to("10.5.0.9", 80), mine, true, Reason::kNone, DstClass::kGuests},
         {"other", flow_to("10.5.0.9", 80), other, false, Reason::kTenantIsolation, DstClass::kGuests}});
}

TEST_CASE("policy: what each word covers") {
  const auto only = [](std::string_view word) { return load_ok({file({"allow: " + std::string{word}})}); };
  struct WordCase {
    std::string_view name;
    flow::Tuple tuple;
    HostFacts facts;
    std::string_view words;  // that admit it
  };
  for (const auto& c : {
           WordCase{"public", flow_to("93.184.216.34", 443), facts(routed()), "internet any"},
           WordCase{"public v6", flow_to("2606::1", 443), facts(routed()), "internet any"},
           WordCase{"anycast that is global", flow_to("192.0.0.9", 443), facts(routed()), "internet any"},
           WordCase{"AS112", flow_to("2001:4:112::1", 443), facts(routed()), "internet any"},
           WordCase{"public DNS", flow_to("8.8.8.8", 53, Protocol::kUdp), facts(routed()), ""},
           WordCase{"public DNS over TLS", flow_to("8.8.8.8", 853), facts(routed()), ""},
           WordCase{"public neighbour", flow_to("93.184.216.34", 443), facts(on_link()), "onlink any"},
           WordCase{"neighbour's DNS", flow_to("93.184.216.34", 53), facts(on_link()), "onlink any"},
           WordCase{"10/8", flow_to("10.1.2.3", 443), facts(routed()), "private any"},
           WordCase{"10/8 DNS", flow_to("10.1.2.3", 53), facts(routed()), "private any"},
           WordCase{"172.16/12", flow_to("172.31.255.255", 443), facts(routed()), "private any"},
           WordCase{"172.32 is public", flow_to("172.32.0.1", 443), facts(routed()), "internet any"},
           WordCase{"192.168/16", flow_to("192.168.255.1", 443), facts(routed()), "private any"},
           WordCase{"CGNAT", flow_to("100.64.0.1", 443), facts(routed()), "private any"},
           WordCase{"beside CGNAT", flow_to("100.128.0.1", 443), facts(routed()), "internet any"},
           WordCase{"ULA", flow_to("fd12::1", 443), facts(routed()), "private any"},
           WordCase{"LAN", flow_to("192.168.1.7", 443), facts(on_link()), "onlink any"},
           WordCase{"documentation", flow_to("192.0.2.1", 443), facts(routed()), ""},
           WordCase{"documentation, on-link", flow_to("2001:db8::1", 443), facts(on_link()), ""},
           WordCase{"benchmark", flow_to("198.19.0.1", 443), facts(routed()), ""},
           WordCase{"forwarder", flow_to("10.0.2.3", 53, Protocol::kUdp), forwarder(), "dns"},
           WordCase{"host", flow_to("10.1.2.3", 443), facts(local()), "host"},
       }) {
    for (const std::string_view word :
         {"internet", "private", "onlink", "host", "guests", "metadata", "dns", "any"}) {
      CAPTURE(c.name);
      CAPTURE(word);
      const bool want =
          (" " + std::string{c.words} + " ").find(" " + std::string{word} + " ") != std::string::npos;
      CHECK(decide(only(word), c.tuple, c.facts).allow == want);
    }
  }
}

TEST_CASE("policy: documentation and benchmark prefixes open by an explicit address or CIDR") {
  const auto policy = load_ok({file({"allow: [192.0.2.0/24, \"2001:db8:1::/48\", 198.18.0.0/15]"})});
  CHECK(decide(policy, flow_to("192.0.2.9", 53), facts(routed())).allow);
  CHECK(decide(policy, flow_to("2001:db8:1::9", 80), facts(on_link())).allow);
  CHECK(decide(policy, flow_to("198.19.255.1", 80), facts(routed())).allow);
  CHECK_FALSE(decide(policy, flow_to("2001:db8:2::9", 80), facts(routed())).allow);
  CHECK_FALSE(decide(policy, flow_to("198.51.100.1", 80), facts(routed())).allow);
}

TEST_CASE("policy: the first matching rule of a file decides and is named") {
  const auto policy = load_ok({file({"allow: 10.2.0.0/16, except: 10.2.3.0/24, ports: tcp/443",
                                     "deny: 10.2.0.0/16", "allow: private, ports: [tcp/80-90, icmp/echo]"})});
  struct RuleCase {
    std::string_view name;
    flow::Tuple tuple;
    bool allow;
    Reason reason;
    std::int16_t rule;
  };
  for (const auto& c : {
           RuleCase{"allowed", flow_to("10.2.0.1", 443), true, Reason::kNone, 0},
           RuleCase{"other port falls to the deny", flow_to("10.2.0.1", 80), false, Reason::kRuleDeny, 1},
           RuleCase{"excepted goes on to the next rule", flow_to("10.2.3.1", 443), false, Reason::kRuleDeny,
                    1},
           RuleCase{"ping of the denied net is not named by it", flow_to("10.2.0.1", 0, Protocol::kIcmpEcho),
                    true, Reason::kNone, 2},
           RuleCase{"range, first", flow_to("10.3.0.1", 80), true, Reason::kNone, 2},
           RuleCase{"range, last", flow_to("10.3.0.1", 90), true, Reason::kNone, 2},
           RuleCase{"beside the range", flow_to("10.3.0.1", 91), false, Reason::kNoRule, -1},
           RuleCase{"other protocol", flow_to("10.3.0.1", 80, Protocol::kUdp), false, Reason::kNoRule, -1},
           RuleCase{"no rule", flow_to("93.184.216.34", 80), false, Reason::kNoRule, -1},
       }) {
    CAPTURE(c.name);
    const auto d = decide(policy, c.tuple, facts(routed()));
    CHECK(d.allow == c.allow);
    CHECK(d.reason == c.reason);
    CHECK(d.rule == c.rule);
    CHECK(d.rules[0] == c.rule);
    CHECK(d.layer == 0);
  }
}

TEST_CASE("policy: a deny by internet covers DNS ports, an allow by internet does not") {
  const auto policy = load_ok({file({"deny: internet", "allow: 8.8.8.8"})});
  CHECK(decide(policy, flow_to("8.8.8.8", 53), facts(routed())).reason == Reason::kRuleDeny);
  const auto other = load_ok({file({"allow: internet", "allow: 8.8.8.8, ports: udp/53"})});
  CHECK(decide(other, flow_to("8.8.8.8", 53, Protocol::kUdp), facts(routed())).rule == 1);
  CHECK(decide(other, flow_to("8.8.8.8", 53), facts(routed())).reason == Reason::kNoRule);
}

TEST_CASE("policy: every file must allow; the first enforcing deny is the reason") {
  const auto operator_file = file({"deny: any, ports: tcp/25", "allow: [internet, private]"});
  const auto tenant = file({"allow: internet"});
  const auto policy = load_ok({operator_file, tenant});
  const auto ok = decide(policy, flow_to("93.184.216.34", 80), facts(routed()));
  CHECK(ok.allow);
  CHECK(ok.layer == 1);
  CHECK(ok.rules[0] == 1);
  CHECK(ok.rules[1] == 0);
  const auto mail = decide(policy, flow_to("93.184.216.34", 25), facts(routed()));
  CHECK(mail.reason == Reason::kRuleDeny);
  CHECK(mail.layer == 0);
  CHECK(mail.rule == 0);
  const auto lan = decide(policy, flow_to("10.1.1.1", 80), facts(routed()));
  CHECK(lan.reason == Reason::kNoRule);
  CHECK(lan.layer == 1);
  CHECK(lan.rules[0] == 1);
  CHECK(lan.rules[1] == Decision::kNoRule);
}

TEST_CASE("policy: an audit file notes what it would deny, the others still enforce") {
  const auto audit = file({"allow: 93.184.216.34"}, "mode: audit\n");
  const auto both = load_ok({audit, file({"allow: internet"})});
  const auto d = decide(both, flow_to("93.184.216.35", 80), facts(routed()));
  CHECK(d.allow);
  CHECK(d.reason == Reason::kNone);
  CHECK(d.would_deny == 1);
  CHECK(decide(both, flow_to("93.184.216.34", 80), facts(routed())).would_deny == 0);
  const auto denied = decide(both, flow_to("10.0.0.1", 80), facts(routed()));
  CHECK_FALSE(denied.allow);
  CHECK(denied.would_deny == 1);
  CHECK(denied.layer == 1);
}

TEST_CASE("policy: refuse: drop of any file wins") {
  const auto drop = load_ok({file({"allow: any"}), file({"allow: internet"}, "refuse: drop\n")});
  CHECK(decide(drop, flow_to("10.0.0.1", 80), facts(routed())).how == RefuseHow::kDrop);
  CHECK(decide(drop, flow_to("127.0.0.1", 80), facts(routed())).how == RefuseHow::kDrop);
  CHECK(decide(drop, flow_to("2606::1", 80), {.source_assigned = true}).how == RefuseHow::kDrop);
  CHECK(decide(load_ok({file({"allow: any"})}), flow_to("127.0.0.1", 80), facts(routed())).how ==
        RefuseHow::kReject);
}

TEST_CASE("policy: embedded IPv4 addresses are found") {
  struct EmbeddingCase {
    std::string_view name, address, dial, embedded;  // embedded: an address, "" none, "?" unreadable
  };
  for (const auto& c : {
           EmbeddingCase{"plain v4", "192.0.2.33", "192.0.2.33", ""},
           EmbeddingCase{"plain v6", "2606::1", "2606::1", ""},
           EmbeddingCase{"mapped", "::ffff:192.0.2.33", "192.0.2.33", ""},
           EmbeddingCase{"compatible", "::192.0.2.33", "::192.0.2.33", "192.0.2.33"},
           EmbeddingCase{"unspecified is no embedding", "::", "::", ""},
           EmbeddingCase{"loopback is no embedding", "::1", "::1", ""},
           EmbeddingCase{"NAT64, RFC 6052 section 2.4", "64:ff9b::192.0.2.33", "64:ff9b::192.0.2.33",
                         "192.0.2.33"},
           EmbeddingCase{"NAT64 local use", "64:ff9b:1::192.0.2.33", "64:ff9b:1::192.0.2.33", "192.0.2.33"},
           EmbeddingCase{"NAT64 local use, elsewhere",
                         "64:ff9b:1:c000:2:2100::", "64:ff9b:1:c000:2:2100::", "?"},
           EmbeddingCase{"SIIT", "::ffff:0:192.0.2.33", "::ffff:0:192.0.2.33", "?"},
           EmbeddingCase{"6to4", "2002:c000:221::1", "2002:c000:221::1", "192.0.2.33"},
           EmbeddingCase{"Teredo, RFC 4380 section 4", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
                         "2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"},
           EmbeddingCase{"Teredo whose port looks like ISATAP", "2001:0:4136:e378:0:5efe:3fff:fdd2",
                         "2001:0:4136:e378:0:5efe:3fff:fdd2", "192.0.2.45"},
           EmbeddingCase{"ISATAP", "2606::5efe:192.0.2.33", "2606::5efe:192.0.2.33", "?"},
           EmbeddingCase{"ISATAP, global id", "2606::200:5efe:192.0.2.33", "2606::200:5efe:192.0.2.33", "?"},
           EmbeddingCase{"ISATAP under 6to4", "2002:c000:221::5efe:10.0.0.1", "2002:c000:221::5efe:10.0.0.1",
                         "?"},
       }) {
    CAPTURE(c.name);
    const auto d = normalise(ip(c.address));
    CHECK(net::to_string(d.dial) == net::to_string(ip(c.dial)));
    CHECK((d.embedded ? net::to_string(*d.embedded) : d.unreadable_embedding ? "?" : "") == c.embedded);
  }
}

TEST_CASE("policy: a wrapped destination is what it embeds") {
  const auto both = facts(routed(), routed());
  check(wide_open(),
        {
            {"loopback", flow_to("64:ff9b::127.0.0.1", 22), both, false, Reason::kSpecialAddress,
             DstClass::kSpecial},
            {"loopback, compatible", flow_to("::127.0.0.1", 22), both, false, Reason::kSpecialAddress,
             DstClass::kSpecial},
            {"loopback, mapped", flow_to("::ffff:127.0.0.1", 22), both, false, Reason::kSpecialAddress,
             DstClass::kSpecial},
            {"metadata", flow_to("64:ff9b::169.254.169.254", 80), both, false, Reason::kMetadata,
             DstClass::kMetadata},
            {"metadata, 6to4", flow_to("2002:a9fe:a9fe::1", 80), both, false, Reason::kMetadata,
             DstClass::kMetadata},
            {"host", flow_to("64:ff9b::10.0.0.5", 22), facts(routed(), local()), false, Reason::kHostAddress,
             DstClass::kHost},
            {"the wrapper is local", flow_to("64:ff9b::8.8.8.8", 22), facts(local(), routed()), false,
             Reason::kHostAddress, DstClass::kHost},
            {"a bridge behind it", flow_to("64:ff9b::172.17.0.2", 22),
             facts(routed(), {.fib = FibType::kUnicast, .has_gateway = false, .oif_is_uplink = false}), false,
             Reason::kRouteBlocked, DstClass::kOnlink},
            {"no IPv4 route here", flow_to("64:ff9b::93.184.216.34", 443), facts(routed()), true,
             Reason::kNone, DstClass::kInternet},
            // A server on the Internet that calls itself 93.184.216.34, and one on a private network.
            {"ISATAP, global", flow_to("2606::5efe:93.184.216.34", 443), both, false, Reason::kEmbeddedIpv4,
             DstClass::kSpecial},
            {"ISATAP, private", flow_to("fd12::5efe:93.184.216.34", 443), both, false, Reason::kEmbeddedIpv4,
             DstClass::kSpecial},
            {"unreadable", flow_to("::ffff:0:93.184.216.34", 443), both, false, Reason::kEmbeddedIpv4,
             DstClass::kSpecial},
        });
  const auto internet = load_ok({file({"allow: internet"})});
  CHECK(decide(internet, flow_to("64:ff9b::10.0.0.1", 80), both).reason == Reason::kNoRule);
  CHECK(decide(internet, flow_to("64:ff9b::8.8.8.8", 53), both).reason == Reason::kNoRule);
  CHECK(decide(internet, flow_to("2002:808:808::1", 443), both).allow);
  const auto denies = load_ok({file({"deny: 8.8.8.0/24", "deny: \"2002::/16\"", "allow: internet"})});
  CHECK(decide(denies, flow_to("64:ff9b::8.8.8.8", 443), both).rule == 0);
  CHECK(decide(denies, flow_to("2002:101:101::1", 443), both).rule == 1);
  const auto outer_only = load_ok({file({"allow: \"2000::/3\""})});
  CHECK_FALSE(decide(outer_only, flow_to("2002:a00:1::1", 443), both).allow);
}

TEST_CASE("policy: reason texts are the closed list of the reference") {
  std::string all;
  for (std::size_t i = 0; i < kReasonCount; ++i) all += std::string{to_string(static_cast<Reason>(i))} + " ";
  CHECK(
      all ==
      "none no-rule rule-deny source-spoof special-address embedded-ipv4 route-blocked host-address metadata "
      "tenant-isolation dns-name dns-type dns-answer-filtered dns-limit not-named sni-mismatch sni-missing "
      "ech "
      "limit-connections limit-new limit-rate limit-bytes expired policy-changed host-changed malformed "
      "unsupported-protocol no-resolver limit-memory engine-error ");
}

TEST_CASE("policy: every row of the special-purpose table is a well-formed prefix and decides for itself") {
  for (const auto& row : special_prefixes()) {
    CAPTURE(row.what);
    const auto prefix = net::Prefix::make(row.address, row.length);
    REQUIRE(prefix.has_value());
    CHECK_FALSE(row.source.empty());
    if (row.address != ip("192.0.0.0") && row.address != ip("100::")) CHECK(kind_of(row.address) == row.kind);
  }
}
