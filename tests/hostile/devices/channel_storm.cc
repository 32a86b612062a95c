// A taken-over translator that knows the channel's protocol, and a live broker in a world with real peers.
// Each life is one channel. Most messages fit the state that the ones before have made (flows that live,
// offers that wait); one in four is changed: fields, length, version, a descriptor that must not be
// there, something said before once more. A message that cannot be ends the channel and asks the launcher to
// kill, once; whatever it is, no flow, socket, account or offer outlives its channel.
#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <vector>

#include "sandbox/messages.h"
#include "tests/hostile/devices/baseline.h"
#include "tests/hostile/devices/channel_peers.h"
#include "tests/hostile/devices/storm.h"
#include "tests/sandbox/broker_rig.h"
#include "tests/sandbox/guest_links.h"

namespace cordon::hostile {
namespace {

using namespace sandbox::test;
using sandbox::BrokerOptions;
using sandbox::ForwardRule;
using sandbox::InboundOptions;
using sandbox::message::Type;
using Bytes = std::vector<std::byte>;

constexpr std::uint32_t kSlots = 48;

void rest_judge(FakeJudge& judge) {
  judge.denied.clear();
  judge.limits.clear();
  judge.unreachable.clear();
  judge.aborted.clear();
  judge.cuts.clear();
  judge.ended.clear();
  judge.volumes.clear();
  judge.judged_inbound.clear();
  judge.reviewed.clear();
}

InboundOptions published() {
  InboundOptions options;
  for (const auto protocol : {flow::Protocol::kTcp, flow::Protocol::kUdp}) {
    ForwardRule rule;
    rule.protocol = protocol;
    rule.dual_stack = true;
    rule.address = ip("::");
    rule.first = rule.last = kPublished;
    rule.target = 80;
    rule.target_v4 = ip("10.0.2.15");
    rule.target_v6 = ip("fd00:c0:2d::15");
    rule.text = "--tcp-ports 8080:80";
    options.rules.push_back(rule);
  }
  options.links = guest_links();
  return options;
}

BrokerOptions options() {
  BrokerOptions options;
  options.max_slots = kSlots;
  options.max_flows = 12;
  options.max_pending = 8;
  options.new_flows_per_second = 1e9;
  return options;
}

template <class T>
Bytes bytes_of(const T& message) {
  Bytes out(sizeof message);
  std::memcpy(out.data(), &message, sizeof message);
  return out;
}

sandbox::message::Header header(Type type, flow::Id id = {}) {
  sandbox::message::Header header;
  header.type = static_cast<std::uint16_t>(type);
  header.slot = id.slot;
  header.generation = id.generation;
  return header;
}

sandbox::message::WireTuple wire(const flow::Tuple& tuple) {
  sandbox::message::WireTuple out;
  out.protocol = static_cast<std::uint8_t>(tuple.protocol);
  out.family = static_cast<std::uint8_t>(tuple.guest.address.family());
  out.guest_port = tuple.guest.port.number();
  out.remote_port = tuple.remote.port.number();
  const auto put = [](const net::IpAddress& address, std::array<std::uint8_t, 16>& to) {
    std::ranges::copy(address.bytes(), to.begin());
  };
  put(tuple.guest.address, out.guest);
  put(tuple.remote.address, out.remote);
  return out;
}

// What must come of a message, as far as that follows from what was done to it.
enum class Must : std::uint8_t { kPass, kEnd, kEither };

struct Said {
  Bytes bytes;
  std::string kind;
  Must must = Must::kPass;
  bool descriptor = false;
};

class Translator {
 public:
  Translator(Dice& dice, Rig& rig) : dice_(dice), rig_(rig) {}

  Said next() {
    switch (dice_.below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4: return request();
      case 5:
      case 6:
      case 7:
      case 8: return close();
      case 9:
      case 10: return volumes();
      case 11: return report();
      case 12: {
        sandbox::message::Counters counters;
        counters.header = header(Type::kCounters);
        for (auto& value : counters.values) value = dice_.once_in(4) ? odd_value(dice_) : dice_.below(1000);
        return {bytes_of(counters), "counters"};
      }
      default: return offer();
    }
  }
  // Whatever was taken may have changed which numbers are in use.
  void learn(const Bytes& taken) {
    const auto message = sandbox::decode_from_translator(taken);
    if (!message) return;
    if (const auto* request = std::get_if<sandbox::FlowRequest>(&*message)) flows_.push_back(request->id);
    if (const auto* claim = std::get_if<sandbox::FlowClaim>(&*message)) flows_.push_back(claim->id);
    if (const auto* close = std::get_if<sandbox::FlowClose>(&*message)) std::erase(flows_, close->id);
  }
  // The state is gone with the channel.
  void reborn() { flows_.clear(); }

