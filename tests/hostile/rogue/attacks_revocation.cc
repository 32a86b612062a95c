// Keeping what was granted: after the operator, the policy or the host took it away, and after giving it
// back.
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <thread>

#include "tests/hostile/rogue/attack.h"
#include "tests/hostile/rogue/far_ends.h"

namespace cordon::rogue {
namespace {

constexpr auto kSoon = milliseconds{3000};

std::string kill_all(Scene& scene) {
  int status = -1;
  const std::string said = scene.ctl("kill --all", &status);
  return status == 0 ? "" : "ctl kill: " + said;
}

// The agent's writes, as many as it can, at once.
Command write_without_end(Remote& agent, int fd, std::uint64_t milliseconds) {
  constexpr std::size_t kBlock = 65'536;
  std::vector<iovec> parts(1024);
  const std::uint64_t block = agent.room(kBlock);
  for (iovec& part : parts) part = {reinterpret_cast<void*>(block), kBlock};
  const std::uint64_t vector = agent.put(std::as_bytes(std::span{parts}));
  return {.order = Order::kRepeat,
          .call = {SYS_writev, {static_cast<std::uint64_t>(fd), vector, parts.size()}},
          .milliseconds = milliseconds};
}

// Cut while the agent keeps the socket's lock as busy as it can. `drained`: the far end reads.
template <bool kDrained>
std::string cut_under_writes(Scene& scene) {
  const StreamFlow flow = open_stream(scene);
  Arrived arrived;
  std::jthread reader;
  if (kDrained) reader = std::jthread{[&] { arrived = receive_all(flow.far.get(), milliseconds{10'000}); }};
  scene.agent().begin(write_without_end(scene.agent(), flow.fd, 1500));
  constexpr timespec kPause{0, 300'000'000};
  ::nanosleep(&kPause, nullptr);
  const auto begin = Clock::now();
  if (const auto wrong = kill_all(scene); !wrong.empty()) return wrong;
  if (Clock::now() - begin > std::chrono::seconds{5}) return "the cut took long";
  const Tally tally = scene.agent().tally();
  if (kDrained)
    reader.join();
  else
    arrived = receive_all(flow.far.get(), kSoon);
  if (arrived.end != "reset") return "the far end saw " + arrived.end;
  // ECONNRESET once, then EPIPE.
  if (tally.last_error != EPIPE && tally.last_error != ECONNRESET)
    return "the last write said " + name_of_errno(tally.last_error);
  return "cut";
}

bool hears_nothing(Scene& scene, int fd, std::string_view forbidden) {
  for (int i = 0; i < 32; ++i) {
    const std::string got = read_text(scene, fd);
    if (got == forbidden) return false;
    if (got == "end" || got[0] == 'E') return true;
  }
  return false;
}

void clear_far(const DatagramFlow& flow) {
  std::array<char, 64> buffer{};
  while (::recv(flow.far, buffer.data(), buffer.size(), MSG_DONTWAIT) >= 0) {
  }
}

// Datagrams from after a flow's end, by its peer and by a stranger.
std::string silent_afterwards(Scene& scene, const DatagramFlow& flow) {
  clear_far(flow);
  const base::Fd stranger = scene.witness().stranger(flow.peer.ss_family == AF_INET6);
  DatagramFlow other = flow;
  other.far = stranger.get();
  for (int i = 0; i < 8; ++i) {
    flow.say("after");
    other.say("after");
  }
  constexpr timespec kPause{0, 50'000'000};
  ::nanosleep(&kPause, nullptr);
  if (!hears_nothing(scene, flow.fd, "after")) return "read on";
  for (int i = 0; i < 4; ++i)
    if (const auto got = write_text(scene, flow.fd, "late"); got == "ok") return "wrote on";
  pollfd ready{flow.far, POLLIN, 0};
  return ::poll(&ready, 1, 100) == 0 ? "nothing" : "its datagrams arrive";
}

template <bool kV6>
std::string read_after_cut(Scene& scene) {
  const DatagramFlow flow = open_datagrams(scene, kV6);
  for (int i = 0; i < 8; ++i) flow.say("before");
  if (const auto wrong = kill_all(scene); !wrong.empty()) return wrong;
  return silent_afterwards(scene, flow);
}

// Told to be closed, and kept.
template <bool kV6>
std::string kept_datagrams(Scene& scene) {
  const DatagramFlow flow = open_datagrams(scene, kV6);
  scene.agent().close_flow(flow.id);
  if (!within(kSoon, [&] { return write_text(scene, flow.fd) != "ok"; })) return "wrote on";
  return silent_afterwards(scene, flow);
}

template <flow::CloseHow kHow>
std::string kept_stream(Scene& scene) {
  const StreamFlow flow = open_stream(scene);
  scene.agent().close_flow(flow.id, kHow);
  const Arrived arrived = receive_all(flow.far.get(), kSoon);
  const bool reset = kHow == flow::CloseHow::kReset;
  if (arrived.end != (reset ? "reset" : "end")) return "the far end saw " + arrived.end;
  if (!reset) ::send(flow.far.get(), "after", 5, MSG_NOSIGNAL);
  constexpr timespec kPause{0, 20'000'000};
  ::nanosleep(&kPause, nullptr);
  if (read_text(scene, flow.fd) == "after") return "read on";
  return write_text(scene, flow.fd) == "ok" ? "wrote on" : "nothing";
}

// Its answers stay unread, so the broker cannot tell it of the cuts.
std::string deaf_to_revocations(Scene& scene) {
  std::vector<DatagramFlow> flows;
  for (int i = 0; i < 100; ++i) flows.push_back(open_datagrams(scene));
  if (const auto wrong = kill_all(scene); !wrong.empty()) return wrong;
  // Some are cut per turn.
  if (!within(kSoon, [&] {
        return write_text(scene, flows.front().fd) != "ok" && write_text(scene, flows.back().fd) != "ok";
      }))
    return "wrote on";
  for (const DatagramFlow& flow : {flows.front(), flows.back()})
    if (const auto got = silent_afterwards(scene, flow); got != "nothing") return got;
  return "nothing";
}

// A policy that denies what it has, while it writes.
std::string denied_by_reload(Scene& scene) {
  const std::string before = read_file(scene.world().policy);
  const StreamFlow stream = open_stream(scene);
  const DatagramFlow datagrams = open_datagrams(scene);
  std::ofstream{scene.world().policy} << "version: 1\nname: rogue\negress: []\n";
  int status = -1;
  const std::string said = scene.ctl("reload", &status);
  std::string got = status == 0 ? silent_afterwards(scene, datagrams) : "reload: " + said;
  const Arrived arrived = receive_all(stream.far.get(), kSoon);
  if (arrived.end != "reset") got = "the far end saw " + arrived.end;
  const auto answer = scene.agent().ask(scene.agent().request(flow::Protocol::kTcp, kServer4, kAllowed));
  if (answer.fd >= 0) got = "granted";
  std::ofstream{scene.world().policy} << before;
  static_cast<void>(scene.ctl("reload"));
  return got;
}

// The allowed address becomes the host's while it floods it.
std::string became_the_hosts(Scene& scene) {
  const DatagramFlow flow = open_datagrams(scene);
  const StreamFlow stream = open_stream(scene);
  scene.only_v6_from_now();
  Remote& agent = scene.agent();
  const std::uint64_t text = agent.put(std::as_bytes(std::span{"to whom?", 8}));
  agent.begin({.order = Order::kRepeat,
               .call = {SYS_write, {static_cast<std::uint64_t>(flow.fd), text, 8}},
               .milliseconds = 1000});
  constexpr timespec kPause{0, 200'000'000};
  ::nanosleep(&kPause, nullptr);
  const auto run = [](const char* command) { return std::system(command) == 0; };  // NOLINT
  if (!run("ip addr add 192.0.2.10/32 dev br0")) return "ip addr add";
  const Tally tally = agent.tally();
  std::string got = tally.last_error == EPIPE ? "cut" : "not cut: " + name_of_errno(tally.last_error);
  const auto answer = agent.ask(agent.request(flow::Protocol::kUdp, kServer4, kAllowed));
  if (answer.fd >= 0) got = "granted";
  if (write_text(scene, stream.fd) == "ok") got = "the connection goes on";
  if (!run("ip addr del 192.0.2.10/32 dev br0")) return "ip addr del";
  return got;
}

constexpr Attack kRevocations[] = {
    {"revocation", "write at full speed while cut", "cut", cut_under_writes<true>,
     "\"event.action\":\"flow-revoked\""},
    {"revocation", "write to a full socket while cut", "cut", cut_under_writes<false>},
    {"revocation", "read on after a cut (UDP)", "nothing", read_after_cut<false>},
    {"revocation", "read on after a cut (UDP over IPv6)", "nothing", read_after_cut<true>},
    {"revocation", "not to read the news of it", "nothing", deaf_to_revocations},
    {"revocation", "a policy that denies all", "nothing", denied_by_reload},
    {"kept", "a closed datagram flow", "nothing", kept_datagrams<false>},
    {"kept", "a closed datagram flow (IPv6)", "nothing", kept_datagrams<true>},
    {"kept", "a closed connection", "nothing", kept_stream<flow::CloseHow::kGraceful>},
    {"kept", "a reset connection", "nothing", kept_stream<flow::CloseHow::kReset>},
};

// An address that was the host's counts as such for half a minute more (netlink/host_state.h).
constexpr Attack kLast[] = {
    {"revocation", "the server becomes the host", "cut", became_the_hosts,
     "\"event.reason\":\"host-address\""},
};

}  // namespace

std::span<const Attack> last_attacks() { return kLast; }
std::span<const Attack> revocation_attacks() { return kRevocations; }

}  // namespace cordon::rogue
