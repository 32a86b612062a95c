// Launcher <-> broker: few, small, fixed messages over a SEQPACKET pair (the broker's fd 3).
//
// launcher -> broker: NewTranslator with the broker's end of a fresh channel, one for each worker and in
// order (at start, and after each restart of the translator: the old channels are dead then); Resolvers, at
// start before NewTranslator and whenever resolv.conf changes; NewPolicy with the parsed files (a memfd that
// the policy-reader processes filled) at start and for each reload, or NothingToLoad; NewClient with a
// connection of the control socket, whose peer the launcher has looked at; NewAuditSink when the log was
// rotated; RoleIsolation when the launcher or a translator was locked; Stop. broker
// -> launcher: Ready once a policy is in force and the host state is loaded; ReloadPolicy and ReopenAudit
// when a control client asked for it or the sink is lost; RevokeBegin/RevokeEnd around every operation on a
// socket that is shared with the translator and could block (the launcher kills the translator when the End
// does not follow within 100 ms, which is what unblocks the broker); KillTranslator on a protocol violation.
// The broker sends blocking (the launcher never blocks on the broker), the launcher never waits.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <variant>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/time.h"
#include "core/net/ip_address.h"
#include "sandbox/channel.h"
#include "sandbox/packet_socket.h"

namespace cordon::sandbox::control {

inline constexpr int kControlFd = 3;  // in broker: control; in translator: channel
inline constexpr int kSecondFd = 4;   // in broker: audit sink; in translator: tap
inline constexpr std::uint32_t kMaxWorkers = 16;
inline constexpr base::Duration kRevokeLimit = std::chrono::milliseconds{100};

struct Resolver {
  net::IpAddress address;
  std::uint32_t scope_id = 0;  // interface index of a link-local IPv6 server, else 0
  friend bool operator==(const Resolver&, const Resolver&) = default;
};
inline constexpr std::size_t kMaxResolvers = 8;

// launcher -> broker
struct NewTranslator {
  base::Fd channel;
  std::uint32_t worker = 0;
};
struct Resolvers {
  std::vector<Resolver> servers;  // at most kMaxResolvers; empty: the host has none
};
enum class LoadCause : std::uint8_t { kStart, kSignal, kWatch, kControl };
struct NewPolicy {
  base::Fd bundle;  // policy/parsed_source.h; sealed or not, the broker reads it once
  LoadCause cause = LoadCause::kStart;
};
// In answer to ReloadPolicy: there is no policy file (any more), so no NewPolicy follows.
struct NothingToLoad {};
struct NewClient {
  base::Fd socket;  // stream, non-blocking
};
struct NewAuditSink {
  base::Fd fd;
};
// What confines the launcher or the translator now, for `cordon ctl status`.
struct RoleIsolation {
  bool of_launcher = false;  // else of the translator
  bool full = false;
  std::string summary;  // IsolationReport::summary(), cut at kMaxSummary
};
inline constexpr std::size_t kMaxSummary = 1008;
struct Stop {};
using FromLauncher = std::variant<NewTranslator, Resolvers, NewPolicy, NothingToLoad, NewClient, NewAuditSink,
                                  RoleIsolation, Stop>;

// broker -> launcher
struct Ready {
  std::uint32_t missing = 0;  // layers that the broker has to do without (kOptionalLayers)
};
struct RevokeBegin {
  std::uint32_t serial = 0;
};
struct RevokeEnd {
  std::uint32_t serial = 0;
};
struct KillTranslator {
  Violation reason = Violation::kLength;
};
struct ReloadPolicy {};
struct ReopenAudit {};
using FromBroker = std::variant<Ready, RevokeBegin, RevokeEnd, KillTranslator, ReloadPolicy, ReopenAudit>;

// A Begin without its End is ended by the broker's own exit. At most one is open at a time.
class BrokerControl {
 public:
  explicit BrokerControl(base::Fd fd) : fd_(std::move(fd)) {}
  [[nodiscard]] std::expected<FromLauncher, ReceiveStop> receive();
  // kClosed: the launcher is gone, exit.
  [[nodiscard]] SendStatus send(const FromBroker& message);
  [[nodiscard]] int poll_fd() const { return fd_.get(); }

 private:
  base::Fd fd_;
};

class LauncherControl {
 public:
  explicit LauncherControl(base::Fd fd) : fd_(std::move(fd)) {}
  [[nodiscard]] std::expected<FromBroker, ReceiveStop> receive();
  [[nodiscard]] SendStatus send_new_translator(int channel, std::uint32_t worker = 0);
  [[nodiscard]] SendStatus send_resolvers(const Resolvers& resolvers);
  [[nodiscard]] SendStatus send_new_policy(int bundle, LoadCause cause);
  [[nodiscard]] SendStatus send_nothing_to_load();
  [[nodiscard]] SendStatus send_new_client(int socket);
  [[nodiscard]] SendStatus send_new_audit_sink(int fd);
  [[nodiscard]] SendStatus send_isolation(const RoleIsolation& isolation);
  [[nodiscard]] SendStatus send_stop();
  [[nodiscard]] int poll_fd() const { return fd_.get(); }

 private:
  base::Fd fd_;
};

}  // namespace cordon::sandbox::control
