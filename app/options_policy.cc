#include "app/options_policy.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "app/option_values.h"
#include "app/options_drop_in.h"
#include "app/options_lan.h"
#include "core/base/error.h"
#include "policy/scalars.h"
#include "policy/times.h"

namespace cordon::app {
namespace {

using Parsed = std::expected<Invocation, UsageError>;
using Words = std::span<const std::string>;

// What a socket of the guest's may have; no rule looks at it.
constexpr net::Port kSomePort{40000};
constexpr std::uint16_t kDnsPort = 53;

constexpr std::string_view kOverview =
    R"(Usage: cordon policy check [options] [FILE...]     are the files valid, do their tests pass?
       cordon policy show [options] [FILE...]      the policy as a table
       cordon policy explain [options] DST PORT    would this flow be allowed, and why?
       cordon policy snapshot                      this host's network, for explain --snapshot

The files are those of a start, unless FILE... names others: /etc/cordon/policy.yaml, if there is
one, then those of --policy; without any the built-in internet-only policy.
cordon policy check --help and so on lists the options. See cordon-policy(1).
)";

constexpr std::string_view kCheckHelp =
    R"(Usage: cordon policy check [options] [FILE...]

Reads the policy files, outermost first, runs their tests and reports all that is wrong with them.

  --policy FILE          as with cordon run: a file behind the operator's, instead of FILE...
  --strict               warnings fail, too
  --json                 one JSON document instead of text

The exit status is 0 when all is well, 1 for warnings with --strict, 2 for errors.
)";

constexpr std::string_view kShowHelp =
    R"(Usage: cordon policy show [options] [FILE...]

Prints the policy that the files make, as it is applied.

  --policy FILE          as with cordon run: a file behind the operator's, instead of FILE...
  --json                 one JSON document instead of a table

The exit status is 0, or 2 for errors in the files.
)";

constexpr std::string_view kExplainHelp =
    R"(Usage: cordon policy explain [options] DST PORT

Would the guest reach address DST, or the word dns, at PORT: tcp/443, 443, udp/53, icmp/echo? Prints
each step of the decision with its place in the files.

  --policy FILE          as with cordon run; repeat it
  --in                   the other direction: DST is the peer, PORT a published port of the guest
  --snapshot FILE        a host's network from cordon policy snapshot (default: this host, now)
  --at TIME              as of 2026-10-01T12:00:00Z (default: now)
  --from ADDR            the guest's end (default: its first address of DST's family)
  --address ADDR/LEN, --gateway ADDR, --dns ADDR, --no-ipv4, --no-ipv6
                         the guest's network, as with cordon run
  --map SEEN=REAL        SEEN leads to REAL, as passt's --map-host-loopback and --map-guest-addr and the
                         gateway it gives to a guest do, as in 192.0.2.1=127.0.0.1; repeat it
  --json                 one JSON document instead of text

The exit status is 0 when it is allowed, 1 when it is denied, 2 for errors.
)";

constexpr std::string_view kSnapshotHelp =
    R"(Usage: cordon policy snapshot

Prints the links, addresses and routes of this host as JSON, for cordon policy explain --snapshot.
)";

std::unexpected<UsageError> usage(std::string message) {
  return std::unexpected(UsageError{std::move(message)});
}

// Text as typed.
struct RawPolicy {
  std::vector<std::string> policy;
  bool json = false;
  bool strict = false;
  bool in = false;
  std::string snapshot, at, from;
  LanOptions lan;
  RawDropIn drop_in;
};

class Cli {
 public:
  explicit Cli(std::string command) : command_(std::move(command)) {
    cli_.set_help_flag();
    cli_.allow_windows_style_options(false);
    cli_.allow_extras();
  }
  void list(const char* name, std::vector<std::string>& into) {
    cli_.add_option(name, into)->expected(1)->take_all()->allow_extra_args(false);
  }
  void text(const char* name, std::string& into) { cli_.add_option(name, into)->take_last(); }
  void flag(const char* name, bool& into) { cli_.add_flag(name, into); }

