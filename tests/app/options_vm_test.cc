#include "app/options_vm.h"

#include <doctest/doctest.h>

#include "app/roles.h"
#include "tests/app/good_options.h"

namespace cordon::app {
TEST_CASE("options: vm listens, and its guest configures itself") {
  const auto options = good({"vm", "--socket", "/run/x.sock", "--name", "box", "-t", "80", "--mtu=1500"});
  REQUIRE(options.vm);
  CHECK(options.vm->socket == "/run/x.sock");
  CHECK_FALSE(options.vm->fd);
  CHECK_FALSE(options.vm->one_off);
  CHECK(options.command.empty());
  CHECK_FALSE(options.attach);
  CHECK_FALSE(options.guest.configure);
  CHECK(options.guest.services.dhcp);
  CHECK(options.guest.services.slaac);
  CHECK(options.guest.services.unsolicited);
  CHECK(options.guest.learn_mac);
  CHECK(good({"vm", "--socket=x", "--one-off"}).vm->one_off);
  const auto config = translator_config(options);
  CHECK(config.link == sandbox::LinkKind::kStream);
  CHECK(config.learn_guest_mac);
}

TEST_CASE("options: vm takes a connection, which is the only one") {
  const auto options = good({"vm", "--fd", "0", "--mac", "52:54:00:12:34:56"});
  REQUIRE(options.vm);
  CHECK(options.vm->fd == 0);
  CHECK(options.vm->one_off);
  CHECK_FALSE(options.guest.learn_mac);
  CHECK(options.guest.mac == *net::parse_mac("52:54:00:12:34:56"));
  CHECK_FALSE(translator_config(options).learn_guest_mac);
}

TEST_CASE("options: vm may have addresses by hand alone") {
  CHECK(good({"vm", "--fd=5", "--no-dhcp", "--no-dhcpv6", "--no-ra"}).vm);
}

TEST_CASE("options: mistakes about vm are told") {
  struct Row {
    std::string_view name;
    Words words;
    std::string_view says;
  };
  for (const Row& row :
       {Row{"neither", {"vm"}, "needs --socket"},
        Row{"both", {"vm", "--socket", "x", "--fd", "3"}, "contradicts"},
        Row{"a command", {"vm", "--fd", "3", "sh"}, "runs no command"},
        Row{"a command behind --", {"vm", "--fd", "3", "--", "sh"}, "runs no command"},
        Row{"no number", {"vm", "--fd", "x"}, "--fd x"}, Row{"negative", {"vm", "--fd=-1"}, "--fd -1"},
        Row{"too long", {"vm", "--socket", std::string(108, 'x')}, "at most 107 bytes"},
        Row{"an interface", {"vm", "--fd", "3", "--ifname", "e"}, "--ifname is not for"},
        Row{"a bare interface", {"vm", "--fd", "3", "--no-config-net"}, "--no-config-net is"},
        Row{"a namespace", {"vm", "--fd", "3", "--netns", "x"}, "--netns is not for"},
        Row{"threads", {"vm", "--fd", "3", "--threads", "2"}, "--threads 2"},
        Row{"for run", {"run", "--socket", "x", "--", "sh"}, "--socket is for cordon vm"},
        Row{"for attach", {"attach", "--one-off", "1"}, "--one-off is for cordon vm"}}) {
    CAPTURE(row.name);
    const auto parsed = parse(row.words);
    REQUIRE_FALSE(parsed.has_value());
    CHECK(parsed.error().message.find(row.says) != std::string::npos);
    CHECK(parsed.error().message.find('\n') == std::string::npos);
  }
}

}  // namespace cordon::app
