#include "policy/load.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/builtin.h"
#include "policy/print.h"
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;

TEST_CASE("policy: a file with every key of this version loads to what it says") {
  const auto policy = load_ok({R"(# comment
version: 1
name: web-1
description: "Caf\u00e9: web"
mode: audit
refuse: drop
egress:
  - name: web
    allow: [internet, 10.0.0.0/8, "2001:db8::/32"]
    except: 10.1.0.0/16
    ports: [tcp/443, udp/8000-8100, icmp/echo]
  - {name: rest, deny: any}
)"});
  REQUIRE(policy.files().size() == 1);
  const Ruleset& file = policy.files()[0];
  CHECK(file.name == "web-1");
  CHECK(file.path == "a.yaml");
  CHECK(file.description == "Caf\xc3\xa9: web");
  CHECK(file.mode == Mode::kAudit);
  CHECK(file.drop);
  CHECK(policy.drops());
  REQUIRE(file.egress.size() == 2);
  const Rule& web = file.egress[0];
  CHECK(web.name == "web");
  CHECK(web.action == Action::kAllow);
  CHECK(web.at.line == 8);
  CHECK(web.to.words.contains(Word::kInternet));
  CHECK_FALSE(web.to.words.contains(Word::kPrivate));
  CHECK(web.to.prefixes ==
        std::vector{*net::parse_prefix("10.0.0.0/8"), *net::parse_prefix("2001:db8::/32")});
  CHECK(web.except.prefixes == std::vector{*net::parse_prefix("10.1.0.0/16")});
  CHECK(web.ports == std::vector{PortRange{flow::Protocol::kTcp, 443, 443},
                                 PortRange{flow::Protocol::kUdp, 8000, 8100},
                                 PortRange{flow::Protocol::kIcmpEcho, 0, 65535}});
  const Rule& rest = file.egress[1];
  CHECK(rest.action == Action::kDeny);
  CHECK(rest.to.words.contains(Word::kInternet));
  CHECK(rest.to.words.contains(Word::kPrivate));
  CHECK(rest.to.words.contains(Word::kOnlink));
  CHECK_FALSE(rest.to.words.contains(Word::kDns));
  CHECK(rest.ports ==
        std::vector{PortRange{flow::Protocol::kTcp, 0, 65535}, PortRange{flow::Protocol::kUdp, 0, 65535}});
}

TEST_CASE("policy: the canonical text loads to itself and does not depend on how a file is written") {
  const auto one =
      load_ok({"version: 1\nname: x\negress:\n- name: a\n  allow:\n  - internet\n  - '2001:db8::/32'\n"});
  const auto two =
      load_ok({"# other\n\"name\": \"x\"\nversion: 1\nmode: enforce\negress: [{allow: [\"2001:db8::/32\", "
               "internet], ports: [tcp, udp], name: a}]\n"});
  CHECK(one.hash() == two.hash());
  CHECK(one.hash().size() == std::string_view{"sha256:"}.size() + 64);
  const auto text = print(one.files()[0]);
  CHECK(text ==
        "version: 1\nname: \"x\"\nmode: enforce\nrefuse: reject\negress:\n"
        "  - {name: \"a\", allow: [internet, \"2001:db8::/32\"], ports: [tcp, udp]}\n");
  CHECK(print(load_ok({text}).files()[0]) == text);
  const auto other = load_ok({"version: 1\nname: x\negress:\n- name: a\n  allow: internet\n"});
  CHECK(other.hash() != one.hash());
}

TEST_CASE("policy: no file, no egress and an empty list are loaded and deny everything") {
  CHECK(load(std::span<const Source>{}).policy->files().empty());
  for (const std::string_view text : {"version: 1\nname: x\n", "version: 1\nname: x\negress: []\n"}) {
    CAPTURE(text);
    const auto policy = load_ok({text});
    CHECK(policy.files()[0].egress.empty());
    CHECK_FALSE(decide(policy, flow_to("1.1.1.1", 443), facts(routed())).allow);
  }
  CHECK_FALSE(decide(builtin_deny(), flow_to("1.1.1.1", 443), facts(routed())).allow);
  CHECK(builtin_deny().hash() == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("policy: the built-in is internet and the forwarder, nothing else") {
  const auto policy = builtin_internet_only();
  CHECK(policy.files()[0].path == "built-in");
  CHECK(decide(policy, flow_to("93.184.216.34", 443), facts(routed())).allow);
  CHECK(decide(policy, flow_to("2606:2800::1", 443, flow::Protocol::kUdp), facts(routed())).allow);
  CHECK(decide(policy, flow_to("1.1.1.1", 0, flow::Protocol::kIcmpEcho), facts(routed())).allow);
  CHECK(decide(policy, flow_to("10.0.2.3", 53, flow::Protocol::kUdp), forwarder()).allow);
  CHECK_FALSE(decide(policy, flow_to("8.8.8.8", 53, flow::Protocol::kUdp), facts(routed())).allow);
  CHECK_FALSE(decide(policy, flow_to("10.1.2.3", 443), facts(routed())).allow);
}

namespace {
struct TempFile {
  std::string path = "/tmp/cordon-policy-test-XXXXXX";
  TempFile(std::string_view text, mode_t mode) {
    const int fd = ::mkstemp(path.data());
    REQUIRE(fd >= 0);
    REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    REQUIRE(::fchmod(fd, mode) == 0);
    ::close(fd);
  }
  ~TempFile() { ::unlink(path.c_str()); }
};
}  // namespace

TEST_CASE("policy: files are read from disk, and each unreadable one is an error of its own") {
  const TempFile good{"version: 1\nname: x\n", 0644};
  const TempFile open_to_all{"version: 1\nname: x\n", 0646};
  const TempFile huge{"#" + std::string(256 * 1024, 'x'), 0644};
  const std::array only_good{good.path};
  CHECK(load_files(only_good).policy.has_value());
  const std::array paths{good.path, std::string{"/nonexistent/p.yaml"}, open_to_all.path, std::string{"/tmp"},
                         huge.path};
  const auto loaded = load_files(paths);
  CHECK_FALSE(loaded.policy.has_value());
  CHECK(render(loaded.diagnostics) ==
        "/nonexistent/p.yaml:1:1: error P100: cannot open the file: No such file or directory\n" +
            open_to_all.path +
            ":1:1: error P100: everyone may write to this file; run chmod o-w on it\n"
            "/tmp:1:1: error P100: not a regular file\n" +
            huge.path + ":1:1: error P100: the file has more than 256 KiB\n    1 | #" +
            std::string(159, 'x') + "\n      | ^\n");
}
