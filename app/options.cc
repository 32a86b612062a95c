#include "app/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "app/option_values.h"
#include "app/options_attach.h"
#include "app/options_control.h"
#include "app/options_ctl.h"
#include "app/options_drop_in.h"
#include "app/options_forward.h"
#include "app/options_lan.h"
#include "app/options_memory.h"
#include "app/options_policy.h"
#include "app/options_threads.h"
#include "app/options_vm.h"

namespace cordon::app {
namespace {

using Parsed = std::expected<Invocation, UsageError>;
enum class Subject : std::uint8_t { kCommand, kNamespace, kMachine };  // run, attach, vm

constexpr std::string_view kHelp =
    R"(Usage: cordon run [options] -- COMMAND [ARGUMENTS]
       cordon attach [options] PID
       cordon attach [options] --netns PATH|NAME
       cordon vm [options] --socket PATH|--fd N
       cordon passt [options]                     in the place of passt; see cordon passt --help
       cordon policy check|show [options] [FILE...]
       cordon policy explain [options] DST PORT
       cordon policy snapshot
       cordon ctl [options] status|flows|kill|reload|metrics|list
       cordon --help | --version

Runs COMMAND in its own user and network namespace. Its traffic is carried to ordinary
sockets of this machine; a policy decides every outbound flow before a packet leaves.
attach gives an existing network namespace the same, until it ends or cordon is stopped.
vm gives it to a virtual machine, which connects as QEMU's -netdev stream does and configures
its network itself, as with --no-config-net.

Policy and records
  --policy FILE          policy file; repeat it: every file must allow (default: internet only)
  --watch-policy         reload a policy file when it changes, as SIGHUP does
  --audit-log FILE       append one JSON line for each refusal and what else rules log; or "stderr",
                         "journald", "syslog", "none"
  --name NAME            the guest's name in audit records (default: guest)

The guest's network
  --address ADDR/LEN     its address (10.0.2.15/24, fd00:c0:2d::15/64); repeat it for more, the first of
                         a family is the one DHCP leases
  --host-addressing      this machine's own addresses and gateways instead
  --gateway ADDR         its default gateway; once for each family
  --dns ADDR             its name server, forwarded to this machine's resolvers; once for each family
  --mac MAC              its hardware address (vm: none other may be used; default: that of the
                         first frame)
  --mtu N                1280 to 65520 (default: 65520)
  --no-ipv4, --no-ipv6   leave one family out
  --no-config-net        leave the interface up but bare: COMMAND asks DHCP or uses SLAAC
  --no-dhcp, --no-dhcpv6, --no-ra, --no-ndp
                         switch one of the services on the guest's link off
  --search DOMAIN        domain to search names in; repeat it; "none" for none
  --hostname NAME, --fqdn NAME
                         the names that DHCP and DHCPv6 give the guest
  --lease-time SECONDS   of DHCP and DHCPv6, 10 to 31536000 (default: 86400)
  --ifname NAME          its interface (default: eth0)

Which namespace (attach)
  --netns PATH|NAME      a network namespace; a name is one of "ip netns"
  --userns PATH          the user namespace to join for it (default: the one that owns it)

Which virtual machine (vm)
  --socket PATH          listen here for it; one at a time, and the next one after it
  --fd N                 this descriptor is connected to it; its end is the end
  --one-off              end when the first one has left
  --vhost-user           through rings in its memory, which it has to share (QEMU:
                         memory-backend-memfd,share=on)
  --queues N             with it: queue pairs, each with a thread, 1 to 16 (default: 1)
  --front-end NAME       with it: qemu (default), cloud-hypervisor or crosvm

Telling others
  --ready-fd N           write "1" to this descriptor and close it when traffic can flow
  --pid-file FILE        holds cordon's process id while it runs
  --control PATH         the control socket for cordon ctl (default: cordon/NAME.sock in /run for
                         root, in $XDG_RUNTIME_DIR for others)
  --no-control           no control socket

Published ports
  -t, --tcp-ports SPEC   let connections from outside in: 8080, 8080:80, 127.0.0.1/2222:22,
                         %eth0/8000-8100, all,~22, none; repeat it. With a policy file, an ingress
                         rule must allow them too
  -u, --udp-ports SPEC   the same for UDP

Limits and isolation
  --max-flows N          connections at a time, 16 to 65536 (default: 8192)
  --socket-memory SIZE   kernel memory its sockets may hold together (default: by the machine)
  --threads N|auto       threads that carry its traffic, 1 to 16 (default: 1)
  --isolation best       use what the kernel offers and say what is missing (default)
  --isolation strict     refuse to start without full isolation

Diagnosis
  --features LIST        switch kernel features off: -tso,-uso,-udp-gso,-udp-gro,-checksum
  --link-faults SPEC     harm the guest's link: loss=1%,duplicate=0.5%,reorder=1%,seed=7
  --verbose, --quiet     more or fewer messages on stderr

The exit status is COMMAND's; 2 for a mistake in options or policy, 125 when cordon fails,
126 and 127 when COMMAND cannot be executed or is not found.
See cordon(1), and cordon policy --help.
)";

// Text as typed; from_raw() makes the value of it.
struct RawOptions {
  ForwardOptions forward;
  RawAttach attach;
  RawVm vm;
  RawStart start;
  RawControl control;
  std::vector<std::string> policy;
  LanOptions lan;
  RawDropIn drop_in;
  std::string audit_log, name, mac, mtu, max_flows, threads, socket_memory, isolation, features, link_faults;
  bool verbose = false;
  bool quiet = false;
};

std::unexpected<UsageError> usage(std::string message) {
  return std::unexpected(UsageError{std::move(message)});
}

void declare(CLI::App& cli, RawOptions& raw) {
  const auto list = [&cli](const char* name, std::vector<std::string>& into) {
    cli.add_option(name, into)->expected(1)->take_all()->allow_extra_args(false);
  };
  const auto text = [&cli](const char* name, std::string& into) { cli.add_option(name, into)->take_last(); };
  cli.set_help_flag();
  cli.allow_windows_style_options(false);
  list("--policy", raw.policy);
  list("-t,--tcp-ports", raw.forward.tcp);
  list("-u,--udp-ports", raw.forward.udp);
  text("--audit-log", raw.audit_log);
  text("--name", raw.name);
  text("--mac", raw.mac);
  text("--mtu", raw.mtu);
  text("--max-flows", raw.max_flows);
  text("--threads", raw.threads);
  text("--socket-memory", raw.socket_memory);
  text("--isolation", raw.isolation);
  text("--features", raw.features);
  text("--link-faults", raw.link_faults);
  text("--netns", raw.attach.netns);
  text("--userns", raw.attach.userns);
  text("--ifname", raw.start.interface);
  text("--ready-fd", raw.start.ready_fd);
  text("--pid-file", raw.start.pid_file);
  text("--control", raw.control.socket);
  cli.add_flag("--no-control", raw.control.off);
  cli.add_flag("--watch-policy", raw.control.watch);
  const auto flag = [&cli](const char* name, bool& into) { cli.add_flag(name, into); };
  raw.lan.declare(list, text, flag);
  raw.vm.declare(text, flag);
  raw.drop_in.declare(list, text, flag);
  cli.add_flag("--verbose", raw.verbose);
  cli.add_flag("--quiet", raw.quiet);
}

std::vector<std::string> long_options(const CLI::App& cli) {
  std::vector<std::string> names;
  for (const CLI::Option* option : cli.get_options())
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

UsageError unknown_argument(const CLI::App& cli, const std::string& argument) {
  if (!argument.starts_with('-'))
    return {"'" + argument + "': put -- before the command, as in: cordon run -- " + argument};
  const std::string name = argument.substr(0, argument.find('='));
  const auto close = nearest(name, long_options(cli));
  return {"unknown option " + name +
          (close.empty() ? "; cordon --help lists them" : "; did you mean " + close + "?")};
}

std::expected<std::uint32_t, UsageError> number_in(std::string_view option, std::string_view text,
                                                   std::uint32_t low, std::uint32_t high) {
  const auto value = parse_number(text);
  if (!value || *value < low || *value > high)
    return usage(std::string{option} + " " + std::string{text} + ": give a number from " +
                 std::to_string(low) + " to " + std::to_string(high));
  return static_cast<std::uint32_t>(*value);
}

// Names of the caller's descriptors: the broker, which reads the policy, has none of them.
bool names_descriptor(std::string_view path) {
  return path == "-" || path == "/dev/stdin" || path.starts_with("/dev/fd/") ||
         path.starts_with("/proc/self/fd/");
}

std::expected<void, UsageError> fill_link(Subject subject, const RawOptions& raw, GuestPlan& guest) {
  guest.mac = kDefaultGuestMac;
  guest.learn_mac = subject == Subject::kMachine && raw.mac.empty();
  if (!raw.mac.empty()) {
    const auto mac = net::parse_mac(raw.mac);
    if (!mac || mac->is_group() || *mac == net::MacAddress{})
      return usage("--mac " + raw.mac + ": give a unicast hardware address such as 52:54:00:12:34:56");
    guest.mac = *mac;
  }
  guest.gateway_mac = guest.mac == kDefaultGatewayMac ? kDefaultGuestMac : kDefaultGatewayMac;
  guest.mtu = kDefaultMtu;
  if (!raw.mtu.empty()) {
    const auto mtu = number_in("--mtu", raw.mtu, 1280, 65520);
    if (!mtu) return std::unexpected(mtu.error());
    guest.mtu = static_cast<std::uint16_t>(*mtu);
  }
  guest.name = raw.name.empty() ? "guest" : raw.name;
  if (!is_guest_name(guest.name)) return usage("--name " + guest.name + ": use 1 to 63 of a-z, 0-9 and -");
  return {};
}

std::expected<void, UsageError> fill_rest(const RawOptions& raw, RunOptions& options) {
  options.policy_files = raw.policy;
  for (const auto& file : raw.policy) {
    if (file.empty()) return usage("--policy needs a file name");
    if (names_descriptor(file))
      return usage("--policy " + file +
                   ": give the name of a file; it is read by a process that has none of the caller's "
                   "descriptors");
  }
  options.audit = parse_audit_log(raw.audit_log);
  options.max_flows = kDefaultMaxFlows;
  if (!raw.max_flows.empty()) {
    const auto flows = number_in("--max-flows", raw.max_flows, 16, 65536);
    if (!flows) return std::unexpected(flows.error());
    options.max_flows = *flows;
  }
  const auto threads = parse_threads(raw.threads);
  if (!threads) return std::unexpected(threads.error());
  options.threads = *threads;
  if (options.vm && options.vm->queues != 0) {
    if (!raw.threads.empty()) return usage("--threads " + raw.threads + " contradicts --queues; drop one");
    options.threads = options.vm->queues;
  }
  if (options.vm && options.vm->protocol == VmOptions::Protocol::kStream && options.threads > 1)
    return usage("--threads " + raw.threads + ": a stream is one queue, which one thread serves");
  const auto memory = parse_socket_memory(raw.socket_memory);
  if (!memory) return std::unexpected(memory.error());
  options.socket_memory = *memory;
  if (raw.isolation == "strict")
    options.isolation = Isolation::kStrict;
  else if (!raw.isolation.empty() && raw.isolation != "best")
    return usage("--isolation " + raw.isolation + ": give best or strict");
  if (raw.verbose && raw.quiet) return usage("--verbose contradicts --quiet; drop one");
  options.verbosity = raw.verbose ? Verbosity::kVerbose : raw.quiet ? Verbosity::kQuiet : Verbosity::kNormal;
  const auto features = parse_features(raw.features);
  if (!features) return usage("--features " + raw.features + ": " + features.error());
  options.features = *features;
  if (!raw.link_faults.empty()) {
    const auto faults = link::parse_faults(raw.link_faults);
    if (!faults) return usage("--link-faults " + raw.link_faults + ": " + faults.error());
    options.link_faults = *faults;
  }
  return {};
}

// An option of another command than `subject`; nullptr: none.
const char* misplaced(Subject subject, const RawOptions& raw) {
  if (subject != Subject::kMachine)
    if (const char* const name = raw.vm.given()) return name;
  if (subject == Subject::kMachine && !raw.start.interface.empty()) return "--ifname";
  if (subject == Subject::kMachine && raw.lan.no_config_net) return "--no-config-net";
  if (subject == Subject::kNamespace) return nullptr;
  return !raw.attach.netns.empty() ? "--netns" : !raw.attach.userns.empty() ? "--userns" : nullptr;
}

// What the words outside of options make of it: a command to run, a namespace or a machine to serve.
std::expected<void, UsageError> fill_subject(Subject subject, const RawOptions& raw, const CLI::App& cli,
                                             std::vector<std::string> command, RunOptions& options) {
  const auto extras = cli.remaining();
  for (const auto& word : extras)
    if (word.starts_with('-') || subject == Subject::kCommand)
      return std::unexpected(unknown_argument(cli, word));
  if (const char* const name = misplaced(subject, raw)) {
    if (subject == Subject::kMachine)
      return usage(std::string{name} +
                   " is not for cordon vm: the machine makes and configures its interface");
    return usage(std::string{name} + (raw.vm.given() != nullptr
                                          ? " is for cordon vm"
                                          : " is for cordon attach; cordon run makes its own"));
  }
  if (subject == Subject::kMachine) {
    auto vm = vm_options(raw.vm, !extras.empty() ? extras : command);
    if (!vm) return std::unexpected(vm.error());
    options.vm = std::move(*vm);
    return {};
  }
  if (subject == Subject::kNamespace) {
    if (!command.empty())
      return usage("'" + command.front() + "': cordon attach runs no command; cordon run does");
    auto target = attach_target(raw.attach, extras);
    if (!target) return std::unexpected(target.error());
    options.attach = std::move(*target);
    return {};
  }
  if (command.empty()) return usage("no command; give one after --, as in: cordon run -- sh");
  options.command = std::move(command);
  return {};
}

Parsed from_raw(Subject subject, const RawOptions& raw, const CLI::App& cli,
                std::vector<std::string> command) {
  RunOptions options;
  if (auto done = fill_subject(subject, raw, cli, std::move(command), options); !done)
    return std::unexpected(done.error());
  auto guest = raw.lan.plan(subject == Subject::kMachine ? Configured::kByGuest : Configured::kByOption);
  if (!guest) return std::unexpected(guest.error());
  options.guest = std::move(*guest);
  options.host_addressing = raw.lan.host_addressing;
  if (!options.host_addressing) {  // else the guest's addresses are not known yet
    auto forwards = raw.forward.plan(options.guest);
    if (!forwards) return std::unexpected(forwards.error());
    options.forwards = std::move(*forwards);
  }
  if (auto done = fill_link(subject, raw, options.guest); !done) return std::unexpected(done.error());
  if (auto done = raw.drop_in.apply(raw.lan.dns, options); !done) return std::unexpected(done.error());
  if (auto done = fill_rest(raw, options); !done) return std::unexpected(done.error());
  if (auto done = apply(raw.start, options); !done) return std::unexpected(done.error());
  if (auto done = apply(raw.control, options); !done) return std::unexpected(done.error());
  return options;
}

Parsed parse_run(Subject subject, std::span<const std::string> arguments) {
  // Everything after the first -- is the command's, whatever it looks like.
  const auto dashes = std::ranges::find(arguments, "--");
  std::vector<std::string> own{arguments.begin(), dashes};
  std::vector<std::string> command;
  if (dashes != arguments.end()) command.assign(dashes + 1, arguments.end());
  if (std::ranges::any_of(own, [](const auto& a) { return a == "--help" || a == "-h"; }))
    return ShowText{std::string{kHelp}};

  CLI::App cli;
  RawOptions raw;
  declare(cli, raw);
  cli.allow_extras();
  try {
    std::ranges::reverse(own);  // CLI11 takes them from the back
    cli.parse(own);
  } catch (const CLI::ArgumentMismatch& mismatch) {
    const std::string text = mismatch.what();
    return usage(text.substr(0, text.find(':')) + " needs a value; cordon --help shows which");
  } catch (const CLI::ParseError& error) {
    return usage(std::string{error.what()});
  }
  raw.lan.lenient = raw.drop_in.lenient();
  return from_raw(subject, raw, cli, std::move(command));
}

}  // namespace

std::vector<FamilyPlan> GuestPlan::families() const {
  std::vector<FamilyPlan> all;
  if (ipv4) all.push_back(*ipv4);
  if (ipv6) all.push_back(*ipv6);
  return all;
}

Parsed parse(std::span<const std::string> arguments) {
  if (arguments.empty()) return usage("no command; try: cordon run -- sh, or cordon --help");
  const std::string& first = arguments.front();
  if (first == "--help" || first == "-h" || first == "help") return ShowText{std::string{kHelp}};
  if (first == "--version" || first == "-V") return ShowText{"cordon " CORDON_VERSION "\n"};
  if (first == "run") return parse_run(Subject::kCommand, arguments.subspan(1));
  if (first == "attach") return parse_run(Subject::kNamespace, arguments.subspan(1));
  if (first == "vm") return parse_run(Subject::kMachine, arguments.subspan(1));
  if (first == "policy") return parse_policy(arguments.subspan(1));
  if (first == "ctl") return parse_ctl(arguments.subspan(1));
  const auto close = nearest(first, {"run", "attach", "vm", "policy", "ctl", "--help", "--version"});
  return usage("unknown command " + first +
               (close.empty() ? "; cordon --help lists them" : "; did you mean " + close + "?"));
}

}  // namespace cordon::app
