// `cordon policy explain` and `cordon policy snapshot`: the broker's decision about one flow, without the
// flow.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>

#include "app/guest_sources.h"
#include "app/host_snapshot.h"
#include "app/policy_tools.h"
#include "policy/destination.h"
#include "policy/times.h"
#include "sandbox/resolver_watch.h"

namespace cordon::app {
namespace {

constexpr const char* kResolvConf = "/etc/resolv.conf";

std::string_view name_of(policy::FibType type) {
  switch (type) {
    case policy::FibType::kNone: return "no route";
    case policy::FibType::kUnicast: return "unicast";
    case policy::FibType::kLocal: return "local";
    case policy::FibType::kBroadcast: return "broadcast";
    case policy::FibType::kAnycast: return "anycast";
    case policy::FibType::kMulticast: return "multicast";
    case policy::FibType::kUnreachable: return "unreachable";
    case policy::FibType::kProhibit: return "prohibit";
    case policy::FibType::kBlackhole: return "blackhole";
    case policy::FibType::kOther: return "other";
  }
  return "other";
}

std::string interface_name(const HostSource& host, std::uint32_t index) {
  if (index == 0) return {};
  const netlink::Link* link = host.state().link(index);
  return link != nullptr ? link->name : "#" + std::to_string(index);
}

KernelAnswer ask_kernel(HostSource& host, const net::IpAddress& address, const policy::AddressFacts& facts,
                        bool embedded) {
  KernelAnswer out{.address = address, .embedded = embedded, .facts = facts, .route = {}, .interface = {}};
  if (const auto route = host.route(address)) out.route = *route;
  out.interface = interface_name(host, out.route.interface);
  return out;
}

// The rest of the broker's decision about the guest's name server: a resolver to dial.
void add_resolver(policy::Explanation& walk) {
  const auto resolvers = sandbox::ResolverWatch{kResolvConf}.read();
  policy::ExplainStep step{.stage = "resolver", .subject = {}, .at = kResolvConf, .text = {}};
  if (resolvers.servers.empty()) {
    step.outcome = policy::ExplainStep::Outcome::kDenies;
    step.text = "it names no resolver to ask";
    walk.decision.allow = false;
    walk.decision.reason = policy::Reason::kNoResolver;
    walk.decision.how = flow::RefuseHow::kNetworkUnreachable;
    walk.decided_by = kResolvConf;
  } else {
    step.text = "queries go to " + net::to_string(resolvers.servers.front().address);
  }
  walk.steps.push_back(std::move(step));
}

Json to_json(const KernelAnswer& answer) {
  Json out;
  out.add("address", net::to_string(answer.address));
  out.add("embedded", answer.embedded);
  out.add("is_host", answer.facts.is_host);
  out.add("fib", name_of(answer.facts.fib));
  out.add("interface", answer.interface.empty() ? Json{} : Json{answer.interface});
  out.add("gateway", answer.route.gateway ? Json{net::to_string(*answer.route.gateway)} : Json{});
  out.add("is_uplink", answer.facts.oif_is_uplink);
  return out;
}

std::string text_of(const KernelAnswer& answer) {
  std::string out = net::to_string(answer.address) + ": ";
  out += name_of(answer.facts.fib);
  if (answer.route.gateway) out += " via " + net::to_string(*answer.route.gateway);
  if (!answer.interface.empty()) out += " dev " + answer.interface;
  if (answer.facts.fib == policy::FibType::kUnicast) {
    if (!answer.route.gateway) out += ", on its link";
    out += answer.facts.oif_is_uplink ? ", an uplink" : ", which is no uplink";
  }
  out += answer.facts.is_host ? "; an address of this host" : "; not an address of this host";
  return out + (answer.embedded ? " (inside of the destination)" : "");
}

std::string protocol_of(const flow::Tuple& tuple) {
  switch (tuple.protocol) {
    case flow::Protocol::kTcp: return "tcp";
    case flow::Protocol::kUdp: return "udp";
    case flow::Protocol::kIcmpEcho: return "icmp/echo";
  }
  return {};
}

std::string flow_line(const PolicyExplainOptions& options) {
  const flow::Tuple& tuple = options.tuple;
  const auto end = [&](const net::Endpoint& e, bool with_port) {
    return with_port && tuple.protocol != flow::Protocol::kIcmpEcho ? net::to_string(e)
                                                                    : net::to_string(e.address);
  };
  if (options.direction == policy::Direction::kIngress)
    return protocol_of(tuple) + " " + end(tuple.remote, false) + " -> " + end(tuple.guest, true) +
           ", to a published port";
  return protocol_of(tuple) + " " + end(tuple.guest, false) + " -> " + end(tuple.remote, true);
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : " ") + name;
  return out.empty() ? "none" : out;
}

// Where the facts come from; owns whichever it is.
struct Facts {
  std::optional<netlink::Monitor> monitor;
  std::unique_ptr<HostSource> host;
  std::string origin;                   // for people
  std::optional<base::WallTime> taken;  // of a snapshot
};

std::expected<std::string, std::string> read_bounded(const std::string& path) {
  const auto failed = [&](int error) {
    return std::unexpected(path + ": " + std::system_category().message(error));
  };
  const base::Fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY)};
  if (!file) return failed(errno);
  std::string text;
  std::array<char, 65536> chunk{};
  while (text.size() <= kMaxSnapshotBytes) {
    const auto got = ::read(file.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno);
    if (got == 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return text;
}

std::expected<Facts, std::string> facts_of_snapshot(const std::string& path) {
  const std::string text = CORDON_TRY(read_bounded(path));
  const auto snapshot = read_snapshot(text);
  if (!snapshot) {
    // Joined by a colon like every place in a file.
    const bool placed = snapshot.error().front() >= '0' && snapshot.error().front() <= '9';
    return std::unexpected(path + (placed ? ":" : ": ") + snapshot.error());
  }
  if (snapshot->network.more_rules_ipv4 + snapshot->network.more_rules_ipv6 != 0)
    std::fprintf(stderr,
                 "cordon: %s: that host has policy routing rules of its own, which a snapshot does not "
                 "follow; only its main table is looked up\n",
                 path.c_str());
  Facts facts;
  facts.host = std::make_unique<SnapshotHost>(snapshot->network);
  facts.taken = snapshot->taken;
  facts.origin = "as in " + path + ", taken " + policy::to_string(snapshot->taken);
  return facts;
}

std::expected<Facts, std::string> facts_of_kernel() {
  auto monitor = netlink::Monitor::open(base::monotonic_now());
  if (!monitor) return std::unexpected(base::describe(monitor.error()));
  Facts facts;
  facts.monitor.emplace(std::move(*monitor));
  facts.origin = "this one, now";
  return facts;
}

}  // namespace

