// A broker with a fake judge on one side, a translator's end of the channel and a launcher's end of the
// control socket on the other; all in one thread, driven turn by turn inside the private world.
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/net/sockaddr.h"
#include "sandbox/broker.h"
#include "tests/support/world.h"

namespace cordon::sandbox::test {

using namespace std::chrono_literals;
using cordon::test::World;

inline net::IpAddress ip(std::string_view text) { return *net::parse_ip(text); }
inline net::Endpoint endpoint(std::string_view address, unsigned port) {
  return {ip(address), net::Port{static_cast<std::uint16_t>(port)}};
}
inline flow::Tuple tuple(flow::Protocol protocol, std::string_view remote, unsigned port,
                         unsigned guest_port = 40000) {
  const bool v6 = remote.find(':') != std::string_view::npos;
  return {protocol, endpoint(v6 ? "fd00:c0:2d::15" : "10.0.2.15", guest_port), endpoint(remote, port)};
}

// Knows what the test tells it: `host` is denied, the rest allowed and bound to `interface`.
class FakeJudge : public Judge {
 public:
  struct CutRecord {
    flow::Tuple tuple;
    Cut why;
    bool granted;
    bool exposed;
  };
  std::set<net::IpAddress> host;
  std::map<net::Endpoint, net::Endpoint> substitute;  // remote -> dial, as a local service
  std::uint32_t interface = 0;
  std::uint32_t now_epoch = 1;
  bool remote_route = true;
  bool stale = false;
  bool routeless = false;  // every destination is denied for want of a route
  Path way = Path::kGood;
  Path elsewhere = Path::kGood;  // bound to another interface than the verdict names
  int drains = 0;
  std::vector<flow::Tuple> denied;
  std::vector<Limit> limits;
  std::vector<int> unreachable;
  std::vector<flow::Tuple> aborted;
  std::vector<CutRecord> cuts;
  std::vector<flow::EndReason> ended;
  std::vector<flow::Volumes> volumes;
  CounterValues counters{};
  int allowed = 0;
  int spoofs = 0;
  // Limits: live accounts with their volume.
  std::map<std::uint32_t, std::uint64_t> accounts;
  std::size_t most_accounts = SIZE_MAX;
  std::uint64_t budget = UINT64_MAX;
  std::uint64_t most_volume = 0;
  flow::Shaping shaping;
  bool metered = false;
  int admissions = 0;
  int wrong_releases = 0;
  std::uint32_t last_account = 0;

  // Reloads.
  std::set<net::IpAddress> draining;  // of `host`: live flows to it go on
  bool relimit = false;               // readmit() gives the limits of now
  bool ready = true;
  PolicyLoad load_outcome = PolicyLoad::kInForce;
  int loads = 0;
  int readmissions = 0;
  std::vector<std::uint32_t> reviewed;

  Verdict judge_again(const FlowView& flow, bool inbound, base::Instant now) override {
    Verdict verdict = Judge::judge_again(flow, inbound, now);
    if (!stale && draining.contains(flow.tuple.remote.address)) verdict.allow = true;
    return verdict;
  }
  void readmit(const FlowView&, std::uint32_t account, Verdict& verdict) override {
    ++readmissions;
    if (!relimit) return;
    if (account == 0) accounts[verdict.account = ++last_account] = 0;
    verdict.metered = metered;
    verdict.shaping = shaping;
  }
  PolicyLoad load_policy(base::Fd, control::LoadCause, base::Instant) override {
    ++loads;
    if (load_outcome == PolicyLoad::kInForce) {
      ++now_epoch;
      ready = true;
    }
    return load_outcome;
  }
  [[nodiscard]] bool has_policy() const override { return ready; }
  void on_reviewed(std::uint32_t epoch) override { reviewed.push_back(epoch); }

  void becomes_host(const net::IpAddress& address) {
    host.insert(address);
    ++now_epoch;
  }

  [[nodiscard]] int poll_fd() const override { return -1; }
  HostChange drain(base::Instant) override {
    ++drains;
    return stale ? HostChange::kStale : HostChange::kUnchanged;
  }
  [[nodiscard]] std::uint32_t epoch() const override { return now_epoch; }
  Verdict judge(const flow::Tuple& t, base::Instant) override {
    Verdict verdict;
    verdict.dial = t.remote;
    verdict.allow = !host.contains(t.remote.address) && !stale;
    verdict.bind_interface = interface;
    if (verdict.allow && routeless) {
      verdict.allow = false;
      verdict.no_route = true;
      verdict.how = flow::RefuseHow::kNetworkUnreachable;
    }
    if (const auto found = substitute.find(t.remote); found != substitute.end()) {
      verdict.dial = found->second;
      verdict.local_service = true;
    }
    return verdict;
  }
  // From outside: everybody but `host`; our own addresses and `local` are this host's.
  Verdict judge_inbound(const flow::Tuple& seen, base::Instant) override {
    judged_inbound.push_back(seen);
    const net::IpAddress& peer = seen.remote.address;
    Verdict verdict;
    verdict.dial = seen.remote;
    verdict.allow = !host.contains(peer) && !stale;
    verdict.local_service = net::is_loopback(peer) || peer == ip("192.0.2.1") || peer == ip("2001:db8::1") ||
                            local.contains(peer);
    verdict.bind_interface = verdict.local_service ? 0 : interface;
    return verdict;
  }
  void on_inbound_limit(const flow::Tuple&, Limit limit, base::Instant) override { limits.push_back(limit); }
  std::set<net::IpAddress> local;
  std::vector<flow::Tuple> judged_inbound;

