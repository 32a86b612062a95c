#include "core/lan/dhcp_server.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/wire/frame_builder.h"
#include "core/wire/name_list.h"
#include "core/wire/option_writer.h"

namespace cordon::lan {
namespace {

using wire::DhcpType;
namespace option = wire::dhcp_option;

constexpr net::Ipv4Address kEverybody{255, 255, 255, 255};
constexpr std::size_t kHeaders = 42;  // Ethernet, IPv4, UDP
constexpr std::size_t kSmallestClient = 576;
constexpr std::size_t kLargestDatagram = 1500;

Answer malformed(wire::ParseError error) { return {Outcome::kMalformed, error, 0}; }

void put(wire::OptionWriter& out, std::uint8_t code, base::Bytes value) {
  if (out.room() < value.size() + 2) return;
  out.number(code);
  out.number(static_cast<std::uint8_t>(value.size()));
  out.bytes(value);
}
void put(wire::OptionWriter& out, std::uint8_t code, net::Ipv4Address address) {
  put(out, code, std::as_bytes(std::span(address.bytes())));
}
template <std::unsigned_integral T>
void put_number(wire::OptionWriter& out, std::uint8_t code, T value) {
  std::array<std::byte, sizeof(T)> bytes{};
  base::store_be<T>(bytes, value);
  put(out, code, bytes);
}
void put_text(wire::OptionWriter& out, std::uint8_t code, std::string_view text) {
  put(out, code, base::as_bytes(text.data(), text.size()));
}

// RFC 3396: a value above 255 bytes goes out in pieces. All or nothing.
void put_long(wire::OptionWriter& out, std::uint8_t code, base::Bytes value) {
  const std::size_t pieces = (value.size() + 254) / 255;
  if (value.empty() || out.room() < value.size() + 2 * pieces) return;
  for (; !value.empty(); value = value.subspan(std::min<std::size_t>(value.size(), 255)))
    put(out, code, value.first(std::min<std::size_t>(value.size(), 255)));
}

void put_name_servers(const LanAddresses& lan, wire::OptionWriter& out) {
  std::array<std::byte, kNameServers * net::Ipv4Address::kSize> bytes{};
  std::size_t size = 0;
  for (const auto& server : name_servers(lan)) {
    if (!server) continue;
    std::ranges::copy(std::as_bytes(server->bytes()), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    size += net::Ipv4Address::kSize;
  }
  if (size > 0) put(out, option::kDns, base::Bytes{bytes}.first(size));
}

net::Ipv4Address mask_of(unsigned length) {
  return net::Ipv4Address::from_u32(length == 0 ? 0 : ~std::uint32_t{0} << (32 - length));
}

}  // namespace

struct DhcpServer::Reply {
  DhcpType type = DhcpType::kAck;
  bool leases = true;  // carries an address and its times; false for INFORM
};

DhcpServer::DhcpServer(const LanConfig& config) : config_(config) { CORDON_CHECK(config.v4.has_value()); }

Answer DhcpServer::on_message(const wire::Packet& packet, base::Bytes payload, ReplyBuffer out) const {
  const auto request = wire::DhcpView::parse(payload);
  if (!request) return malformed(request.error());
  if (request->client_mac() != config_.guest_mac)
    return {Outcome::kForeignSender, {}, 0, net::IpAddress{request->client_address()}};
  if (request->relay_address() != net::Ipv4Address{}) return {Outcome::kRelayed, {}, 0};
  const bool other_server = request->server() && *request->server() != server();
  switch (request->type()) {
    case DhcpType::kDiscover:
      return send(*request, {request->rapid_commit() ? DhcpType::kAck : DhcpType::kOffer}, out);
    case DhcpType::kRequest:
      return other_server ? Answer{Outcome::kNotForUs, {}, 0} : answer_request(*request, out);
    case DhcpType::kInform: return answer_inform(packet, *request, out);
    case DhcpType::kRelease:
    case DhcpType::kDecline: return {other_server ? Outcome::kNotForUs : Outcome::kNothingToSay, {}, 0};
    case DhcpType::kOffer:
    case DhcpType::kAck:
    case DhcpType::kNak: break;
  }
  return malformed(wire::ParseError::kDhcpMessageType);
}

// The four states of RFC 2131 section 4.3.2 differ in which fields are filled.
Answer DhcpServer::answer_request(const wire::DhcpView& request, ReplyBuffer out) const {
  const bool has_address = request.client_address() != net::Ipv4Address{};
  // SELECTING and INIT-REBOOT name the address by option, RENEWING and REBINDING by ciaddr.
  if (!request.requested() && !has_address) return malformed(wire::ParseError::kDhcpState);
  // Both: some clients repeat themselves; a contradiction is nobody's state.
  if (request.requested() && has_address && *request.requested() != request.client_address())
    return malformed(wire::ParseError::kDhcpState);
  const net::Ipv4Address wanted = request.requested().value_or(request.client_address());
  return send(request, {wanted == lease() ? DhcpType::kAck : DhcpType::kNak}, out);
}

// The client has an address and wants settings. It says which in ciaddr; some leave that to the packet.
Answer DhcpServer::answer_inform(const wire::Packet& packet, const wire::DhcpView& request,
                                 ReplyBuffer out) const {
  const net::IpAddress own = request.client_address() == net::Ipv4Address{}
                                 ? packet.source
                                 : net::IpAddress{request.client_address()};
  if (!is_assigned(config_, own)) return {Outcome::kForeignSender, {}, 0, own};
  return send(request, {DhcpType::kAck, false}, out);
}

Answer DhcpServer::send(const wire::DhcpView& request, const Reply& reply, ReplyBuffer out) const {
  using namespace wire::dhcp_layout;
  const bool nak = reply.type == DhcpType::kNak;
  const net::Ipv4Address client = request.client_address();
  const std::size_t most =
      std::min<std::size_t>(request.max_size().value_or(kSmallestClient), kLargestDatagram) - 28;
  const base::MutableBytes message = out.subspan(kHeaders, most);
  std::ranges::fill(message, std::byte{0});
  Operation::put(message, 2);
  HardwareType::put(message, 1);
  HardwareLength::put(message, 6);
  Transaction::put(message, request.transaction());
  Flags::put(message, request.wants_broadcast() ? kBroadcast : std::uint16_t{0});
  if (!nak && reply.type != DhcpType::kOffer) ClientAddress::put(message, client);
  if (!nak && reply.leases) YourAddress::put(message, lease());
  ClientMac::put(message, config_.guest_mac);
  Cookie::put(message, kCookie);

  wire::OptionWriter options{message.subspan(kFixed, most - kFixed - 1)};  // the end option has its place
  put_number(options, option::kMessageType, static_cast<std::uint8_t>(reply.type));
  put(options, option::kServerId, server());
  if (!nak && reply.leases) {
    const std::uint32_t seconds = config_.services.lease_seconds;
    put_number(options, option::kLeaseTime, seconds);
    put_number(options, option::kRenewalTime, seconds / 2);
    put_number(options, option::kRebindingTime, seconds / 8 * 7);
    if (request.type() == DhcpType::kDiscover && reply.type == DhcpType::kAck)
      put(options, option::kRapidCommit, base::Bytes{});
  }
  if (!request.client_id().empty()) put(options, option::kClientId, request.client_id());
  if (!nak) put_settings(request, options);
  std::size_t length = kFixed + options.size();
  message[length++] = std::byte{option::kEnd};
  length = std::max(length, kSmallest);

  // RFC 2131 section 4.1: to the client's address when it has one; else to everybody when it says that it
  // cannot receive anything else, and always for a NAK.
  const bool broadcast = nak || (client == net::Ipv4Address{} && request.wants_broadcast());
  const net::Ipv4Address to = broadcast ? kEverybody : client == net::Ipv4Address{} ? lease() : client;
  const wire::FrameTemplate frame({config_.our_mac,
                                   broadcast ? net::MacAddress::broadcast() : config_.guest_mac,
                                   {server(), net::Port{67}},
                                   {to, net::Port{68}}},
                                  wire::IpProtocol::kUdp);
  const iovec payload = wire::piece(message.first(length));
  std::array<std::byte, wire::kMaxHeaders> headers;
  const auto built = wire::build_udp(frame, std::span(&payload, 1), wire::ChecksumMode::kFull, headers);
  CORDON_CHECK(built.length == kHeaders);
  std::ranges::copy(std::span(headers).first<kHeaders>(), out.begin());
  return {Outcome::kReply, {}, kHeaders + length};
}

// In the order of importance: what comes last is left out first.
void DhcpServer::put_settings(const wire::DhcpView& request, wire::OptionWriter& options) const {
  const auto wanted = [&](std::uint8_t code) {
    return request.has_parameter_list() ? request.requests(code) : code != option::kClasslessRoutes;
  };
  const auto& lan = *config_.v4;
  if (wanted(option::kSubnetMask)) put(options, option::kSubnetMask, mask_of(lan.on_link.length()));
  if (wanted(option::kRouter)) put(options, option::kRouter, lan.gateway.v4());
  if (wanted(option::kClasslessRoutes)) put_routes(options);
  if (wanted(option::kDns)) put_name_servers(lan, options);
  if (wanted(option::kInterfaceMtu) && config_.announce_mtu)
    put_number(options, option::kInterfaceMtu, config_.mtu);
  if (wanted(option::kBroadcastAddress) && lan.on_link.length() < 31)
    put(options, option::kBroadcastAddress,
        net::Ipv4Address::from_u32(lan.on_link.address().v4().to_u32() |
                                   ~mask_of(lan.on_link.length()).to_u32()));
  put_fqdn(request, options);
  put_names(request, options);
}

void DhcpServer::put_names(const wire::DhcpView& request, wire::OptionWriter& options) const {
  const auto wanted = [&](std::uint8_t code) {
    return !request.has_parameter_list() || request.requests(code);
  };
  const Services& services = config_.services;
  if (wanted(option::kHostName) && services.hostname)
    put_text(options, option::kHostName, services.hostname->text());
  if (wanted(option::kDomainName)) {
    const auto own = services.fqdn ? services.fqdn->parent() : std::nullopt;
    if (own)
      put_text(options, option::kDomainName, own->text());
    else if (!services.search.empty())
      put_text(options, option::kDomainName, services.search.front().text());
  }
  if (wanted(option::kDomainSearch) && !services.search.empty()) {
    std::array<std::byte, 1024> names;
    wire::OptionWriter list{std::span(names).first(std::min(names.size(), options.room()))};
    wire::put_names_compressed(list, services.search);
    put_long(options, option::kDomainSearch, list.written());
  }
}

// RFC 4702 section 4: an answer to the client's option, or to its request for it. We update no DNS: N, and O
// where the client had asked us to (S).
void DhcpServer::put_fqdn(const wire::DhcpView& request, wire::OptionWriter& options) const {
  const auto& name = config_.services.fqdn;
  if (!name || (!request.fqdn_flags() && !request.requests(option::kFqdn))) return;
  constexpr unsigned kServerUpdates = 1;
  constexpr unsigned kOverridden = 2;
  constexpr unsigned kOnTheWire = 4;
  constexpr unsigned kNoUpdates = 8;
  const unsigned asked = request.fqdn_flags().value_or(kOnTheWire);
  std::array<std::byte, 255> value;
  wire::OptionWriter out{value};
  out.number(static_cast<std::uint8_t>(kNoUpdates | (asked & kOnTheWire) |
                                       ((asked & kServerUpdates) != 0 ? kOverridden : 0U)));
  out.number(std::uint16_t{0xffff});  // the two deprecated result codes
  const bool fits = (asked & kOnTheWire) != 0
                        ? wire::put_names(out, std::span(&*name, 1))
                        : out.bytes(base::as_bytes(name->text().data(), name->text().size()));
  if (fits) put(options, option::kFqdn, out.written());
}

// RFC 3442. A client that knows this option takes no route from anywhere else, so the default route is in it,
// and the way to a gateway outside of the subnet in front of that.
void DhcpServer::put_routes(wire::OptionWriter& options) const {
  const auto& lan = *config_.v4;
  const net::Ipv4Address gateway_address = server();
  const auto gateway = std::as_bytes(std::span(gateway_address.bytes()));
  std::array<std::byte, 14> value{};
  wire::OptionWriter routes{value};
  if (!lan.on_link.contains(lan.gateway)) {
    routes.number(std::uint8_t{32});
    routes.bytes(gateway);
    routes.number(std::uint32_t{0});  // on the link
  }
  routes.number(std::uint8_t{0});
  routes.bytes(gateway);
  put(options, option::kClasslessRoutes, routes.written());
}

}  // namespace cordon::lan
