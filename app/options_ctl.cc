#include "app/options_ctl.h"

#include <algorithm>
#include <array>

#include "app/control_methods.h"
#include "app/option_values.h"
#include "core/net/prefix.h"

namespace cordon::app {
namespace {

constexpr std::string_view kHelp =
    R"(Usage: cordon ctl [options] ACTION

Asks a running cordon, over its control socket.

Actions
  status                 what it is, which policy is in force, how it is doing
  flows                  the live flows and the rules that let them
  kill ID...             cut these flows; "flows" lists the ids
  kill FILTER...         cut the flows that every filter matches
  reload                 read the policy files again, and wait for the outcome
  metrics                counters, in Prometheus' text format
  list                   the instances that run

Filters of kill
  --remote ADDR|CIDR     the far end's address
  --port N               the far end's port
  --protocol tcp|udp|icmp
                         the protocol
  --rule NAME            the rule that let it; RULESET/NAME names the file, too
  --all                  none of these: every flow

Options
  --socket PATH          its control socket
  --name NAME            the instance of this name (default: the only one that runs)
  --json                 print what it answered; flows one a line

The exit status is 0; 1 when it was refused or nothing was killed; 2 for a mistake in the
command line, or when nobody answers.
See cordon-ctl(1).
)";

std::unexpected<UsageError> usage(std::string message) {
  return std::unexpected(UsageError{std::move(message)});
}

constexpr std::array kActions{
    std::pair{std::string_view{"status"}, CtlOptions::Action::kStatus},
    std::pair{std::string_view{"flows"}, CtlOptions::Action::kFlows},
    std::pair{std::string_view{"kill"}, CtlOptions::Action::kKill},
    std::pair{std::string_view{"reload"}, CtlOptions::Action::kReload},
    std::pair{std::string_view{"metrics"}, CtlOptions::Action::kMetrics},
    std::pair{std::string_view{"list"}, CtlOptions::Action::kList},
};

struct Raw {
  std::string remote, port, protocol, rule;
  CtlOptions options;
  std::vector<std::string> words;

  // Where the value of an option goes; nullptr: it has none, or is none.
  std::string* place(std::string_view name) {
    if (name == "--socket") return &options.socket;
    if (name == "--name") return &options.name;
    if (name == "--remote") return &remote;
    if (name == "--port") return &port;
    if (name == "--protocol") return &protocol;
    if (name == "--rule") return &rule;
    return nullptr;
  }
};

std::expected<void, UsageError> split(std::span<const std::string> arguments, Raw& raw) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (!word.starts_with('-') || word == "-") {
      raw.words.push_back(word);
      continue;
    }
    if (word == "--json" || word == "--all") {
      (word == "--json" ? raw.options.json : raw.options.all) = true;
      continue;
    }
    const auto equals = word.find('=');
    const std::string name = word.substr(0, equals);
    std::string* const place = raw.place(name);
    if (place == nullptr) {
      const auto close = nearest(
          name, {"--socket", "--name", "--json", "--all", "--remote", "--port", "--protocol", "--rule"});
      return usage("unknown option " + name +
                   (close.empty() ? "; cordon ctl --help lists them" : "; did you mean " + close + "?"));
    }
    if (equals == std::string::npos && i + 1 == arguments.size()) return usage(name + " needs a value");
    *place = equals == std::string::npos ? arguments[++i] : word.substr(equals + 1);
    if (place->empty()) return usage(name + " needs a value");
  }
  return {};
}

std::expected<void, UsageError> fill_kill(Raw& raw) {
  CtlOptions& options = raw.options;
  for (auto& word : raw.words) {
    if (!parse_flow_id(word))
      return usage("kill " + word + ": give an id as \"flows\" lists it, such as 17.3");
    options.flow_ids.push_back(std::move(word));
  }
  if (!raw.remote.empty() && !net::parse_prefix(raw.remote))
    return usage("--remote " + raw.remote + ": give an address or a prefix, such as 192.0.2.0/24");
  if (!raw.port.empty()) {
    const auto port = parse_number(raw.port);
    if (!port || *port == 0 || *port > 65535) return usage("--port " + raw.port + ": give 1 to 65535");
    options.port = static_cast<std::uint16_t>(*port);
  }
  if (!raw.protocol.empty() && raw.protocol != "tcp" && raw.protocol != "udp" && raw.protocol != "icmp")
    return usage("--protocol " + raw.protocol + ": give tcp, udp or icmp");
  options.remote = std::move(raw.remote);
  options.protocol = std::move(raw.protocol);
  options.rule = std::move(raw.rule);
  const int ways =
      (options.flow_ids.empty() ? 0 : 1) + (options.all ? 1 : 0) + (options.has_filter() ? 1 : 0);
  if (ways != 1) return usage("kill: say which flows: ids, or filters, or --all");
  return {};
}

}  // namespace

std::expected<Invocation, UsageError> parse_ctl(std::span<const std::string> arguments) {
  if (std::ranges::any_of(arguments, [](const auto& a) { return a == "--help" || a == "-h"; }))
    return ShowText{std::string{kHelp}};
  Raw raw;
  if (auto done = split(arguments, raw); !done) return std::unexpected(done.error());
  if (raw.words.empty()) return usage("say what to do: status, flows, kill, reload, metrics or list");
  const auto action = std::ranges::find(kActions, raw.words.front(), [](const auto& a) { return a.first; });
  if (action == kActions.end()) {
    std::vector<std::string> names;
    for (const auto& [name, value] : kActions) names.emplace_back(name);
    const auto close = nearest(raw.words.front(), names);
    return usage("unknown action " + raw.words.front() +
                 (close.empty() ? "; cordon ctl --help lists them" : "; did you mean " + close + "?"));
  }
  raw.words.erase(raw.words.begin());
  CtlOptions& options = raw.options;
  options.action = action->second;
  if (!options.socket.empty() && !options.name.empty())
    return usage("--socket and --name: one of them is enough");
  if (!options.name.empty() && !is_guest_name(options.name))
    return usage("--name " + options.name + ": a name is 1 to 63 of a-z, 0-9 and -");
  if (options.action == CtlOptions::Action::kKill) {
    if (auto done = fill_kill(raw); !done) return std::unexpected(done.error());
    return std::move(options);
  }
  if (!raw.words.empty()) return usage("'" + raw.words.front() + "': one action at a time");
  if (options.all || !raw.remote.empty() || !raw.port.empty() || !raw.protocol.empty() || !raw.rule.empty())
    return usage("--all, --remote, --port, --protocol and --rule are for kill");
  if (options.action == CtlOptions::Action::kList && !(options.socket.empty() && options.name.empty()))
    return usage("list shows all instances; leave --socket and --name out");
  return std::move(options);
}

}  // namespace cordon::app