  void admit(const flow::Tuple&, Verdict& verdict, base::Instant) override {
    ++admissions;
    if (accounts.size() >= most_accounts) {
      verdict = {};
      return;
    }
    verdict.account = ++last_account;
    verdict.metered = metered;
    verdict.shaping = shaping;
    accounts[verdict.account] = 0;
  }
  void release(std::uint32_t account) override {
    if (account != 0 && accounts.erase(account) != 1) ++wrong_releases;
  }
  void on_volume(std::uint32_t account, std::uint64_t total) override {
    if (const auto found = accounts.find(account); found != accounts.end()) found->second = total;
    most_volume = std::max(most_volume, total);
  }
  [[nodiscard]] std::optional<Verdict> over_budget(const FlowView&, std::uint32_t account) const override {
    const auto found = accounts.find(account);
    if (found == accounts.end() || found->second < budget) return std::nullopt;
    return Verdict{};
  }
  bool route_is_remote(const flow::Tuple&, const Verdict&) override { return remote_route; }
  Path path(const PathQuery& query, const Verdict& judged) override {
    if (query.interface != 0 && query.interface != judged.bind_interface) return elsewhere;
    return way;
  }
  void set_resolvers(std::span<const control::Resolver> resolvers) override {
    resolver_count = resolvers.size();
  }
  void on_denied(const flow::Tuple& t, const Verdict&, base::Instant) override { denied.push_back(t); }
  void on_limit(const flow::Tuple&, Limit limit, base::Instant) override { limits.push_back(limit); }
  void on_allowed(const FlowView&, base::Instant) override { ++allowed; }
  void on_unreachable(const FlowView&, int error, base::Instant) override { unreachable.push_back(error); }
  void on_aborted(const FlowView& f, base::Instant) override { aborted.push_back(f.tuple); }
  void on_cut(const FlowView& f, const Verdict&, Cut why, bool granted, bool exposed,
              base::Instant) override {
    cuts.push_back({f.tuple, why, granted, exposed});
  }
  void on_ended(const FlowView&, flow::EndReason reason, const flow::Volumes& v, base::Instant) override {
    ended.push_back(reason);
    volumes.push_back(v);
  }
  void on_packet(const flow::PacketReport&, base::Instant) override { ++spoofs; }
  void on_counters(const CounterValues& values, base::Instant) override { counters = values; }
  void on_tick(base::Instant) override {}
  [[nodiscard]] base::Instant tick_due() const override { return base::Instant::never(); }

  std::size_t resolver_count = 0;
};

// What came over the channel.
class Inbox : public flow::GateEvents {
 public:
  std::map<flow::Id, flow::Grant> grants;
  std::map<flow::Id, flow::RefuseHow> refusals;
  std::map<flow::Id, flow::RefuseHow> revocations;
  void on_grant(flow::Grant grant) override { grants.emplace(grant.id, std::move(grant)); }
  void on_refuse(flow::Id id, flow::RefuseHow how) override { refusals[id] = how; }
  void on_revoke(flow::Id id, flow::RefuseHow how) override { revocations[id] = how; }
  void on_reshape(flow::Id id, const flow::Shaping& shaping) override { reshaped[id].push_back(shaping); }
  std::map<flow::Id, std::vector<flow::Shaping>> reshaped;
  void on_inbound(flow::Inbound inbound) override {
    firsts.emplace_back(reinterpret_cast<const char*>(inbound.first.data()), inbound.first.size());
    offered.push_back(std::move(inbound));
  }
  void on_late_datagram(const flow::LateDatagram& late) override {
    lates.emplace_back(late.id,
                       std::string{reinterpret_cast<const char*>(late.payload.data()), late.payload.size()});
  }
  std::vector<flow::Inbound> offered;
  std::vector<std::string> firsts;
  std::vector<std::pair<flow::Id, std::string>> lates;
  void on_gate_writable() override {}
  [[nodiscard]] std::size_t answers() const { return grants.size() + refusals.size(); }
};

struct Rig {
  explicit Rig(BrokerOptions options = {}, InboundOptions inbound = {}) {
    World::get();
    judge.interface = ::if_nametoindex("up0");
    auto pair = make_packet_pair();
    REQUIRE(pair);
    launcher.emplace(std::move(pair->first));
    broker.emplace(std::move(options), judge, std::move(pair->second));
    if (!inbound.rules.empty()) {
      auto listeners = open_listeners(inbound.rules, {});
      if (!listeners) FAIL(base::describe(listeners.error()));
      broker->publish(std::move(inbound), std::move(*listeners));
    }
    REQUIRE(broker->start());
    new_translator();
  }

