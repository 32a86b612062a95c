// A broker with a fake judge, and a translator that says anything, in any order: requests, closes, claims,
// volumes, raw bytes with and without descriptors, floods, silence, its own end; while policy, host and
// limits change, strangers knock at published ports and an operator kills flows. Sockets are real, inside a
// private network namespace (tests/support/world.h).
//
// What must hold: no limit is exceeded, each request has one answer at most and nothing is answered that was
// not asked, nothing is granted that the judge denies at that moment, what the launcher is told balances, a
// violation ends the translator and nothing else, each account is released exactly once, no descriptor is
// left behind. That no turn waits for the translator is held by the fuzzer's own time limit.
//
// Input: limits (1 byte), then events of a code and what it needs.
#define DOCTEST_CONFIG_IMPLEMENT  // the rig that the tests share brings it
#include <deque>
#include <optional>
#include <vector>

#include "fuzz/broker_world.h"
#include "tests/sandbox/guest_links.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);

using namespace cordon;
using namespace cordon::sandbox;
using fuzz::Books;
using fuzz::Outside;
using fuzz::require;
namespace rig = cordon::sandbox::test;
using rig::ip;
using rig::World;

namespace {

constexpr unsigned kTcpPort = 8080, kUdpPort = 8081;

struct Lane {
  Lane(base::Fd end, const rig::FakeJudge& judge, bool& reads) : gate(std::move(end)), books(judge, reads) {}
  ChannelGate gate;
  Books books;
};

ForwardRule published(flow::Protocol protocol, unsigned port) {
  ForwardRule rule;
  rule.protocol = protocol;
  rule.dual_stack = true;
  rule.address = ip("::");
  rule.first = rule.last = static_cast<std::uint16_t>(port);
  rule.target = 80;
  rule.target_v4 = ip("10.0.2.15");
  rule.target_v6 = ip("fd00:c0:2d::15");
  rule.text = "--tcp-ports 8080:80";
  return rule;
}

class Machine {
 public:
  explicit Machine(std::uint8_t limits) {
    options_.max_workers = 2;
    options_.max_slots = 16;
    options_.max_flows = 4U + (limits & 15U);
    options_.max_pending = 1U + (limits >> 4U & 3U);
    options_.path_grace = std::chrono::milliseconds{1};
    if ((limits & 64U) != 0) options_.new_flows_burst = options_.new_flows_per_second = 4;
    options_.before_second_check = [this](const flow::Tuple& tuple) {
      if (turns_host_) judge_.becomes_host(tuple.remote.address);
      turns_host_ = false;
    };
    judge_.interface = Outside::get().interface;
    auto pair = make_packet_pair();
    require(pair.has_value());
    launcher_.emplace(std::move(pair->first));
    broker_.emplace(options_, judge_, std::move(pair->second));
    if ((limits & 128U) != 0) publish();
    require(broker_->start().has_value());
    begin_translator();
  }

  void event(fuzz::Input& in) {
    const std::uint8_t code = in.u8();
    Lane& lane = *lanes_[(code & 128U) != 0 ? lanes_.size() - 1 : 0];
    switch (code % 16U) {
      case 0: raw(lane, in); break;
      case 1: say(lane, request(in)); break;
      case 2: flood(lane, in); break;
      case 3:
        say(lane, FlowClose{id(in),
                            static_cast<flow::CloseHow>(in.u8() % 2U),
                            static_cast<flow::EndReason>(in.u8() % 6U),
                            {in.u16(), in.u16(), in.u8()}});
        break;
      case 4: answer_offer(lane, in); break;
      case 5: report(lane, in); break;
      case 6: change_judge(in); break;
      case 7: knock(in); break;
      case 8: change_limits(in); break;
      case 9: launcher_says(in); break;
      case 10: operate(in); break;
      case 11:
        reads_ = !reads_;
        for (auto& each : lanes_) each->books.pause();
        break;
      case 12: lane.books.use_sockets(in.u8()); break;
      case 13:
        if (in.u8() % 8U == 0) lanes_.clear();  // it died
        break;
      default: break;
    }
    turn();
  }

