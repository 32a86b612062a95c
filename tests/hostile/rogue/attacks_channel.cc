// What a translator of ours never says to the broker.
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/hostile/rogue/attack.h"

namespace cordon::rogue {
namespace {

using flow::Protocol;
using message::Type;

constexpr std::uint16_t type(Type value) { return static_cast<std::uint16_t>(value); }

// After something that the broker must not take: does it still listen to us?
std::string aftermath(Scene& scene) {
  Remote& agent = scene.agent();
  const auto answer = agent.ask(agent.request(Protocol::kUdp, kServer4, kAllowed));
  return answer.fd >= 0 ? "ignored" : "refused";
}
template <class Message>
std::string say(Scene& scene, const Message& message) {
  scene.agent().say(message);
  return aftermath(scene);
}

message::FlowRequest good(Scene& scene) { return scene.agent().request(Protocol::kTcp, kServer4, kAllowed); }
// A request with one thing changed.
template <auto kChange>
std::string changed(Scene& scene) {
  message::FlowRequest request = good(scene);
  kChange(request);
  return say(scene, request);
}
template <std::size_t kSize>
std::string cut_to(Scene& scene) {
  const auto request = good(scene);
  std::vector<std::byte> bytes(kSize);
  std::memcpy(bytes.data(), &request, std::min(kSize, sizeof request));
  scene.agent().send(bytes);
  return aftermath(scene);
}
message::Header header(Type kind, std::uint32_t slot = 0, std::uint32_t generation = 0) {
  return {.type = type(kind), .slot = slot, .generation = generation};
}

constexpr Attack kMalformed[] = {
    {"channel", "one byte", "violation length", cut_to<1>, "broke the channel's protocol (length)"},
    {"channel", "a header and no more", "violation length", cut_to<sizeof(message::Header)>},
    {"channel", "a byte too few", "violation length", cut_to<sizeof(message::FlowRequest) - 1>},
    {"channel", "a byte too many", "violation length", cut_to<sizeof(message::FlowRequest) + 1>},
    {"channel", "64 KiB", "violation length", cut_to<65'536>},
    {"channel", "an empty message ends the conversation", "EPIPE|ECONNRESET",
     [](Scene& s) {
       s.agent().send({});
       const auto request = good(s);
       Result sent;
       within(milliseconds{3000}, [&] { return (sent = s.agent().say(request)).value < 0; });
       return outcome(sent);
     }},
    {"channel", "the next version", "violation version",
     changed<[](message::FlowRequest& r) { ++r.header.version; }>},
    {"channel", "version 0", "violation version",
     changed<[](message::FlowRequest& r) { r.header.version = 0; }>},
    {"channel", "no type", "violation type", changed<[](message::FlowRequest& r) { r.header.type = 0; }>},
    {"channel", "an unknown type", "violation type",
     changed<[](message::FlowRequest& r) { r.header.type = 8; }>},
    {"channel", "a forged grant", "violation type",
     [](Scene& s) { return say(s, message::Grant{.header = header(Type::kGrant, 0, 1)}); }},
    {"channel", "a forged revocation", "violation type",
     [](Scene& s) { return say(s, message::Refuse{.header = header(Type::kRevoke, 0, 1)}); }},
    {"channel", "an unknown protocol", "violation protocol",
     changed<[](message::FlowRequest& r) { r.tuple.protocol = 132; }>},
    {"channel", "an unknown family", "violation family",
     changed<[](message::FlowRequest& r) { r.tuple.family = 16; }>},
    {"channel", "something behind an IPv4 address", "violation address-padding",
     changed<[](message::FlowRequest& r) { r.tuple.remote[15] = 1; }>},
    {"channel", "a reserved field", "violation reserved",
     changed<[](message::FlowRequest& r) { r.tuple.reserved = 1; }>},
    {"channel", "an echo request with a port", "violation port",
     changed<[](message::FlowRequest& r) { r.tuple.protocol = 1; }>},
    {"channel", "generation 0", "violation slot-or-generation",
     changed<[](message::FlowRequest& r) { r.header.generation = 0; }>},
    {"channel", "a slot beyond the table", "violation slot-or-generation",
     changed<[](message::FlowRequest& r) { r.header.slot = 0xffffffff; }>},
    {"channel", "a request again (replay)", "violation slot-or-generation",
     [](Scene& s) {
       const auto request = good(s);
       s.agent().ask(request);
       return say(s, request);
     }},
    {"channel", "a live flow's slot, another generation", "violation slot-or-generation",
     [](Scene& s) {
       auto request = good(s);
       s.agent().ask(request);
       ++request.header.generation;
       return say(s, request);
     }},
    {"channel", "a claim of an offer never made", "violation offer",
     [](Scene& s) { return say(s, message::Offer{.header = header(Type::kClaim, 60, 1), .offer = 1}); }},
    {"channel", "an offer declined that was never made", "violation offer|ignored",
     [](Scene& s) { return say(s, message::Offer{.header = header(Type::kDecline), .offer = 7}); }},
    {"channel", "a close with an unknown how", "violation enum",
     [](Scene& s) { return say(s, message::Close{.header = header(Type::kClose, 0, 1), .how = 2}); }},
    {"channel", "a close of nobody's flow", "ignored",
     [](Scene& s) { return say(s, message::Close{.header = header(Type::kClose, 4000, 77)}); }},
    {"channel", "a close twice", "ignored",
     [](Scene& s) {
       s.tcp();
       const auto id = s.agent().last();
       s.agent().close_flow(id);
       s.agent().close_flow(id);
       return aftermath(s);
     }},
    {"channel", "a close with impossible volumes", "ignored",
     [](Scene& s) {
       const auto request = good(s);
       s.agent().ask(request);
       return say(s, message::Close{.header = header(Type::kClose, request.header.slot, 1),
                                    .bytes_from_guest = ~std::uint64_t{0},
                                    .bytes_to_guest = ~std::uint64_t{0},
                                    .datagrams_from_guest = ~std::uint64_t{0}});
     }},
    {"channel", "volumes of nobody's flow", "ignored",
     [](Scene& s) {
       return say(s, message::Volumes{.header = header(Type::kVolumes, 4000, 1),
                                      .bytes_from_guest = ~std::uint64_t{0}});
     }},
    {"channel", "counters that say nonsense", "ignored",
     [](Scene& s) {
       message::Counters counters{.header = header(Type::kCounters)};
       counters.values.fill(~std::uint64_t{0});
       s.agent().say(counters);
       counters.values.fill(0);
       return say(s, counters);
     }},
    {"channel", "a packet report of an unknown kind", "violation enum",
     [](Scene& s) {
       return say(s, message::PacketReport{
                         .header = header(Type::kPacketReport), .tuple = good(s).tuple, .why = 200});
     }},
    {"channel", "closing it", "EBADF",
     [](Scene& s) {
       s.agent().call(SYS_close, kChannel);
       return outcome(s.agent().say(good(s)));
     }},
    {"channel", "ports that cannot exist", "refused silently",
     [](Scene& s) {
       auto request = good(s);
       request.tuple.remote_port = 0;
       const auto answer = s.agent().ask(request);
       return std::string{answer.how == flow::RefuseHow::kDrop ? "refused silently" : "answered"};
     }},
};

}  // namespace

std::span<const Attack> channel_attacks() { return kMalformed; }

}  // namespace cordon::rogue