  void new_translator() {
    auto channel = make_channel_pair();
    REQUIRE(channel);
    translator_fd = channel->translator.get();
    gate.emplace(std::move(channel->translator));
    REQUIRE(launcher->send_new_translator(channel->broker.get()) == SendStatus::kSent);
    channel->broker.reset();
    turn();
  }

  void turn(int wait_ms = 0) {
    const auto more = broker->turn(wait_ms);
    REQUIRE(more);
    running = *more;
    gate_open = gate->dispatch(inbox, true) == ChannelGate::Status::kOpen;
  }
  // Turns until `done` holds; false after a generous time-out.
  template <class Done>
  bool until(Done done) {
    const auto end = base::monotonic_now() + 8s;
    while (!done()) {
      if (base::monotonic_now() > end) return false;
      turn(5);
    }
    return true;
  }

  flow::Id request(const flow::Tuple& t) {
    const flow::Id id{next_slot++, 1};
    REQUIRE(gate->request(id, t));
    return id;
  }
  // Asks and waits for the answer.
  flow::Id ask(const flow::Tuple& t) {
    const flow::Id id = request(t);
    REQUIRE(until([&] { return inbox.grants.contains(id) || inbox.refusals.contains(id); }));
    return id;
  }
  // The granted socket, now owned by the test.
  base::Fd grant(const flow::Tuple& t, flow::Id* id_out = nullptr) {
    const flow::Id id = ask(t);
    if (id_out != nullptr) *id_out = id;
    REQUIRE(inbox.grants.contains(id));
    return std::move(inbox.grants.at(id).socket);
  }
  std::optional<flow::RefuseHow> refusal(const flow::Tuple& t) {
    const auto found = inbox.refusals.find(ask(t));
    if (found == inbox.refusals.end()) return std::nullopt;
    return found->second;
  }
  void close(flow::Id id, flow::CloseHow how = flow::CloseHow::kGraceful) {
    REQUIRE(gate->close(id, how, flow::EndReason::kFin, {1, 2}));
    turn();
  }
  // Everything the launcher was told, as letters: R ready, b begin, e end, k kill.
  std::string told() {
    std::string out;
    while (auto message = launcher->receive()) {
      if (std::holds_alternative<control::Ready>(*message)) out += 'R';
      if (std::holds_alternative<control::RevokeBegin>(*message)) out += 'b';
      if (std::holds_alternative<control::RevokeEnd>(*message)) out += 'e';
      if (std::holds_alternative<control::KillTranslator>(*message)) out += 'k';
    }
    return out;
  }

  FakeJudge judge;
  Inbox inbox;
  std::optional<control::LauncherControl> launcher;
  std::optional<Broker> broker;
  std::optional<ChannelGate> gate;
  int translator_fd = -1;
  std::uint32_t next_slot = 0;
  bool running = true;
  bool gate_open = true;
};

// --- peers ---

// A bound socket (TCP: listening), in whatever namespace the caller is. Port 0: any.
inline base::Fd serve(int type, std::string_view address, unsigned port, int backlog = 128) {
  const net::SockAddr at = net::to_sockaddr(endpoint(address, port));
  base::Fd fd{::socket(at.generic.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  cordon::test::require(::bind(fd.get(), &at.generic, at.length) == 0, "bind");
  if (type == SOCK_STREAM) cordon::test::require(::listen(fd.get(), backlog) == 0, "listen");
  return fd;
}
inline base::Fd serve_far(int type, std::string_view address, unsigned port, int backlog = 128) {
  return World::get().far([&] { return serve(type, address, port, backlog); });
}
inline unsigned port_of(int fd) {
  net::SockAddr name;
  name.length = sizeof name.storage;
  ::getsockname(fd, &name.generic, &name.length);
  return net::from_sockaddr(name)->port.number();
}
inline bool readable(int fd, int wait_ms) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, wait_ms) == 1;
}
inline base::Fd accept_one(int listener, int wait_ms = 2000) {
  if (!readable(listener, wait_ms)) return base::Fd{};
  return base::Fd{::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
}
// One read: the text, "<eof>", or "<errno name>".
inline std::string read_some(int fd, int wait_ms = 2000) {
  if (!readable(fd, wait_ms)) return "<nothing>";
  char buffer[2048];
  const ssize_t got = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (got < 0) return std::string{"<"} + ::strerrorname_np(errno) + ">";
  if (got == 0) return "<eof>";
  return std::string(buffer, static_cast<std::size_t>(got));
}
inline std::string write_some(int fd, std::string_view text) {
  const ssize_t sent = ::send(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? std::string{"<"} + ::strerrorname_np(errno) + ">" : "sent";
}
inline bool send_to(int fd, const net::Endpoint& to, std::string_view text) {
  const net::SockAddr address = net::to_sockaddr(to);
  return ::sendto(fd, text.data(), text.size(), 0, &address.generic, address.length) ==
         static_cast<ssize_t>(text.size());
}

}  // namespace cordon::sandbox::test