  void finish() {
    reads_ = true;
    judge_.stale = false;
    for (int i = 0; i < 40; ++i) turn();
    if (broker_->pending() == 0)
      for (const auto& lane : lanes_) lane->books.require_answered();
    lanes_.clear();
    for (int i = 0; i < 4; ++i) turn_broker();
    require(!broker_->has_translator() && broker_->flows() == 0 && broker_->offers() == 0);
    require(judge_.accounts.empty() && judge_.wrong_releases == 0);
    for (const base::Fd& client : clients_) Outside::abort_connection(client.get());
  }

 private:
  void publish() {
    InboundOptions inbound;
    inbound.rules = {published(flow::Protocol::kTcp, kTcpPort), published(flow::Protocol::kUdp, kUdpPort)};
    inbound.links = rig::guest_links();
    inbound.max_offers = 3;
    inbound.max_peers = 4;
    max_offers_ = inbound.max_offers;
    auto listeners = open_listeners(inbound.rules, {});
    require(listeners.has_value());
    broker_->publish(std::move(inbound), std::move(*listeners));
  }

  void begin_translator() {
    lanes_.clear();
    for (std::uint32_t worker = 0; worker < options_.max_workers; ++worker) {
      auto channel = make_channel_pair();
      require(channel.has_value());
      lanes_.push_back(std::make_unique<Lane>(std::move(channel->translator), judge_, reads_));
      require(launcher_->send_new_translator(channel->broker.get(), worker) == SendStatus::kSent);
    }
    turn_broker();
  }

  void turn_broker() {
    const auto more = broker_->turn(0);
    require(more.has_value() && *more);
    hear_broker();
    require(broker_->flows() <= options_.max_flows && broker_->pending() <= options_.max_pending);
    require(broker_->offers() <= max_offers_);
    require(broker_->flows() + broker_->offers() <= broker_->flow_limit());
    require(judge_.wrong_releases == 0);
  }
  void turn() {
    turn_broker();
    if (reads_)
      for (const auto& lane : lanes_) {
        const bool open = lane->gate.dispatch(lane->books, true) == ChannelGate::Status::kOpen;
        require(open || killed_ || !broker_->has_translator());
      }
    if (killed_ || lanes_.empty()) begin_translator();
    killed_ = false;
  }
  void hear_broker() {
    int open = 0;
    while (auto message = launcher_->receive()) {
      if (std::holds_alternative<control::RevokeBegin>(*message)) require(++open == 1);
      if (std::holds_alternative<control::RevokeEnd>(*message)) require(--open == 0);
      if (std::holds_alternative<control::KillTranslator>(*message)) {
        killed_ = true;
        ++kills_;
        require(!broker_->has_translator() && broker_->flows() == 0);
      }
    }
    require(open == 0 && kills_ == broker_->counters().violations);
  }

  static flow::Id id(fuzz::Input& in) {
    const unsigned choice = in.u8();
    return {choice % 17U, 1U + (choice >> 6U)};
  }
  static FlowRequest request(fuzz::Input& in) {
    static const std::array kRemotes{ip("198.51.100.1"),  ip("198.51.100.1"),   ip("198.51.100.9"),
                                     ip("2001:db8:1::1"), ip("2001:db8:1::99"), ip("192.0.2.1"),
                                     ip("127.0.0.1"),     ip("0.0.0.0")};
    constexpr std::array<std::uint16_t, 4> kPorts{80, 53, 81, 0};
    constexpr std::array kProtocols{flow::Protocol::kTcp, flow::Protocol::kTcp, flow::Protocol::kUdp,
                                    flow::Protocol::kIcmpEcho};
    FlowRequest out{.id = id(in), .tuple = {}};
    const unsigned choice = in.u8();
    out.tuple.protocol = kProtocols.at(choice & 3U);
    const net::IpAddress& remote = kRemotes.at(choice >> 2U & 7U);
    const bool echo = out.tuple.protocol == flow::Protocol::kIcmpEcho;
    out.tuple.remote = {remote, net::Port{echo ? std::uint16_t{0} : kPorts.at(choice >> 5U & 3U)}};
    out.tuple.guest = {remote.is_v4() ? ip("10.0.2.15") : ip("fd00:c0:2d::15"),
                       net::Port{static_cast<std::uint16_t>(40000U + in.u8() % 8U)}};
    return out;
  }

