// Any bytes as a message of the channel, in both directions. What decodes is, sent again by our own end, the
// same bytes: nothing in a message goes unread. The first byte: direction (bit 0), a descriptor comes along
// (bit 1).
#include "sandbox/channel.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <optional>
#include <vector>

#include "fuzz/input.h"

using namespace cordon;
using namespace cordon::sandbox;
using fuzz::require;

namespace {

// One pair for all inputs; nothing stays in it.
struct Ends {
  Ends() {
    auto pair = make_channel_pair();
    require(pair.has_value());
    peer_of_gate = std::move(pair->broker);
    gate.emplace(std::move(pair->translator));
    pair = make_channel_pair();
    require(pair.has_value());
    peer_of_broker = std::move(pair->translator);
    broker.emplace(std::move(pair->broker));
  }
  base::Fd peer_of_gate, peer_of_broker;
  std::optional<ChannelGate> gate;
  std::optional<BrokerChannel> broker;
};

void require_sent(int end, base::Bytes bytes) {
  std::vector<std::byte> again(bytes.size() + 1);
  const Packet packet = receive_packet(end, again, AcceptFd::kAtMostOne);
  require(packet.status == PacketStatus::kReceived && packet.size == bytes.size());
  require(std::ranges::equal(bytes, std::span(again).first(packet.size)));
}

void from_translator(Ends& ends, base::Bytes bytes) {
  const auto message = decode_from_translator(bytes);
  if (!message) return require(to_string(message.error()) != "?");
  ChannelGate& gate = *ends.gate;
  if (const auto* request = std::get_if<FlowRequest>(&*message)) {
    require(request->id.generation != 0);
    require(request->tuple.guest.address.family() == request->tuple.remote.address.family());
    require(gate.request(request->id, request->tuple));
  } else if (const auto* close = std::get_if<FlowClose>(&*message)) {
    require(gate.close(close->id, close->how, close->reason, close->volumes));
  } else if (const auto* volumes = std::get_if<FlowVolumes>(&*message)) {
    require(gate.report_volumes(volumes->id, volumes->volumes));
  } else if (const auto* report = std::get_if<flow::PacketReport>(&*message)) {
    gate.report_packet(*report);
  } else if (const auto* counters = std::get_if<CounterReport>(&*message)) {
    require(gate.send_counters(counters->values));
  } else if (const auto* claim = std::get_if<FlowClaim>(&*message)) {
    require(claim->offer != 0);
    require(gate.claim(claim->id, claim->offer));
  } else {
    require(gate.decline(std::get<FlowDecline>(*message).offer));
  }
  require_sent(ends.peer_of_gate.get(), bytes);
}

void require_sound(const flow::Shaping& shaping) {
  require(shaping.shaper <= flow::kMaxShapers && shaping.outer <= flow::kMaxShapers);
  require((shaping.rate != 0) == (shaping.shaper != 0) && (shaping.outer_rate != 0) == (shaping.outer != 0));
}

void from_broker(Ends& ends, base::Bytes bytes, base::Fd fd) {
  const int raw = fd.get();
  {
    auto message = decode_from_broker(bytes, std::move(fd));
    if (!message) {
      require(raw < 0 || ::fcntl(raw, F_GETFD) < 0);  // closed with the refusal
      return;
    }
    BrokerChannel& broker = *ends.broker;
    SendStatus sent = SendStatus::kSent;
    if (const auto* grant = std::get_if<flow::Grant>(&*message)) {
      require(grant->socket.get() == raw && grant->id.generation != 0);
      require_sound(grant->shaping);
      sent = broker.send_grant(grant->id, raw, grant->path_mtu, grant->receive_window, grant->shaping);
    } else if (const auto* refusal = std::get_if<FlowRefusal>(&*message)) {
      sent = broker.send_refuse(refusal->id, refusal->how);
    } else if (const auto* cut = std::get_if<FlowRevocation>(&*message)) {
      sent = broker.send_revoke(cut->id, cut->how);
    } else if (const auto* reshape = std::get_if<FlowReshape>(&*message)) {
      require_sound(reshape->shaping);
      sent = broker.send_reshape(reshape->id, reshape->shaping);
    } else if (const auto* late = std::get_if<flow::LateDatagram>(&*message)) {
      sent = broker.send_late_datagram(late->id, late->payload);
    } else {
      const auto& in = std::get<flow::Inbound>(*message);
      require(in.socket.get() == raw && in.offer != 0 && ports_can_exist(in.tuple));
      require_sound(in.shaping);
      const InboundOffer offer{in.offer, in.tuple, in.path_mtu, in.receive_window, in.shaping};
      sent = broker.send_inbound(offer, raw, in.first);
    }
    require(sent == SendStatus::kSent);
    require_sent(ends.peer_of_broker.get(), bytes);
  }
  require(raw < 0 || ::fcntl(raw, F_GETFD) < 0);  // closed with the value
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Ends ends;
  fuzz::Input in{data, size};
  const unsigned how = in.u8();
  // On the heap, of exact size, and at an address that suits no structure.
  const base::Bytes given = in.rest();
  std::vector<std::byte> copy(given.size() + 1);
  std::ranges::copy(given, copy.begin() + 1);
  const base::Bytes bytes = std::span(copy).subspan(1);
  if ((how & 1U) == 0) {
    from_translator(ends, bytes);
  } else {
    from_broker(ends, bytes,
                (how & 2U) != 0 ? base::Fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)} : base::Fd{});
  }
  return 0;
}