 private:
  flow::Id flow() {
    if (flows_.empty() || dice_.once_in(12))
      return {static_cast<std::uint32_t>(dice_.below(kSlots + 2)),
              1 + static_cast<std::uint32_t>(dice_.below(4))};
    return flows_[dice_.below(flows_.size())];
  }
  flow::Tuple somewhere() {
    constexpr flow::Protocol kProtocols[] = {flow::Protocol::kTcp, flow::Protocol::kTcp, flow::Protocol::kUdp,
                                             flow::Protocol::kIcmpEcho};
    const auto protocol = dice_.one_of(kProtocols);
    // Open, open, refused ports; the host's own; a neighbour nobody has; no route back.
    constexpr std::string_view kPlaces[] = {
        "198.51.100.1",   "2001:db8:1::1", "198.51.100.1", "2001:db8:1::1", "198.51.100.66",
        "2001:db8:1::66", "192.0.2.77",    "192.0.2.1",    "127.0.0.1",     "::1"};
    const std::string_view place = dice_.one_of(kPlaces);
    const bool echo = protocol == flow::Protocol::kIcmpEcho;
    const unsigned port = echo ? 0 : dice_.once_in(4) ? 9 : kService;
    return tuple(protocol, place, port, 1024 + static_cast<unsigned>(dice_.below(60000)));
  }
  // A number that no flow has, or nullopt: all are taken.
  std::optional<flow::Id> fresh() {
    for (int i = 0; i < 8; ++i) {
      const auto slot = static_cast<std::uint32_t>(dice_.below(kSlots));
      if (std::ranges::none_of(flows_, [slot](flow::Id id) { return id.slot == slot; }))
        return flow::Id{slot, ++generation_};
    }
    return std::nullopt;
  }
  Said request() {
    // A slot that lives asks once more now and then: a lie about the state, not about the form.
    const bool lie = dice_.once_in(12);
    const auto id = lie ? std::optional{flow()} : fresh();
    if (!id) return close();
    return {bytes_of(sandbox::message::FlowRequest{header(Type::kFlowRequest, *id), wire(somewhere())}),
            "request", lie ? Must::kEither : Must::kPass};
  }
  Said close() {
    sandbox::message::Close close;
    close.header = header(Type::kClose, flow());
    close.how = static_cast<std::uint8_t>(dice_.below(2));
    close.reason = static_cast<std::uint8_t>(dice_.below(6));
    close.bytes_from_guest = odd_value(dice_);
    close.bytes_to_guest = odd_value(dice_);
    return {bytes_of(close), "close"};
  }
  Said volumes() {
    sandbox::message::Volumes volumes;
    volumes.header = header(Type::kVolumes, flow());
    volumes.bytes_from_guest = odd_value(dice_);
    volumes.bytes_to_guest = odd_value(dice_);
    volumes.datagrams_from_guest = odd_value(dice_);
    return {bytes_of(volumes), "volumes"};
  }
  Said report() {
    sandbox::message::PacketReport report;
    report.header = header(Type::kPacketReport);
    report.tuple = wire(somewhere());
    report.why = static_cast<std::uint8_t>(dice_.below(flow::kPacketDenials));
    return {bytes_of(report), "packet report"};
  }
  Said offer() {
    auto& offered = rig_.inbox.offered;
    sandbox::message::Offer offer;
    if (offered.empty()) return close();
    const auto id = fresh();
    const bool claim = id && dice_.once_in(2);
    offer.offer = offered.back().offer;
    offered.pop_back();
    offer.header = claim ? header(Type::kClaim, *id) : header(Type::kDecline);
    // Timed out or cut in between, answered twice: only the broker knows.
    return {bytes_of(offer), claim ? "claim" : "decline", Must::kEither};
  }

