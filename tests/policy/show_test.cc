// `cordon policy show`: what holds for all files, and every rule once.
#include "policy/show.h"

#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;

namespace {

constexpr std::string_view kSite =
    "version: 1\nname: site\nrefuse: drop\nhost: {uplinks: [eth0], aliases: [203.0.113.7]}\n"
    "guests: {tenant: blue}\nreload: drain 30s\nlimits: {connections: 100, new: 5/s}\n"
    "egress:\n"
    "  - {name: no-mail, deny: any, ports: [tcp/25, tcp/465, tcp/587]}\n"
    "  - {name: console, allow: host, ports: tcp/22, until: 2001-01-01T00:00:00Z}\n"
    "  - {name: world, allow: [internet, private], except: [10.9.0.0/16, \"fd12::1\"], limits: {bytes: 2GB}, "
    "log: all}\n";
constexpr std::string_view kTenant =
    "version: 1\nname: tenant\nmode: audit\nlimits: {connections: 3}\nexpires: 2040-01-01T00:00:00Z\n"
    "egress: [{name: web, allow: internet, ports: tcp/443}]\n";
constexpr std::string_view kGuest =
    "version: 1\nname: guest\nlimits: {connections: 400, new: 60/min}\negress: [{name: all, allow: any}]\n"
    "ingress: [{name: ssh, allow: onlink, ports: tcp/22}]\n";

std::string without_hash(std::string text) {
  const auto at = text.find("sha256:");
  REQUIRE(at != std::string::npos);
  return text.replace(at, 7 + 64, "HASH");
}

}  // namespace

TEST_CASE("policy: show prints what holds for all files and a table for each") {
  const auto text = show_table(load_ok({kSite, kTenant, kGuest}),
                               {.now = WallTime{std::chrono::sys_days{std::chrono::year{2026} / 1 / 1}}});
  CHECK(without_hash(text) == R"(policy    HASH
files     3; every file that enforces must allow a flow
refuse    drop
uplinks   eth0
aliases   203.0.113.7
tenant    blue
limits    connections 100 (a.yaml:7), new 60/min (c.yaml:3)
reload    what is denied then is cut after 30 seconds; after an error the policy before stays

egress of "site" (a.yaml)
  #  RULE     ACTION  TO         EXCEPT        PORTS     LIMITS     UNTIL                        LOG  LINE
  1  no-mail  deny    any                      tcp/25,                                                9
                                               tcp/465,
                                               tcp/587
  2  console  allow   host                     tcp/22               2001-01-01T00:00:00Z (over)       10
  3  world    allow   internet,  10.9.0.0/16,  tcp, udp  bytes 2GB                               all  11
                      private    fd12::1

egress of "tenant" (b.yaml), only audited, expires 2040-01-01T00:00:00Z
  #  RULE  ACTION  TO        PORTS    LINE
  1  web   allow   internet  tcp/443  6

egress of "guest" (c.yaml)
  #  RULE  ACTION  TO   PORTS     LINE
  1  all   allow   any  tcp, udp  4

ingress of "site" (a.yaml)
  no rule: nothing is allowed

ingress of "tenant" (b.yaml), only audited, expires 2040-01-01T00:00:00Z
  no rule: nothing is allowed

ingress of "guest" (c.yaml)
  #  RULE  ACTION  FROM    PORTS   LINE
  1  ssh   allow   onlink  tcp/22  5
)");
}

TEST_CASE("policy: show wraps long cells between their items") {
  const auto policy =
      load_ok({file({"allow: [10.0.0.0/16, 10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16, "
                     "\"2001:db8:1111:2222:3333:4444:5555:6666\"], ports: [tcp/1, tcp/2, "
                     "tcp/3, udp/4000-5000, icmp/echo]"})});
  const auto text = show_table(policy, {.width = 72});
  const auto table = text.substr(text.find("  #"));
  CHECK(table == R"(  #  RULE  ACTION  TO                                      PORTS           LINE
  1  r0    allow   10.0.0.0/16, 10.1.0.0/16, 10.2.0.0/16,  tcp/1, tcp/2,   4
                   10.3.0.0/16,                            tcp/3,
                   2001:db8:1111:2222:3333:4444:5555:6666  udp/4000-5000,
                                                           icmp/echo

ingress of "test" (a.yaml)
  no rule: nothing is allowed
)");
}

TEST_CASE("policy: show without a file says that everything is denied") {
  CHECK(without_hash(show_table(PolicySet{}, {})) ==
        "policy    HASH\nfiles     none; without a file everything is denied\n");
}

TEST_CASE("policy: show as JSON") {
  CHECK(
      without_hash(show_json(load_ok({kGuest}), WallTime{})) ==
      R"({"hash":"HASH","generation":1,"effective":{"refuse":"reject","uplinks":null,"aliases":[],"tenant":null,)"
      R"("limits":{"connections":400,"new":{"flows":60,"seconds":60}},)"
      R"("limits_at":{"connections":"a.yaml:3","new":"a.yaml:3"},)"
      R"("reload":{"drain_seconds":0,"on_error":"keep"},"require_tenant_policy":false},)"
      R"("files":[{"name":"guest","path":"a.yaml","description":null,"mode":"enforce","refuse":"reject",)"
      R"("expires":null,"over":false,"limits":{"connections":400,"new":{"flows":60,"seconds":60}},"tests":0,)"
      R"("egress":[{"name":"all","action":"allow","places":["any"],"except":[],"ports":["tcp","udp"],)"
      R"("limits":null,"until":null,"over":false,"log":"none","at":"a.yaml:4"}],)"
      R"("ingress":[{"name":"ssh","action":"allow","places":["onlink"],"except":[],"ports":["tcp/22"],)"
      R"("limits":null,"until":null,"over":false,"log":"none","at":"a.yaml:5"}]}]})");
  CHECK(show_json(load_ok({kSite, kTenant}), WallTime{}).find(R"("uplinks":["eth0"])") != std::string::npos);
}