  // The words that are no options.
  std::expected<std::vector<std::string>, UsageError> parse(Words words) {
    const auto dashes = std::ranges::find(words, "--");
    std::vector<std::string> own{words.begin(), dashes};
    std::ranges::reverse(own);  // CLI11 takes them from the back
    try {
      cli_.parse(own);
    } catch (const CLI::ArgumentMismatch& mismatch) {
      const std::string text = mismatch.what();
      return usage(text.substr(0, text.find(':')) + " needs a value; " + command_ + " --help shows which");
    } catch (const CLI::ParseError& error) {
      return usage(std::string{error.what()});
    }
    auto operands = cli_.remaining();
    for (const auto& word : operands)
      if (word.starts_with('-')) return usage(unknown(word));
    if (dashes != words.end()) operands.insert(operands.end(), dashes + 1, words.end());
    return operands;
  }

 private:
  std::string unknown(const std::string& word) const {
    const std::string name = word.substr(0, word.find('='));
    std::vector<std::string> known;
    for (const CLI::Option* option : cli_.get_options())
      for (const auto& each : option->get_lnames()) known.push_back("--" + each);
    const auto close = nearest(name, known);
    return "unknown option " + name + "; " +
           (close.empty() ? command_ + " --help lists them" : "did you mean " + close + "?");
  }

  std::string command_;
  CLI::App cli_;
};

std::expected<FileChoice, UsageError> choose_files(const RawPolicy& raw, std::vector<std::string> named) {
  if (std::ranges::find(raw.policy, "") != raw.policy.end() || std::ranges::find(named, "") != named.end())
    return usage("an empty file name");
  if (!raw.policy.empty() && !named.empty())
    return usage(named.front() + " contradicts --policy " + raw.policy.front() +
                 "; name all files in one of the two ways");
  if (!named.empty()) return FileChoice{.files = std::move(named), .exactly = true};
  return FileChoice{.files = raw.policy};
}

Parsed parse_check(Words words) {
  Cli cli{"cordon policy check"};
  RawPolicy raw;
  cli.list("--policy", raw.policy);
  cli.flag("--strict", raw.strict);
  cli.flag("--json", raw.json);
  auto named = CORDON_TRY(cli.parse(words));
  return PolicyCheckOptions{
      .policy = CORDON_TRY(choose_files(raw, std::move(named))), .strict = raw.strict, .json = raw.json};
}

Parsed parse_show(Words words) {
  Cli cli{"cordon policy show"};
  RawPolicy raw;
  cli.list("--policy", raw.policy);
  cli.flag("--json", raw.json);
  auto named = CORDON_TRY(cli.parse(words));
  return PolicyShowOptions{.policy = CORDON_TRY(choose_files(raw, std::move(named))), .json = raw.json};
}

Parsed parse_snapshot(Words words) {
  Cli cli{"cordon policy snapshot"};
  const auto named = CORDON_TRY(cli.parse(words));
  if (!named.empty())
    return usage("'" + named.front() + "': cordon policy snapshot takes nothing and prints to its output");
  return PolicySnapshotOptions{};
}

struct Service {
  flow::Protocol protocol = flow::Protocol::kTcp;
  net::Port port;
};

std::expected<Service, UsageError> parse_service(const std::string& text) {
  const bool bare = !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  const auto range = policy::parse_ports(bare ? "tcp/" + text : text);
  if (!range) return usage("PORT " + text + ": " + range.error().message);
  if (range->protocol == flow::Protocol::kIcmpEcho) return Service{range->protocol, {}};
  if (range->first != range->last || range->first == 0)
    return usage("PORT " + text + ": give one port, as in tcp/443 or udp/53, or icmp/echo");
  return Service{range->protocol, net::Port{range->first}};
}

// An address, or `dns`: the guest's name server, of the family it has.
std::expected<net::IpAddress, UsageError> parse_destination(const std::string& text, const GuestPlan& guest) {
  if (text == "dns") return guest.ipv4 ? guest.ipv4->dns : guest.ipv6->dns;
  if (const auto address = net::parse_ip(text)) return *address;
  if (net::parse_prefix(text)) return usage("DST " + text + " is a network; give one address of it");
  const auto value = policy::parse_destination(text);
  if (value)
    return usage("DST " + text + " is a word for many places; give an address, or dns for the name server");
  if (value.error().code == policy::Code::kNameDestination)
    return usage("DST " + text +
                 " is a name; policies do not know names yet: give one of its addresses, as getent ahosts " +
                 "prints them");
  return usage("DST " + text + ": give an address such as 192.0.2.1 or 2001:db8::1, or dns");
}