  Dice& dice_;
  Rig& rig_;
  std::vector<flow::Id> flows_;
  std::uint32_t generation_ = 0;
};

void change(Said& said, Dice& dice) {
  said.must = Must::kEither;
  switch (dice.below(8)) {
    case 0:
      said.bytes.resize(dice.below(said.bytes.size()));
      if (!said.bytes.empty()) said.must = Must::kEnd;  // nothing at all is the end of the channel
      return;
    case 1:
      said.bytes.resize(said.bytes.size() + 1 + dice.below(dice.once_in(16) ? 60000 : 64));
      said.must = Must::kEnd;
      return;
    case 2: {
      const auto version = static_cast<std::uint16_t>(dice.word());
      if (version == sandbox::message::kVersion) return;
      std::memcpy(said.bytes.data(), &version, sizeof version);
      said.must = Must::kEnd;
      return;
    }
    case 3: {
      const auto type = static_cast<std::uint16_t>(dice.once_in(4) ? dice.word() : dice.below(32));
      std::memcpy(&said.bytes[2], &type, sizeof type);
      return;
    }
    case 4: said.descriptor = true; return;
    case 5: said.bytes[dice.below(said.bytes.size())] ^= std::byte{1} << dice.below(8); return;
    default: {
      const std::uint64_t value = odd_value(dice);
      const std::size_t width = std::size_t{1} << dice.below(4);
      const std::size_t at = dice.below(said.bytes.size() / width) * width;
      std::memcpy(&said.bytes[at], &value, width);
      return;
    }
  }
}

// False: the kernel does not carry it.
bool send(int fd, const Said& said, int descriptor) {
  iovec part{const_cast<std::byte*>(said.bytes.data()), said.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (said.descriptor) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
  }
  return ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

class ChannelStorm {
 public:
  explicit ChannelStorm(std::uint64_t seed)
      : dice_(seed), rig_(options(), published()), translator_(dice_, rig_) {
    for (const std::string_view own : {"192.0.2.1", "2001:db8::1", "127.0.0.1", "::1"})
      rig_.judge.host.insert(ip(own));
    rig_.judge.metered = true;
  }

  StormReport run(std::uint64_t messages) {
    rest();
    const std::size_t baseline = *open_descriptors();
    for (; messages > 0; --messages) {
      say();
      if (report_.outcomes.empty() || messages % 64 == 0) {
        rest_judge(rig_.judge);
        keep_few();
      }
      if (ended_) {
        rest();
        if (++report_.lives % 32 == 0) REQUIRE(*open_descriptors() == baseline);
      }
    }
    rest();
    ++report_.lives;
    REQUIRE(*open_descriptors() == baseline);
    // Else the storm has gone by: flows were granted, some were refused, and some were offered and taken.
    const sandbox::BrokerCounters& seen = rig_.broker->counters();
    report_.notes["flows granted"] += seen.granted;
    report_.notes["flows denied"] += seen.denied;
    report_.notes["flows over a limit"] += seen.limited;
    report_.notes["inbound flows claimed"] += rig_.broker->inbound_counters().claimed;
    REQUIRE(seen.granted > 0);
    REQUIRE(seen.denied > 0);
    return std::move(report_);
  }

 private:
  void say() {
    Said said = old_ && dice_.once_in(24) ? *old_ : translator_.next();
    if (old_ && said.bytes == old_->bytes) said.must = Must::kEither;  // its offer, its slot: gone
    if (dice_.once_in(16)) old_ = said;
    if (dice_.once_in(4)) {
      change(said, dice_);
      ++report_.notes["messages changed"];
    }
    if (dice_.once_in(40)) peers_.knock(dice_);
    if (dice_.once_in(600)) ++rig_.judge.now_epoch;  // all is judged again
    const std::uint64_t violations = rig_.broker->counters().violations;
    if (!send(rig_.translator_fd, said, rig_.translator_fd)) {
      ++report_.outcomes[errno == EAGAIN ? "channel full" : "the kernel does not carry"];
      turn();
      return;
    }
    turn();
    const bool violated = rig_.broker->counters().violations != violations;
    const std::string told = rig_.told();
    REQUIRE(std::ranges::count(told, 'k') == (violated ? 1 : 0));
    CAPTURE(said.kind);
    if (said.must == Must::kPass) REQUIRE(!violated);
    if (said.must == Must::kEnd) REQUIRE(violated);
    ended_ = !rig_.broker->has_translator();
    if (violated) REQUIRE(ended_);
    if (ended_ && !violated)
      ++report_.outcomes["an empty message: the channel ends"];
    else if (violated)
      ++report_.outcomes["violation: the channel ends (" + said.kind + ")"];
    else
      ++report_.outcomes["taken (" + said.kind + ")"];
    if (!ended_) translator_.learn(said.bytes);
  }

  void turn() {
    const auto begin = std::chrono::steady_clock::now();
    rig_.turn();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    report_.slowest_ms = std::max(report_.slowest_ms, took.count());
    if (dice_.once_in(8)) peers_.work();
  }

  // The granted sockets that this translator holds on to.
  void keep_few() {
    rig_.inbox.refusals.clear();
    rig_.inbox.revocations.clear();
    rig_.inbox.reshaped.clear();
    rig_.inbox.lates.clear();
    rig_.inbox.firsts.clear();
    while (rig_.inbox.grants.size() > 16) rig_.inbox.grants.erase(rig_.inbox.grants.begin());
    if (rig_.inbox.offered.size() > 16) rig_.inbox.offered.resize(0);
  }

  // The launcher kills this translator and starts the next one.
  void rest() {
    ended_ = false;
    peers_.leave();
    // Again while callers of before still wait to be offered: their flows are the next translator's.
    for (int i = 0; i == 0 || (rig_.broker->offers() > 0 && i < 100); ++i) {
      rig_.inbox = {};
      rig_.new_translator();
      REQUIRE(rig_.until([&] { return rig_.broker->leaving() == 0; }));
    }
    REQUIRE(rig_.broker->offers() == 0);
    peers_.work();
    rig_.inbox = {};
    REQUIRE(rig_.broker->flows() == 0);
    REQUIRE(rig_.broker->pending() == 0);
    REQUIRE(rig_.judge.accounts.empty());
    REQUIRE(rig_.judge.wrong_releases == 0);
    static_cast<void>(rig_.told());
    translator_.reborn();
    old_.reset();
  }

  Dice dice_;
  Rig rig_;
  Translator translator_;
  Peers peers_;
  StormReport report_;
  std::optional<Said> old_;
  bool ended_ = false;
};

}  // namespace

StormReport channel_storm(std::uint64_t messages, std::uint64_t seed) {
  return ChannelStorm{seed}.run(messages);
}

}  // namespace cordon::hostile