Explained explain_on(const policy::PolicySet& policy, const PolicyExplainOptions& options, HostSource& host,
                     base::WallTime now) {
  HostView view{host, options.guest.families(), options.guest.map};
  if (!policy.files().empty()) view.set_settings(policy.files().front().host);
  view.refresh();

  const bool ingress = options.direction == policy::Direction::kIngress;
  policy::HostFacts facts = ingress ? view.facts_of_peer(options.tuple) : view.facts_of(options.tuple);
  facts.now = now;
  if (!ingress)
    facts.source_assigned =
        GuestSources{options.guest}.admit(options.tuple.guest.address, base::Instant::from_nanos(0));

  // As the broker does.
  const flow::Tuple meant = ingress ? options.tuple : view.meant(options.tuple);
  Explained out{.tuple = options.tuple,
                .dialed = {},
                .walk = policy::explain(policy, meant, facts, options.direction),
                .kernel = {},
                .uplinks = {}};
  for (const std::uint32_t index : view.uplinks()) out.uplinks.push_back(interface_name(host, index));
  if (facts.dns_forwarder) return out;
  if (facts.mapped) out.dialed = meant.remote.address;
  const auto remote = policy::normalise(meant.remote.address);
  out.kernel.push_back(ask_kernel(host, remote.dial, facts.dial, false));
  if (remote.embedded) out.kernel.push_back(ask_kernel(host, *remote.embedded, facts.embedded, true));
  return out;
}

