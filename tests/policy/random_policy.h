// Random rulesets and questions for property tests. The world is small, so that rules and questions meet.
#pragma once

#include <string>
#include <vector>

#include "tests/policy/dice.h"
#include "tests/policy/reference.h"
#include "tests/policy/testing.h"

namespace cordon::policy::testing {

// How many seeded cases a property is tried on: all of them in a release build.
#if defined(NDEBUG) && !defined(CORDON_SANITIZED)
inline constexpr int kScale = 1;
#else
inline constexpr int kScale = 25;
#endif

class World {
 public:
  explicit World(unsigned seed) : dice(seed) {
    for (const std::string_view text : {"93.184.216.34",
                                        "93.184.216.35",
                                        "8.8.8.8",
                                        "10.0.0.1",
                                        "10.1.0.1",
                                        "10.1.2.3",
                                        "10.1.2.4",
                                        "192.168.1.1",
                                        "100.64.0.1",
                                        "192.0.2.1",
                                        "198.18.0.1",
                                        "169.254.169.254",
                                        "168.63.129.16",
                                        "127.0.0.1",
                                        "224.0.0.1",
                                        "240.0.0.1",
                                        "2606::1",
                                        "2606::2",
                                        "2606::5efe:10.1.2.3",
                                        "fd12::1",
                                        "2001:db8::1",
                                        "fd00:ec2::254",
                                        "::1",
                                        "fe80::1",
                                        "64:ff9b::10.1.2.3",
                                        "64:ff9b::8.8.8.8",
                                        "64:ff9b::127.0.0.1",
                                        "64:ff9b:1::10.0.0.1",
                                        "64:ff9b:1:1::1",
                                        "2002:808:808::1",
                                        "2002:a9fe:a9fe::1",
                                        "2001:0:4136:e378:8000:63bf:f5fe:fdfc",
                                        "::10.1.2.3",
                                        "::ffff:0:10.0.0.1"})
      addresses_.push_back(ip(text));
    for (const std::string_view text :
         {"0.0.0.0/0",  "0.0.0.0/1",    "10.0.0.0/8",      "10.1.0.0/16",    "10.1.2.0/24",
          "10.1.2.3",   "10.1.2.4/31",  "93.184.216.0/24", "93.184.216.34",  "8.8.8.8",
          "8.8.0.0/16", "192.0.2.0/24", "198.18.0.0/15",   "169.254.0.0/16", "::/0",
          "2000::/3",   "2606::/32",    "2606::2",         "2001:db8::/32",  "fc00::/7",
          "fd00::/8",   "2002::/16",    "64:ff9b::/96",    "100.64.0.0/10"})
      prefixes_.push_back(*net::parse_prefix(text));
  }

  Dice dice;

  // `operators`: the guarded words are open to it.
  Ruleset file(unsigned max_rules, bool operators) {
    Ruleset out;
    out.name = "f";
    out.path = "f.yaml";
    if (dice.one_in(5)) out.mode = Mode::kAudit;
    out.drop = dice.one_in(6);
    if (dice.one_in(10)) out.expires = moment();
    for (unsigned i = 0, n = dice.below(max_rules + 1); i < n; ++i) out.egress.push_back(rule(i, operators));
    for (unsigned i = 0, n = dice.below(max_rules + 1); i < n; ++i) out.ingress.push_back(rule(i, true));
    return out;
  }
  std::vector<Ruleset> files(unsigned max_files, unsigned max_rules) {
    std::vector<Ruleset> out;
    for (unsigned i = 0, n = dice.below(max_files + 1); i < n; ++i) out.push_back(file(max_rules, i == 0));
    return out;
  }