std::expected<net::IpAddress, UsageError> guest_end(const RawPolicy& raw, const GuestPlan& guest,
                                                    const net::IpAddress& remote) {
  const auto& family = remote.is_v4() ? guest.ipv4 : guest.ipv6;
  const std::string name{family_name(remote.family())};
  if (!raw.from.empty()) {
    const auto from = parse_plain_address(raw.from);
    if (!from) return usage("--from " + raw.from + ": " + from.error());
    if (from->family() != remote.family())
      return usage("--from " + raw.from + " and " + net::to_string(remote) + " are of different families");
    return *from;
  }
  if (!family) return usage("the guest has no " + name + " address to reach " + net::to_string(remote));
  return family->address;
}

Parsed parse_explain(Words words) {
  Cli cli{"cordon policy explain"};
  RawPolicy raw;
  cli.list("--policy", raw.policy);
  cli.flag("--in", raw.in);
  cli.text("--snapshot", raw.snapshot);
  cli.text("--at", raw.at);
  cli.text("--from", raw.from);
  cli.list("--address", raw.lan.addresses);
  cli.list("--gateway", raw.lan.gateways);
  cli.list("--dns", raw.lan.dns);
  cli.flag("--no-ipv4", raw.lan.no_ipv4);
  cli.flag("--no-ipv6", raw.lan.no_ipv6);
  cli.list("--map", raw.drop_in.map);
  cli.flag("--json", raw.json);
  const auto named = CORDON_TRY(cli.parse(words));
  const bool is_dns = !named.empty() && named.front() == "dns";
  if (named.empty() || (named.size() == 1 && !is_dns))
    return usage(
        "cordon policy explain needs an address and a port, as in: cordon policy explain 192.0.2.1 "
        "tcp/443");
  if (named.size() > 2)
    return usage("'" + named[2] + "': cordon policy explain takes one address and one port");
  if (is_dns && raw.in) return usage("dns is no peer that connects; drop --in");

  PolicyExplainOptions options{.policy = CORDON_TRY(choose_files(raw, {})),
                               .guest = CORDON_TRY(raw.lan.plan()),
                               .direction = raw.in ? policy::Direction::kIngress : policy::Direction::kEgress,
                               .at = {},
                               .snapshot = raw.snapshot,
                               .json = raw.json};
  CORDON_TRY(raw.drop_in.fill_map(options.guest.map));
  Service service{flow::Protocol::kUdp, net::Port{kDnsPort}};
  if (named.size() == 2) service = CORDON_TRY(parse_service(named[1]));
  const net::IpAddress remote = CORDON_TRY(parse_destination(named[0], options.guest));
  const net::IpAddress own = CORDON_TRY(guest_end(raw, options.guest, remote));
  if (raw.in && service.protocol == flow::Protocol::kIcmpEcho)
    return usage("icmp/echo is nothing to publish; --in takes tcp/PORT and udp/PORT");
  options.tuple = {.protocol = service.protocol, .guest = {own, kSomePort}, .remote = {remote, service.port}};
  if (raw.in) std::swap(options.tuple.guest.port, options.tuple.remote.port);
  if (!raw.at.empty()) {
    const auto at = policy::parse_time(raw.at);
    if (!at) return usage("--at " + at.error().message);
    options.at = *at;
  }
  return options;
}

struct Tool {
  std::string_view name;
  std::string_view help;
  Parsed (*parse)(Words);
};
constexpr auto kTools = std::to_array<Tool>({{"check", kCheckHelp, parse_check},
                                             {"show", kShowHelp, parse_show},
                                             {"explain", kExplainHelp, parse_explain},
                                             {"snapshot", kSnapshotHelp, parse_snapshot}});

}  // namespace

Parsed parse_policy(Words arguments) {
  const auto is_help = [](const auto& word) { return word == "--help" || word == "-h"; };
  if (arguments.empty()) return usage("cordon policy: say what to do: check, show, explain or snapshot");
  const std::string& action = arguments.front();
  if (is_help(action) || action == "help") return ShowText{std::string{kOverview}};
  const auto* tool = std::ranges::find(kTools, action, &Tool::name);
  if (tool == kTools.end()) {
    std::vector<std::string> names;
    for (const Tool& each : kTools) names.emplace_back(each.name);
    const auto close = nearest(action, names);
    return usage("cordon policy: unknown action " + action + "; " +
                 (close.empty() ? "use check, show, explain or snapshot" : "did you mean " + close + "?"));
  }
  const Words words = arguments.subspan(1);
  const auto end = std::ranges::find(words, "--");
  if (std::any_of(words.begin(), end, is_help)) return ShowText{std::string{tool->help}};
  return tool->parse(words);
}

}  // namespace cordon::app