namespace {

Json report(const Explained& explained, const PolicyExplainOptions& options, const policy::PolicySet& policy,
            const Facts& facts) {
  // The engine's own words first.
  auto out = Json::parse(policy::to_json(explained.walk), 8).value_or(Json{});
  const bool ingress = options.direction == policy::Direction::kIngress;
  const net::Port port = ingress ? explained.tuple.guest.port : explained.tuple.remote.port;
  Json flow;
  flow.add("direction", ingress ? "ingress" : "egress");
  flow.add("protocol", protocol_of(explained.tuple));
  flow.add("guest", net::to_string(explained.tuple.guest.address));
  flow.add("remote", net::to_string(explained.tuple.remote.address));
  flow.add("dialed", explained.dialed ? Json{net::to_string(*explained.dialed)} : Json{});
  flow.add("port", explained.tuple.protocol == flow::Protocol::kIcmpEcho ? Json{} : Json{port.number()});
  out.add("flow", std::move(flow));
  Json host;
  host.add("snapshot", facts.taken ? Json{options.snapshot} : Json{});
  host.add("taken", facts.taken ? Json{policy::to_string(*facts.taken)} : Json{});
  Json::Array uplinks;
  for (const auto& name : explained.uplinks) uplinks.emplace_back(name);
  host.add("uplinks", std::move(uplinks));
  Json::Array kernel;
  for (const auto& answer : explained.kernel) kernel.push_back(to_json(answer));
  host.add("kernel", std::move(kernel));
  out.add("host", std::move(host));
  Json::Array files;
  for (const auto& file : policy.files()) files.emplace_back(file.path);
  out.add("files", std::move(files));
  out.add("policy_hash", policy.hash());
  return out;
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

}  // namespace

int explain_flow(const PolicyExplainOptions& options) {
  const auto files = load_for_tools(options.policy, options.direction == policy::Direction::kIngress);
  if (!files.loaded.policy && options.json) {
    print(check_report(files).dump() + "\n");
    return finish_output(kToolFailed);
  }
  if (!files.loaded.policy) {
    std::fputs(policy::render(files.loaded.diagnostics).c_str(), stderr);
    return kToolFailed;
  }
  auto facts = options.snapshot.empty() ? facts_of_kernel() : facts_of_snapshot(options.snapshot);
  if (!facts) return fail_tool(facts.error());
  if (facts->monitor) facts->host = std::make_unique<LiveHost>(*facts->monitor);

  const base::WallTime now = options.at.value_or(base::wall_now());
  Explained explained = explain_on(*files.loaded.policy, options, *facts->host, now);
  const bool is_dns = explained.walk.decision.dst_class == policy::DstClass::kDns;
  if (is_dns && explained.walk.decision.allow && !facts->taken) add_resolver(explained.walk);

  if (options.json) {
    print(report(explained, options, *files.loaded.policy, *facts).dump() + "\n");
  } else {
    print("flow       " + flow_line(options) + "\n");
    if (explained.dialed)
      print("mapped     " + net::to_string(options.tuple.remote.address) + " leads to " +
            net::to_string(*explained.dialed) + ", which is decided about (--map)\n");
    print("host       " + facts->origin + "; uplinks: " + joined(explained.uplinks) + "\n");
    for (const auto& answer : explained.kernel) print("kernel     " + text_of(answer) + "\n");
    print(policy::render(explained.walk));
  }
  return finish_output(explained.walk.decision.allow ? kToolFine : kToolNo);
}

int print_snapshot() {
  auto network = netlink::read_network();
  if (!network) return fail_tool(base::describe(network.error()));
  const std::string text = write_snapshot(
      {.taken = std::chrono::floor<std::chrono::seconds>(base::wall_now()), .network = std::move(*network)});
  std::fwrite(text.data(), 1, text.size(), stdout);
  return finish_output(kToolFine);
}

}  // namespace cordon::app
