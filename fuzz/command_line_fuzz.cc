// Any text as a command line: cordon's own, passt's (and what it is translated to, which must be a good line
// of cordon's), and the argument of --tcp-ports by itself. The first byte chooses; words end at newlines.
#include <array>
#include <string>
#include <vector>

#include "app/forward_spec.h"
#include "app/options.h"
#include "app/passt_options.h"
#include "app/passt_translate.h"
#include "fuzz/input.h"

using namespace cordon;
using namespace cordon::app;
using fuzz::require;

namespace {

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty() && words.size() < 64) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    // As exec() hands them over: a word ends at its first zero byte.
    const std::string_view word = text.substr(0, end);
    words.emplace_back(word.substr(0, word.find('\0')));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

void check_error(const UsageError& error) { require(!error.message.empty()); }

void check(const FamilyPlan& plan, net::Family family) {
  require(plan.address.family() == family && plan.gateway.family() == family);
  require(plan.prefix_length <= plan.address.bit_count());
  require(plan.more.size() <= 7 + 1);
}

void check(const RunOptions& run) {
  require(run.guest.ipv4 || run.guest.ipv6 || run.host_addressing);
  if (run.guest.ipv4) check(*run.guest.ipv4, net::Family::kIpv4);
  if (run.guest.ipv6) check(*run.guest.ipv6, net::Family::kIpv6);
  require(run.guest.mtu == 0 || (run.guest.mtu >= 1280 && run.guest.mtu <= 65520));
  require(run.command.empty() == (run.attach.has_value() || run.vm.has_value()));
  for (const sandbox::ForwardRule& rule : run.forwards) {
    require(rule.first != 0 && rule.first <= rule.last && rule.target != 0);
    require(rule.target <= 65535 - (rule.last - rule.first));
    require(rule.target_v4 || rule.target_v6);
  }
  for (const auto& pair : run.guest.map.pairs) require(pair.seen.family() == pair.real.family());
}

void check_own(const std::vector<std::string>& words) {
  const auto parsed = parse(words);
  if (!parsed) return check_error(parsed.error());
  if (const auto* run = std::get_if<RunOptions>(&*parsed)) check(*run);
}

void check_passt(std::vector<std::string> words) {
  auto command = parse_passt(words);
  if (!command) return check_error(command.error());
  if (command->action != PasstCommand::Action::kServe) return;
  // The front end settles these before it translates.
  if (!command->fd && command->socket.empty()) command->socket = "/tmp/passt_1.socket";
  PasstHost host;
  const auto interface = [](const char* address, unsigned length, const char* gateway) {
    return netlink::DefaultInterface{.index = 2,
                                     .address = *net::parse_ip(address),
                                     .prefix_length = length,
                                     .gateway = net::parse_ip(gateway)};
  };
  host.addresses.ipv4 = interface("192.0.2.10", 24, "192.0.2.1");
  host.addresses.ipv6 = interface("2001:db8::10", 64, "fe80::1");
  host.name_servers = {*net::parse_ip("192.0.2.53"), *net::parse_ip("2001:db8::53")};
  host.search = {"corp.example"};
  const auto own = translate_passt(*command, host);
  if (!own) return check_error(own.error());
  check_own(*own);
}

void check_spec(const std::string& text) {
  const auto spec = parse_forward_spec(text);
  if (!spec) {
    require(spec.error().column <= text.size() && !spec.error().message.empty());
    require(!describe("--tcp-ports", text, spec.error()).empty());
    return;
  }
  require(spec->none == spec->ranges.empty());
  std::uint32_t before = 0;
  for (const PortRange& range : spec->ranges) {
    require(range.first != 0 && range.first <= range.last && range.target != 0);
    require(std::uint32_t{range.target} + (range.last - range.first) <= 65535);
    before = range.last;
  }
  static_cast<void>(before);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > 4096) return 0;
  const std::string text(data + 1, data + size);
  switch (data[0] % 4U) {
    case 0: check_own(words_of(text)); break;
    case 1: check_passt(words_of(text)); break;
    case 2: check_spec(text); break;
    default: {  // behind a beginning that is good, so that the rest is reached
      std::vector<std::string> words{"run"};
      for (std::string& word : words_of(text)) words.push_back(std::move(word));
      words.insert(words.end(), {"--", "true"});
      check_own(words);
    }
  }
  return 0;
}
