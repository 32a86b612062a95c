#include "app/options_control.h"

#include <doctest/doctest.h>

#include "app/policy_loader.h"

namespace cordon::app {
namespace {

std::expected<RunOptions, UsageError> run_with(std::vector<std::string> words) {
  words.insert(words.begin(), "run");
  words.insert(words.end(), {"--", "true"});
  auto parsed = parse(words);
  if (!parsed) return std::unexpected(parsed.error());
  return std::get<RunOptions>(*parsed);
}

}  // namespace

TEST_CASE("options: the control socket") {
  struct Case {
    std::vector<std::string> words;
    ControlSocket expected;
    std::string path;
  };
  const Case good[] = {
      {{}, ControlSocket::kDefault, ""},
      {{"--control", "/run/x.sock"}, ControlSocket::kPath, "/run/x.sock"},
      {{"--no-control"}, ControlSocket::kNone, ""},
      {{"--control", std::string(107, 'x')}, ControlSocket::kPath, std::string(107, 'x')},
  };
  for (const Case& row : good) {
    CAPTURE(row.path);
    const auto options = run_with(row.words);
    REQUIRE(options.has_value());
    CHECK(options->control == row.expected);
    CHECK(options->control_path == row.path);
    CHECK_FALSE(options->watch_policy);
  }
  const auto both = run_with({"--control", "/run/x.sock", "--no-control"});
  REQUIRE_FALSE(both.has_value());
  CHECK(both.error().message.find("drop one") != std::string::npos);
  const auto far = run_with({"--control", std::string(108, 'x')});
  REQUIRE_FALSE(far.has_value());
  CHECK(far.error().message.find("at most 107 bytes") != std::string::npos);
  CHECK_FALSE(run_with({"--control"}).has_value());
  CHECK(run_with({"--watch-policy"}).value().watch_policy);
}

TEST_CASE("policy loader: its command line follows the start's") {
  RunOptions options;
  CHECK(loader_arguments(options, LoadKind::kFirst, {}).empty());
  const std::vector<std::string> files{"a.yaml", "--strict"};
  using Words = std::vector<std::string>;
  CHECK(loader_arguments(options, LoadKind::kFirst, files) == Words{"--", "a.yaml", "--strict"});
  CHECK(loader_arguments(options, LoadKind::kReload, files) == Words{"--reload", "--", "a.yaml", "--strict"});
  options.isolation = Isolation::kStrict;
  options.verbosity = Verbosity::kVerbose;
  CHECK(loader_arguments(options, LoadKind::kFirst, files) ==
        Words{"--verbose", "--strict", "--", "a.yaml", "--strict"});
}

}  // namespace cordon::app
