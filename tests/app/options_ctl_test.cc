#include "app/options_ctl.h"

#include <doctest/doctest.h>

using namespace cordon::app;

namespace {

using Action = CtlOptions::Action;

std::expected<Invocation, UsageError> parsed(std::vector<std::string> words) {
  words.insert(words.begin(), "ctl");
  return parse(words);
}
CtlOptions good(std::vector<std::string> words) {
  const auto invocation = parsed(std::move(words));
  REQUIRE(invocation);
  REQUIRE(std::holds_alternative<CtlOptions>(*invocation));
  return std::get<CtlOptions>(*invocation);
}

}  // namespace

TEST_CASE("options: ctl") {
  CHECK(good({"status"}).action == Action::kStatus);
  CHECK(good({"list", "--json"}).json);
  CHECK(good({"--socket", "/a/b", "flows"}).socket == "/a/b");
  CHECK(good({"metrics", "--socket=/a=b"}).socket == "/a=b");
  CHECK(good({"--name", "vm-1", "reload"}).name == "vm-1");
  const auto some = good({"kill", "17.3", "0.1"});
  CHECK(some.flow_ids == std::vector<std::string>{"17.3", "0.1"});
  CHECK_FALSE(some.has_filter());
  CHECK(good({"kill", "--all"}).all);
  const auto filtered =
      good({"kill", "--remote", "2001:db8::/32", "--port=443", "--protocol", "tcp", "--rule", "site/web"});
  CHECK(filtered.remote == "2001:db8::/32");
  CHECK(filtered.port == 443);
  CHECK(filtered.protocol == "tcp");
  CHECK(filtered.rule == "site/web");
}

TEST_CASE("options: ctl, mistakes are named") {
  struct Case {
    std::vector<std::string> words;
    std::string_view says;
  };
  const Case cases[] = {
      {{}, "what to do"},
      {{"stauts"}, "did you mean status?"},
      {{"status", "flows"}, "one action at a time"},
      {{"status", "--jsn"}, "did you mean --json?"},
      {{"status", "--socket"}, "needs a value"},
      {{"status", "--socket="}, "needs a value"},
      {{"status", "--name", "A b"}, "--name A b"},
      {{"status", "--name", "a", "--socket", "b"}, "one of them"},
      {{"status", "--all"}, "are for kill"},
      {{"flows", "--port", "5"}, "are for kill"},
      {{"list", "--name", "a"}, "leave --socket and --name out"},
      {{"kill"}, "which flows"},
      {{"kill", "17"}, "17.3"},
      {{"kill", "17.3", "--all"}, "which flows"},
      {{"kill", "--all", "--port", "5"}, "which flows"},
      {{"kill", "--port", "0"}, "--port 0"},
      {{"kill", "--port", "65536"}, "--port 65536"},
      {{"kill", "--remote", "192.0.2.1/24"}, "--remote"},
      {{"kill", "--protocol", "sctp"}, "tcp, udp or icmp"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.says);
    const auto invocation = parsed(c.words);
    REQUIRE_FALSE(invocation);
    CAPTURE(invocation.error().message);
    CHECK(invocation.error().message.find(c.says) != std::string::npos);
  }
}

TEST_CASE("options: ctl has a help of its own") {
  const auto help = parsed({"kill", "--help"});
  REQUIRE(help);
  CHECK(std::get<ShowText>(*help).text.starts_with("Usage: cordon ctl"));
}