  // By our own translator's means; what the channel does not take now was never said.
  void say(Lane& lane, const FromTranslator& message) {
    bool said = false;
    if (const auto* request = std::get_if<FlowRequest>(&message))
      said = lane.gate.request(request->id, request->tuple);
    else if (const auto* close = std::get_if<FlowClose>(&message))
      said = lane.gate.close(close->id, close->how, close->reason, close->volumes);
    else if (const auto* claim = std::get_if<FlowClaim>(&message))
      said = lane.gate.claim(claim->id, claim->offer);
    else if (const auto* decline = std::get_if<FlowDecline>(&message))
      said = lane.gate.decline(decline->offer);
    else if (const auto* volumes = std::get_if<FlowVolumes>(&message))
      said = lane.gate.report_volumes(volumes->id, volumes->volumes);
    if (said) lane.books.note(message);
  }
  static void raw(Lane& lane, fuzz::Input& in) {
    const unsigned how = in.u8();
    const base::Bytes bytes = in.bytes(in.u8());
    if (bytes.empty()) return;
    const int end = lane.gate.poll_fd();
    const SendStatus sent = how % 8U == 7U ? send_packet_with_fd(end, bytes, end) : send_packet(end, bytes);
    const auto message = decode_from_translator(bytes);
    if (sent == SendStatus::kSent && message) lane.books.note(*message);
  }
  void flood(Lane& lane, fuzz::Input& in) {
    FlowRequest one = request(in);
    const unsigned many = in.u8();
    for (unsigned i = 0; i < many; ++i) {
      one.id.slot = i % options_.max_slots;
      one.id.generation = 8 + i;
      say(lane, one);
      if ((many & 1U) != 0) say(lane, FlowClose{.id = one.id, .volumes = {}});
    }
  }
  static void answer_or(Lane& lane, Machine& machine, std::uint32_t offer, flow::Id id, bool claim) {
    if (claim)
      machine.say(lane, FlowClaim{id, offer});
    else
      machine.say(lane, FlowDecline{offer});
  }
  void answer_offer(Lane& lane, fuzz::Input& in) {
    const unsigned how = in.u8();
    const auto offered = lane.books.offer();
    if (!offered && how < 240) return;  // rarely one that was never made
    answer_or(lane, *this, offered.value_or(1U + how % 8U), id(in), (how & 1U) != 0);
  }
  void report(Lane& lane, fuzz::Input& in) {
    switch (in.u8() % 3U) {
      case 0: say(lane, FlowVolumes{id(in), {in.u32(), in.u32(), in.u8()}}); break;
      case 1: {
        CounterValues values{};
        values.at(in.u8() % values.size()) = in.u64();
        static_cast<void>(lane.gate.send_counters(values));
        break;
      }
      default: lane.gate.report_packet({.tuple = request(in).tuple});
    }
  }