  Rule rule(unsigned number, bool guarded) {
    Rule out;
    out.name = "r" + std::to_string(number);
    out.at.line = number + 10;
    out.action = dice.one_in(3) ? Action::kDeny : Action::kAllow;
    out.to = targets(guarded);
    if (dice.one_in(4)) out.except = targets(guarded);
    if (dice.one_in(6)) out.until = moment();
    if (dice.one_in(2)) {
      out.ports = {{.protocol = flow::Protocol::kTcp}, {.protocol = flow::Protocol::kUdp}};
    } else {
      const unsigned many = dice.one_in(12) ? 20 : 3;
      for (unsigned i = 0, n = 1 + dice.below(many); i < n; ++i) out.ports.push_back(port_range());
    }
    return out;
  }

  Question question() {
    constexpr std::array kProtocols{flow::Protocol::kTcp, flow::Protocol::kUdp, flow::Protocol::kIcmpEcho};
    const auto protocol = kProtocols[dice.one_in(8) ? 2 : dice.below(2)];
    const bool echo = protocol == flow::Protocol::kIcmpEcho;
    Question q;
    q.direction = dice.one_in(4) && !echo ? Direction::kIngress : Direction::kEgress;
    const auto service = net::Port{echo ? std::uint16_t{0} : port()};
    const auto other = net::Port{port()};
    const bool out = q.direction == Direction::kEgress;
    const auto remote = addresses_[dice.below(static_cast<unsigned>(addresses_.size()))];
    q.tuple = {protocol,
               {remote.is_v6() ? kGuest6 : kGuest4, out ? other : service},
               {remote, out ? service : other}};
    q.facts = facts(address_facts(), address_facts());
    q.facts.now = moment();
    q.facts.source_assigned = !dice.one_in(40);
    q.facts.dns_forwarder = out && dice.one_in(12);
    q.facts.sandbox_address = dice.one_in(40);
    return q;
  }

 private:
  WallTime moment() { return WallTime{std::chrono::seconds{1'800'000'000 + dice.below(4)}}; }
  // Ports next to the borders of ranges, and those that words leave out.
  std::uint16_t port() {
    constexpr std::array<std::uint16_t, 12> kPorts{0, 22, 52, 53, 54, 80, 81, 443, 444, 852, 853, 65535};
    return kPorts[dice.below(kPorts.size())];
  }
  PortRange port_range() {
    if (dice.one_in(8)) return {.protocol = flow::Protocol::kIcmpEcho};
    PortRange out;
    out.protocol = dice.one_in(2) ? flow::Protocol::kTcp : flow::Protocol::kUdp;
    if (dice.one_in(4)) return out;
    out.first = out.last = port();
    if (dice.one_in(3)) out.last = std::max(out.first, port());
    return out;
  }
  Targets targets(bool guarded) {
    Targets out;
    for (unsigned i = 0, n = 1 + dice.below(3); i < n; ++i) {
      if (guarded && dice.one_in(4))
        out.words.add(std::array{Word::kHost, Word::kGuests, Word::kMetadata}[dice.below(3)]);
      else if (dice.one_in(2))
        out.words.add(std::array{Word::kInternet, Word::kPrivate, Word::kOnlink, Word::kDns}[dice.below(4)]);
      else
        out.prefixes.push_back(prefixes_[dice.below(static_cast<unsigned>(prefixes_.size()))]);
    }
    return out;
  }
  AddressFacts address_facts() {
    if (dice.one_in(8)) return local();
    AddressFacts f = dice.one_in(3) ? on_link() : routed();
    if (dice.one_in(12)) f.is_host = true;  // an alias: ours, and yet routed out
    if (dice.one_in(12)) f.guest = dice.one_in(3) ? GuestRelation::kOtherTenant : GuestRelation::kSameTenant;
    if (dice.one_in(12)) f.oif_is_uplink = false;
    if (dice.one_in(12)) f.fib = static_cast<FibType>(dice.below(10));
    return f;
  }

  const net::IpAddress kGuest4 = ip("10.0.2.15");
  const net::IpAddress kGuest6 = ip("fd00:c0:2d::15");
  std::vector<net::IpAddress> addresses_;
  std::vector<net::Prefix> prefixes_;
};

}  // namespace cordon::policy::testing
