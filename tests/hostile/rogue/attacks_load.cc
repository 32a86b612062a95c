// All there is of everything: messages, flows, descriptors, kernel memory, records, time. The broker must
// answer others meanwhile.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

#include "tests/hostile/rogue/attack.h"
#include "tests/hostile/rogue/far_ends.h"

namespace cordon::rogue {
namespace {

using flow::Protocol;
using message::Type;

// rogue.sh gives these on the command line.
constexpr std::uint32_t kMaxFlows = 512;
constexpr std::size_t kSocketMemory = std::size_t{64} << 20U;

std::uint64_t long_enough(const Scene& scene) { return scene.world().thorough ? 20'000 : 700; }

// Plays a flood and asks the broker for its status meanwhile; the audit log may grow by `most_records` bytes.
std::string flood(Scene& scene, const Command& command, std::uint64_t least_calls = 1000) {
  constexpr std::uint64_t kMostRecords = 4U << 20U;
  const std::uint64_t log_before = scene.audit_size();
  scene.agent().begin(command);
  const auto time = scene.answer_time();
  const Tally tally = scene.agent().tally();
  if (!time) return "the broker does not answer";
  // Less means that this test does not test.
  if (tally.calls < least_calls) return "only " + std::to_string(tally.calls) + " calls";
  if (scene.audit_size() - log_before > kMostRecords)
    return "the audit log grew by " + std::to_string(scene.audit_size() - log_before);
  return "answered";
}

Call on_channel(std::uint64_t message, std::size_t size) {
  return {SYS_sendto, {kChannel, message, size, 0, 0, 0}};
}
template <class Message>
Command repeat(Scene& scene, const Message& message, std::uint64_t& address) {
  address = scene.agent().put(message);
  return {.order = Order::kRepeat,
          .call = on_channel(address, sizeof message),
          .milliseconds = long_enough(scene)};
}
Call read_channel(Scene& scene) { return {SYS_recvfrom, {kChannel, scene.agent().room(256), 256, 0, 0, 0}}; }
std::uint64_t field(Scene& scene, std::uint64_t message, std::size_t offset) {
  return scene.agent().offset_of(message) + offset;
}

constexpr std::size_t kSlot = offsetof(message::Header, slot);
constexpr std::size_t kGuestPort =
    offsetof(message::FlowRequest, tuple) + offsetof(message::WireTuple, guest_port);
constexpr std::size_t kRemote = offsetof(message::FlowRequest, tuple) + offsetof(message::WireTuple, remote);

template <bool kReads>
std::string denied_requests(Scene& scene) {
  std::uint64_t at = 0;
  // Another destination each time, so that no two records are alike.
  auto command = repeat(scene, scene.agent().request(Protocol::kUdp, "198.51.100.10", kCanary), at);
  command.bump[0] = field(scene, at, kRemote);
  if (kReads) command.third = read_channel(scene);
  return flood(scene, command);
}
std::string impossible_requests(Scene& scene) {
  auto request = scene.agent().request(Protocol::kUdp, kServer4, kAllowed);
  request.tuple.remote_port = 0;
  std::uint64_t at = 0;
  const auto command = repeat(scene, request, at);
  return flood(scene, command);
}
// A flow for each request, given back at once.
template <Protocol kProtocol>
std::string open_and_close(Scene& scene) {
  std::uint64_t at = 0;
  auto command = repeat(scene, scene.agent().request(kProtocol, kServer4, kAllowed), at);
  const message::Close close{.header = {.type = static_cast<std::uint16_t>(Type::kClose),
                                        .slot = scene.agent().last().slot,
                                        .generation = 1},
                             .how = static_cast<std::uint8_t>(flow::CloseHow::kReset)};
  command.second = on_channel(scene.agent().put(close), sizeof close);
  command.third = read_channel(scene);
  command.bump[0] = field(scene, at, kGuestPort);
  return flood(scene, command, 100);
}
std::string unknown_closes(Scene& scene) {
  std::uint64_t at = 0;
  auto command = repeat(
      scene, message::Close{.header = {.type = static_cast<std::uint16_t>(Type::kClose), .generation = 9}},
      at);
  command.bump[0] = field(scene, at, kSlot);
  return flood(scene, command);
}
std::string counters(Scene& scene) {
  message::Counters message{.header = {.type = static_cast<std::uint16_t>(Type::kCounters)}};
  for (std::size_t i = 0; i < message.values.size(); ++i) message.values.at(i) = i;
  std::uint64_t at = 0;
  auto command = repeat(scene, message, at);
  for (std::size_t i = 0; i < command.bump.size(); ++i)
    command.bump.at(i) = field(scene, at, offsetof(message::Counters, values) + 8 * i);
  return flood(scene, command);
}
std::string packet_reports(Scene& scene) {
  std::uint64_t at = 0;
  auto command =
      repeat(scene,
             message::PacketReport{.header = {.type = static_cast<std::uint16_t>(Type::kPacketReport)},
                                   .tuple = wire_tuple(Protocol::kUdp, "10.9.0.0", 9, kServer4, 9)},
             at);
  command.bump[0] =
      field(scene, at, offsetof(message::PacketReport, tuple) + offsetof(message::WireTuple, guest));
  return flood(scene, command);
}

// What is said on stderr reaches the launcher's, in part.
std::string diagnostics(Scene& scene) {
  constexpr std::uint64_t kMost = 256U << 10U;
  Remote& agent = scene.agent();
  const std::string line = "\033[2Jcordon: broker: all is well\n";
  const std::uint64_t text = agent.put(std::as_bytes(std::span{line}));
  const auto before = read_file(scene.world().log).size();
  const auto got = flood(scene, {.order = Order::kRepeat,
                                 .call = {SYS_write, {2, text, line.size()}},
                                 .milliseconds = long_enough(scene)});
  const auto log = read_file(scene.world().log);
  if (log.size() - before > kMost) return "the launcher printed " + std::to_string(log.size() - before);
  return log.find('\033') == std::string::npos ? got : "an escape sequence gets out";
}
std::string spin(Scene& scene) {
  const auto end = Clock::now() + milliseconds{long_enough(scene)};
  bool answered = true;
  std::jthread asks{[&] {
    while (Clock::now() < end) answered &= scene.answer_time().has_value();
  }};
  scene.agent().other(Order::kSpin, 0, long_enough(scene));
  asks.join();
  return answered ? "answered" : "the broker does not answer";
}

// As many flows as there are, and some more: exactly so many are granted.
template <Protocol kProtocol>
std::string every_flow(Scene& scene) {
  scene.end_agent();
  Remote& agent = scene.agent();
  std::uint32_t granted = 0;
  std::uint32_t refused = 0;
  for (std::uint32_t i = 0; i < kMaxFlows + 64; ++i) {
    const auto answer = agent.ask(agent.request(kProtocol, kServer4, kAllowed));
    ++(answer.how ? refused : granted);
    if (kProtocol == Protocol::kTcp && !answer.how) static_cast<void>(scene.witness().accept(false));
  }
  if (!scene.answer_time()) return "the broker does not answer";
  if (granted != kMaxFlows || refused != 64) return std::to_string(granted) + " granted";
  return "the limit";
}

// Closed flows whose sockets it keeps, full of what the far end said: no flow stands for that memory.
std::size_t growth(const Scene& scene, std::size_t before) {
  const std::size_t now = scene.socket_memory();
  return now > before ? now - before : 0;
}
std::string verdict_on_memory(Scene& scene, std::size_t before) {
  std::size_t held = 0;
  const bool bounded =
      within(milliseconds{5000}, [&] { return (held = growth(scene, before)) <= 2 * kSocketMemory; });
  return bounded ? "bounded" : "holds " + std::to_string(held >> 20U) + " MiB";
}

template <bool kClose>
std::string full_datagram_sockets(Scene& scene) {
  constexpr int kFlows = 48;
  constexpr int kMost = 400;  // datagrams each
  const std::size_t before = scene.socket_memory();
  const std::string big(60'000, 'x');
  for (int i = 0; i < kFlows; ++i) {
    try {
      const DatagramFlow flow = open_datagrams(scene);
      for (int n = 0; n < kMost; ++n) flow.say(big);
      if (kClose) scene.agent().close_flow(flow.id);
    } catch (const Refused&) {
      break;  // the budget
    }
  }
  return verdict_on_memory(scene, before);
}

template <bool kClose>
std::string full_streams(Scene& scene) {
  const int flows = 250;
  const std::size_t before = scene.socket_memory();
  const std::string block(1 << 16, 'x');
  std::vector<base::Fd> far;
  const std::uint64_t sink = scene.agent().room(1 << 18);
  for (int i = 0; i < flows; ++i) {
    try {
      StreamFlow flow = open_stream(scene);
      ::fcntl(flow.far.get(), F_SETFL, O_NONBLOCK);
      // Reading makes the kernel give it a larger buffer; then it stops.
      for (int n = 0; n < 8; ++n) {
        while (::send(flow.far.get(), block.data(), block.size(), MSG_NOSIGNAL) > 0) {
        }
        scene.agent().call(SYS_read, flow.fd, sink, 1 << 18);
      }
      while (::send(flow.far.get(), block.data(), block.size(), MSG_NOSIGNAL) > 0) {
      }
      if (kClose) scene.agent().close_flow(flow.id);
      // What the far end holds is not the guest's.
      const linger reset{1, 0};
      ::setsockopt(flow.far.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    } catch (const Refused&) {
      break;
    }
  }
  return verdict_on_memory(scene, before);
}

constexpr Attack kLoads[] = {
    {"flood", "denied requests, answers read", "answered", denied_requests<true>},
    {"flood", "denied requests, answers unread", "answered", denied_requests<false>},
    {"flood", "requests with impossible ports", "answered", impossible_requests},
    {"flood", "flows opened and closed, UDP", "answered", open_and_close<Protocol::kUdp>},
    {"flood", "flows opened and closed, TCP", "answered", open_and_close<Protocol::kTcp>},
    {"flood", "closes of unknown flows", "answered", unknown_closes},
    {"flood", "counters", "answered", counters},
    {"flood", "packet reports", "answered", packet_reports},
    {"flood", "diagnostics", "answered", diagnostics},
    {"flood", "processor time", "answered", spin},
    {"exhaustion", "TCP flows", "the limit", every_flow<Protocol::kTcp>,
     "\"event.reason\":\"limit-connections\""},
    {"exhaustion", "UDP flows and ports", "the limit", every_flow<Protocol::kUdp>},
    {"exhaustion", "echo flows", "the limit", every_flow<Protocol::kIcmpEcho>},
    {"exhaustion", "socket memory: UDP", "bounded", full_datagram_sockets<false>},
    {"exhaustion", "socket memory: UDP, closed and kept", "bounded", full_datagram_sockets<true>},
    {"exhaustion", "socket memory: TCP", "bounded", full_streams<false>},
    {"exhaustion", "socket memory: TCP, closed and kept", "bounded", full_streams<true>},
};

}  // namespace

std::span<const Attack> load_attacks() { return kLoads; }

}  // namespace cordon::rogue
