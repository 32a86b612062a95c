#include "app/options_attach.h"

#include <doctest/doctest.h>

#include "tests/app/good_options.h"

namespace cordon::app {
namespace {

std::string complaint(const Words& words) {
  const auto parsed = parse(words);
  REQUIRE_FALSE(parsed.has_value());
  CHECK(parsed.error().message.find('\n') == std::string::npos);
  return parsed.error().message;
}

}  // namespace

TEST_CASE("options: attach names a process") {
  const auto options = good({"attach", "--mtu", "1500", "4711", "--name", "box"});
  REQUIRE(options.attach);
  CHECK(options.attach->pid == 4711);
  CHECK(options.attach->netns.empty());
  CHECK(options.attach->userns.empty());
  CHECK(options.guest.mtu == 1500);
  CHECK(options.guest.name == "box");
  CHECK(options.guest.interface == "eth0");
  CHECK(options.command.empty());
}

TEST_CASE("options: attach names a namespace, by name or path") {
  struct Row {
    std::string_view given;
    std::string_view path;
  };
  for (const Row& row : {Row{"blue", "/run/netns/blue"}, Row{"/proc/7/ns/net", "/proc/7/ns/net"},
                         Row{"./here", "./here"}, Row{"a.b", "/run/netns/a.b"}}) {
    CAPTURE(row.given);
    const auto options = good({"attach", "--netns", std::string{row.given}, "--userns", "/proc/7/ns/user"});
    REQUIRE(options.attach);
    CHECK(options.attach->pid == 0);
    CHECK(options.attach->netns == row.path);
    CHECK(options.attach->userns == "/proc/7/ns/user");
  }
}

TEST_CASE("options: a start announces itself, by run and by attach") {
  for (const Words& words :
       {Words{"run", "--ready-fd=7", "--pid-file", "x.pid", "--ifname", "tap0", "--", "sh"},
        Words{"attach", "--ready-fd=7", "--pid-file", "x.pid", "--ifname", "tap0", "1"}}) {
    const auto options = good(words);
    CHECK(options.ready_fd == 7);
    CHECK(options.pid_file == "x.pid");
    CHECK(options.guest.interface == "tap0");
  }
  const auto silent = good({"run", "--", "sh"});
  CHECK_FALSE(silent.ready_fd);
  CHECK(silent.pid_file.empty());
  CHECK_FALSE(silent.attach);
}

TEST_CASE("options: what attach does not take") {
  struct Row {
    std::string_view name;
    Words words;
    Words texts;
  };
  const std::vector<Row> rows{
      {"nothing", {"attach"}, {"needs a process or a namespace"}},
      {"both", {"attach", "--netns", "blue", "12"}, {"PID 12", "--netns blue", "drop one"}},
      {"two", {"attach", "12", "13"}, {"'13'", "one PID"}},
      {"zero", {"attach", "0"}, {"PID 0"}},
      {"negative", {"attach", "-5"}, {"-5"}},
      {"a name for a process", {"attach", "blue"}, {"PID blue", "--netns blue"}},
      {"too large", {"attach", "99999999999"}, {"99999999999"}},
      {"a command", {"attach", "12", "--", "sh"}, {"'sh'", "runs no command"}},
      {"dots", {"attach", "--netns", ".."}, {"--netns .."}},
      {"an unknown option", {"attach", "--netn", "blue"}, {"--netn", "did you mean --netns?"}},
      {"netns of run", {"run", "--netns", "blue", "--", "sh"}, {"--netns", "cordon attach"}},
      {"userns of run", {"run", "--userns", "/x", "--", "sh"}, {"--userns", "cordon attach"}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const std::string message = complaint(row.words);
    CAPTURE(message);
    for (const auto& text : row.texts) CHECK(message.find(text) != std::string::npos);
  }
}

TEST_CASE("options: descriptors and interface names that cannot be") {
  for (const char* const fd : {"0", "1", "2", "-1", "x", "3x", "99999999999", "0x7"}) {
    CAPTURE(fd);
    CHECK(complaint({"attach", "--ready-fd=" + std::string{fd}, "1"}).find("--ready-fd") == 0);
  }
  for (const char* const name :
       {"lo", "all", "default", ".", "..", "a/b", "a b", "sixteen-letters-", "%d", "a:b", "-x", "\xc3\xa9"}) {
    CAPTURE(name);
    CHECK(complaint({"attach", "--ifname=" + std::string{name}, "1"}).find("--ifname") == 0);
  }
  CHECK(good({"attach", "--ifname=fifteen_letters", "1"}).guest.interface == "fifteen_letters");
}

TEST_CASE("options: attach has the help") {
  const auto parsed = parse(Words{"attach", "--help"});
  REQUIRE(parsed);
  REQUIRE(std::holds_alternative<ShowText>(*parsed));
  CHECK(std::get<ShowText>(*parsed).text.find("--ready-fd") != std::string::npos);
}

}  // namespace cordon::app
