// The command line, parsed once into a value that cannot be wrong.
//
// Every process of one start parses the same arguments again (`cordon --role=broker run ...`), so they agree
// about addresses, limits and features without sending them to each other; parse() is therefore a pure
// function of its arguments: no file, no environment, no clock. CLI11 lives in options*.cc only.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "app/address_map.h"
#include "app/options_audit.h"
#include "core/base/time.h"
#include "core/flow/types.h"
#include "core/lan/services.h"
#include "core/link/fault_link.h"
#include "core/net/ip_address.h"
#include "core/net/mac_address.h"
#include "core/vhost/features.h"
#include "policy/ruleset.h"
#include "sandbox/forward.h"

namespace cordon::app {

struct AddressAndLength {
  net::IpAddress address;
  unsigned length = 0;
};

// What the guest gets of one address family.
struct FamilyPlan {
  net::IpAddress address;
  unsigned prefix_length = 0;
  // Inside the prefix, or link-local (IPv6), or anywhere when the prefix is one address.
  net::IpAddress gateway;
  net::IpAddress dns;                  // the forwarder's address; inside the prefix or not
  bool forwards_dns = true;            // false: there is none, and `dns` is the gateway
  bool forwards_dns_over_tls = false;  // port 853 of that address as well
  std::vector<AddressAndLength> more;  // further addresses of the guest, at most lan::kMoreAddresses

  // Assigned by the plan (not: made by the guest itself).
  [[nodiscard]] bool is_guest(const net::IpAddress& candidate) const;
};

struct GuestPlan {
  std::optional<FamilyPlan> ipv4;
  std::optional<FamilyPlan> ipv6;
  net::MacAddress mac;
  bool learn_mac =
      false;  // its first frame tells the guest's MAC, for each connection anew; `mac` is not used
  net::MacAddress gateway_mac;
  std::uint16_t mtu = 0;  // 1280..65520
  std::string name;       // in audit records; [a-z0-9-]{1,63}
  std::string interface;  // the tap's name inside the guest
  lan::Services services;
  // The interface gets its addresses by netlink before the command starts. False: it is up and bare, and the
  // command (or its kernel) asks DHCP, DHCPv6 and router advertisements; only then SLAAC is offered.
  bool configure = true;
  bool search_none = false;  // the guest's resolv.conf has no search line
  // What the guest is told instead of each family's `dns`; empty: nothing.
  std::optional<std::vector<net::IpAddress>> name_servers;
  std::vector<net::IpAddress> resolvers;  // where the forwarder asks; empty: those of resolv.conf
  bool announce_mtu = true;
  AddressMap map;