  void change_judge(fuzz::Input& in) {
    const unsigned what = in.u8();
    switch (what % 10U) {
      case 0: judge_.becomes_host(request(in).tuple.remote.address); break;
      case 1:
        judge_.host.clear();
        ++judge_.now_epoch;
        break;
      case 2: judge_.stale = !judge_.stale; break;
      case 3: judge_.routeless = !judge_.routeless; break;
      case 4:
        judge_.way = static_cast<Path>(in.u8() % 4U);
        ++judge_.now_epoch;
        break;
      case 5:
        judge_.elsewhere = static_cast<Path>(in.u8() % 4U);
        ++judge_.now_epoch;
        break;
      case 6: judge_.remote_route = !judge_.remote_route; break;
      case 7: judge_.draining.insert(request(in).tuple.remote.address); break;
      case 8: turns_host_ = true; break;
      default: judge_.local.insert(ip("198.51.100.1")); ++judge_.now_epoch;
    }
  }
  void change_limits(fuzz::Input& in) {
    switch (in.u8() % 5U) {
      case 0: judge_.most_accounts = in.u8() % 16U; break;
      case 1: judge_.metered = !judge_.metered; break;
      case 2: judge_.budget = in.u16(); break;
      case 3: {
        const auto shaper = static_cast<std::uint16_t>(in.u8() % 65U);
        judge_.shaping = {shaper, 0, shaper == 0 ? 0U : in.u16() + 1U, 0, in.u8()};
        break;
      }
      default: judge_.relimit = !judge_.relimit; ++judge_.now_epoch;
    }
  }
  void knock(fuzz::Input& in) {
    const unsigned how = in.u8();
    if (clients_.size() >= 12) {
      Outside::abort_connection(clients_.front().get());
      clients_.pop_front();
    }
    if ((how & 8U) != 0 && !clients_.empty()) {  // one of them goes on
      const int fd = clients_.at(how % clients_.size()).get();
      static_cast<void>(::send(fd, "again", 5, MSG_DONTWAIT | MSG_NOSIGNAL));
      return;
    }
    const bool tcp = (how & 1U) != 0;
    const net::SockAddr to = net::to_sockaddr(
        rig::endpoint((how & 2U) != 0 ? "2001:db8::1" : "192.0.2.1", tcp ? kTcpPort : kUdpPort));
    clients_.push_back(World::get().far([&] {
      base::Fd fd{
          ::socket(to.generic.sa_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
      static_cast<void>(::connect(fd.get(), &to.generic, to.length));
      return fd;
    }));
    if (!tcp) static_cast<void>(::send(clients_.back().get(), "first", 5, MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  void launcher_says(fuzz::Input& in) {
    const int some = Outside::get().nothing.get();
    switch (in.u8() % 6U) {
      case 0:
        judge_.load_outcome = static_cast<PolicyLoad>(in.u8() % 3U);
        static_cast<void>(launcher_->send_new_policy(some, control::LoadCause::kWatch));
        break;
      case 1: static_cast<void>(launcher_->send_nothing_to_load()); break;
      case 2: static_cast<void>(launcher_->send_resolvers({{{ip("198.51.100.1"), 0}}})); break;
      case 3: static_cast<void>(launcher_->send_new_audit_sink(some)); break;
      case 4: static_cast<void>(launcher_->send_new_client(some)); break;
      default: begin_translator();
    }
  }
  void operate(fuzz::Input& in) {
    const unsigned chosen = in.u8();
    std::uint32_t seen = 0;
    for (std::optional<std::uint32_t> cursor = 0; cursor; ++seen) {
      require(seen <= options_.max_slots * options_.max_workers + 1U);
      cursor = broker_->list_flows(*cursor, 1 + chosen % 3U,
                                   [](const FlowEntry& entry) { require(entry.id.generation != 0); });
    }
    if (chosen % 4U == 0)
      static_cast<void>(
          broker_->kill([&](const FlowEntry& entry) { return entry.id.slot % 2U == chosen / 4U % 2U; }));
  }

  BrokerOptions options_;
  rig::FakeJudge judge_;
  std::optional<control::LauncherControl> launcher_;
  std::optional<Broker> broker_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::deque<base::Fd> clients_;
  std::uint64_t kills_ = 0;
  std::uint32_t max_offers_ = 0;
  bool reads_ = true;
  bool killed_ = false;
  bool turns_host_ = false;
};

}  // namespace

// Before libFuzzer has threads: a user namespace wants a process without.
int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  Outside::get();
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  const Outside& outside = Outside::get();
  const std::size_t descriptors = fuzz::open_descriptors();
  {
    fuzz::Input in{data, size};
    Machine machine{in.u8()};
    for (int i = 0; i < 200 && !in.empty(); ++i) machine.event(in);
    machine.finish();
  }
  outside.clear();
  require(fuzz::open_descriptors() == descriptors);
  return 0;
}
