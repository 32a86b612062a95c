// Compiled policy: immutable values that decide() reads. One Ruleset per file, in the order of the command
// line; the first is the operator's. Only the compiler (policy/compile.h) and the built-ins make them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/time.h"
#include "core/flow/types.h"
#include "core/net/prefix.h"
#include "policy/document.h"
#include "policy/limits.h"

namespace cordon::policy {

using base::WallTime;

// Places that are computed live from HostFacts. Bits, so that a rule holds a set.
enum class Word : std::uint8_t {
  kInternet = 1U << 0U,
  kPrivate = 1U << 1U,
  kOnlink = 1U << 2U,
  kHost = 1U << 3U,
  kGuests = 1U << 4U,
  kMetadata = 1U << 5U,
  kDns = 1U << 6U,
};

class WordSet {
 public:
  constexpr WordSet() = default;
  constexpr void add(Word word) {
    bits_ = static_cast<std::uint8_t>(bits_ | static_cast<std::uint8_t>(word));
  }
  constexpr void add(WordSet other) { bits_ = static_cast<std::uint8_t>(bits_ | other.bits_); }
  [[nodiscard]] constexpr bool contains(Word word) const {
    return (bits_ & static_cast<std::uint8_t>(word)) != 0;
  }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  [[nodiscard]] constexpr bool contains(WordSet other) const { return (other.bits_ & ~bits_) == 0; }
  friend constexpr bool operator==(WordSet, WordSet) = default;

 private:
  std::uint8_t bits_ = 0;
};

struct Targets {
  WordSet words;  // `any` is expanded by the compiler
  std::vector<net::Prefix> prefixes;
  [[nodiscard]] bool empty() const { return words.empty() && prefixes.empty(); }
};

// Inclusive. For echo the range is 0..65535 and means nothing.
struct PortRange {
  flow::Protocol protocol = flow::Protocol::kTcp;
  std::uint16_t first = 0;
  std::uint16_t last = 65535;
  [[nodiscard]] constexpr bool contains(flow::Protocol p, net::Port port) const {
    return p == protocol &&
           (p == flow::Protocol::kIcmpEcho || (first <= port.number() && port.number() <= last));
  }
  friend constexpr bool operator==(const PortRange&, const PortRange&) = default;
};

enum class Action : std::uint8_t { kAllow, kDeny };
// Who starts the flow: the guest, or a peer outside by a published port.
enum class Direction : std::uint8_t { kEgress, kIngress };

// Which admitted flows are recorded (denials always are): none, their beginning, beginning and end.
enum class LogMode : std::uint8_t { kNone, kNew, kAll };

struct Rule {
  std::string name;
  Action action = Action::kDeny;
  Targets to;  // the remote end: destinations in egress, sources in ingress
  Targets except;
  std::vector<PortRange> ports;      // never empty: the compiler writes the default out
  Limits limits;                     // of the flows this rule admitted
  WallTime until = WallTime::max();  // from then on the rule matches nothing
  LogMode log = LogMode::kNone;      // of the flows this rule admitted
  Position at;                       // of the rule in its file
};

enum class Mode : std::uint8_t { kEnforce, kAudit };

// Among `uplinks`: all but loopback.
inline constexpr std::string_view kEveryInterface = "*";

// `host:` of the operator's file. Names, because interfaces come and go.
struct HostSettings {
  std::vector<std::string> uplinks;  // empty: the interfaces that carry a default route
  std::vector<net::Prefix> aliases;  // the host by another name: 1:1 NAT, load balancers
  [[nodiscard]] bool empty() const { return uplinks.empty() && aliases.empty(); }
};

// One entry of `tests:`. It is decided without a host: no address is local, every destination has a route
// through an uplink's gateway; `place` puts the far end somewhere else.
struct FileTest {
  Direction direction = Direction::kEgress;
  std::string remote_text;       // as written
  net::IpAddress remote;         // the far end; of a word an address that stands for it
  Word place = Word::kInternet;  // kInternet: the address alone decides
  PortRange port;                // one port, or echo
  bool expect_allow = false;
  std::string rule;    // "": whichever
  std::string reason;  // "": whichever
  Position at;
};

// What a reload does to flows that the new policy denies, and what becomes of the guest when it fails.
struct ReloadSettings {
  base::Duration drain{};      // 0: cut at once
  bool deny_on_error = false;  // else the policy before stays
};

struct Ruleset {
  std::string name;
  std::string path;  // as given; "built-in" for ours
  std::string description;
  Mode mode = Mode::kEnforce;
  bool drop = false;  // refuse: drop
  std::vector<Rule> egress;
  std::vector<Rule> ingress;
  Limits limits;                       // of all flows of the guest
  WallTime expires = WallTime::max();  // from then on the file denies everything
  std::vector<FileTest> tests;
  // Only in the operator's file:
  HostSettings host;
  std::string tenant;  // whose guest this is; "": not said
  ReloadSettings reload;
  bool require_tenant_policy = false;
  [[nodiscard]] const std::vector<Rule>& rules(Direction direction) const {
    return direction == Direction::kEgress ? egress : ingress;
  }
};

class RuleIndex;
// Which lists get an index: kWherePays all that are long; the others are for tests.
enum class Indexing : std::uint8_t { kNone, kWherePays, kAll };

// The files of one start, outermost first. Without any file everything is denied.
class PolicySet {
 public:
  static constexpr std::size_t kMaxFiles = 8;  // fixed so that a Decision needs no memory

  PolicySet() : PolicySet(std::vector<Ruleset>{}) {}
  // CHECKs files.size() <= kMaxFiles (the loader reports it as an error first). Generation 0 is never in
  // force: it has no hash.
  explicit PolicySet(std::vector<Ruleset> files, std::uint64_t generation = 1,
                     Indexing indexing = Indexing::kWherePays);

  [[nodiscard]] std::span<const Ruleset> files() const { return files_; }
  [[nodiscard]] bool drops() const { return drops_; }              // any file says `refuse: drop`
  [[nodiscard]] const std::string& hash() const { return hash_; }  // "sha256:..." over the canonical text
  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  // Null: the list is read rule by rule.
  [[nodiscard]] const RuleIndex* index(std::size_t file, Direction direction) const {
    return indexes_[2 * file + static_cast<std::size_t>(direction)].get();
  }

 private:
  std::vector<Ruleset> files_;
  std::array<std::shared_ptr<const RuleIndex>, 2 * kMaxFiles> indexes_;  // immutable, so copies share them
  bool drops_ = false;
  std::string hash_;
  std::uint64_t generation_ = 0;
};

}  // namespace cordon::policy