  // IPv4 first.
  [[nodiscard]] std::vector<FamilyPlan> families() const;
};

// What binds the guest where no file does, and what binds it whatever files say.
struct PolicyChoice {
  enum class Base : std::uint8_t { kInternetOnly, kEverything };
  Base base = Base::kInternetOnly;
  bool no_host = false;
  bool tcp = true;
  bool udp = true;
  bool icmp = true;
  // A layer of its own below the files.
  [[nodiscard]] bool restricts() const { return no_host || !tcp || !udp || !icmp; }
};

// Kernel features that can be switched off to force each fallback in tests and diagnosis.
struct Features {
  bool tso = true;       // TCP super-frames on the tap
  bool uso = true;       // UDP super-frames on the tap
  bool udp_gso = true;   // UDP_SEGMENT on host sockets
  bool udp_gro = true;   // UDP_GRO on host sockets
  bool checksum = true;  // partial checksums on the tap (tso and uso need it)
};

enum class Isolation : std::uint8_t { kBest, kStrict };
enum class ControlSocket : std::uint8_t { kDefault, kNone, kPath };
enum class Verbosity : std::uint8_t { kQuiet, kNormal, kVerbose };

// The network namespace that `cordon attach` serves: of a process, or at a path.
struct AttachTarget {
  int pid = 0;         // 0: by path
  std::string netns;   // a path; empty: by process
  std::string userns;  // a path; empty: the user namespace that owns the network namespace
};

// Where the virtual machine of `cordon vm` comes from, and in which language its end of the link talks.
struct VmOptions {
  enum class Protocol : std::uint8_t {
    kStream,     // QEMU's: each frame behind its length (core/link/stream_link.h)
    kVhostUser,  // a front end hands over the guest's memory and queues (core/vhost/)
  };
  Protocol protocol = Protocol::kStream;
  std::string socket;     // a path where we listen; empty: `fd`
  std::optional<int> fd;  // the caller's connected socket; the launcher's business alone
  bool one_off = false;   // the first client's end is ours; always so with `fd`
  // Of vhost-user.
  vhost::FrontEnd front_end = vhost::FrontEnd::kQemu;
  std::uint32_t queues = 0;  // pairs, each with a thread; 0: as many as RunOptions::threads
};

// `cordon run`, `cordon attach` when `attach` has a value, `cordon vm` when `vm` has one.
struct RunOptions {
  ControlSocket control = ControlSocket::kDefault;
  std::string control_path;   // for kPath
  bool watch_policy = false;  // reload when a policy file changes
  std::optional<AttachTarget> attach;
  std::optional<VmOptions> vm;
  std::optional<int> ready_fd;            // told when traffic can flow; the launcher's business alone
  std::string pid_file;                   // "": none
  std::vector<std::string> policy_files;  // --policy, in order
  PolicyChoice policy;
  AuditChoice audit;  // --audit-log
  GuestPlan guest;
  std::vector<sandbox::ForwardRule> forwards;  // no two of them overlap
  // --host-addressing: `guest` is not final yet; the launcher replaces the option by what it found
  // (host_addressing.h), so no other role ever sees it.
  bool host_addressing = false;
  std::string pcap;                              // the guest's frames are written there; "": nowhere
  std::vector<net::IpAddress> outbound;          // the sockets' own address, one of a family at most
  std::vector<std::string> outbound_interfaces;  // nothing leaves by another one; empty: by any uplink
  std::uint32_t max_flows = 0;
  std::uint64_t socket_memory = 0;  // bytes; 0: by the machine
  std::uint32_t threads = 0;        // of the translator; 0: as many as there are processors, within limits
  Isolation isolation = Isolation::kBest;
  std::optional<link::Faults> link_faults;  // --link-faults: harm on purpose
  Features features;
  Verbosity verbosity = Verbosity::kNormal;
  std::vector<std::string> command;  // empty for attach and vm, else never
};

// The files that `cordon policy` looks at.
struct FileChoice {
  std::vector<std::string> files;
  bool exactly = false;  // these and no others; else as a start with --policy FILE... takes them
};
struct PolicyCheckOptions {
  FileChoice policy;
  bool strict = false;  // warnings fail, too
  bool json = false;
};
struct PolicyShowOptions {
  FileChoice policy;
  bool json = false;
};
struct PolicyExplainOptions {
  FileChoice policy;
  GuestPlan guest;
  flow::Tuple tuple;
  policy::Direction direction = policy::Direction::kEgress;
  std::optional<base::WallTime> at;  // none: now
  std::string snapshot;              // a file; empty: this host as it is
  bool json = false;
};
struct PolicySnapshotOptions {};
// `cordon ctl`: exactly what to ask of which instance (options_ctl.cc).
struct CtlOptions {
  enum class Action : std::uint8_t { kStatus, kFlows, kKill, kReload, kMetrics, kList };
  Action action = Action::kStatus;
  std::string socket;  // a path; "": by name
  std::string name;    // "": the only one that runs
  bool json = false;
  // Of kill, one way of the three: these flows, all of them, or those that match each filter that is set.
  std::vector<std::string> flow_ids;
  bool all = false;
  std::string remote, protocol, rule;
  std::uint16_t port = 0;
  [[nodiscard]] bool has_filter() const {
    return !remote.empty() || !protocol.empty() || !rule.empty() || port != 0;
  }
};
struct ShowText {  // --help, --version
  std::string text;
};
using Invocation = std::variant<RunOptions, PolicyCheckOptions, PolicyShowOptions, PolicyExplainOptions,
                                PolicySnapshotOptions, CtlOptions, ShowText>;

// One line for the user: what, where, what to do. The exit status is 2.
struct UsageError {
  std::string message;
};

// `arguments`: without the program's name and without --role.
[[nodiscard]] std::expected<Invocation, UsageError> parse(std::span<const std::string> arguments);

}  // namespace cordon::app
