#include "sandbox/control.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

namespace cordon::sandbox::control {
namespace {

constexpr std::uint16_t kVersion = 2;
enum class Type : std::uint16_t {
  kNewTranslator = 1,
  kResolvers = 2,
  kStop = 3,
  kNewPolicy = 4,
  kNewClient = 5,
  kNewAuditSink = 6,
  kNothingToLoad = 7,
  kRoleIsolation = 8,
  kReady = 16,
  kRevokeBegin = 17,
  kRevokeEnd = 18,
  kKillTranslator = 19,
  kReloadPolicy = 20,
  kReopenAudit = 21,
};

struct WireResolver {
  std::uint8_t family = 0;
  std::array<std::uint8_t, 3> reserved{};
  std::uint32_t scope_id = 0;
  std::array<std::uint8_t, 16> address{};
};
// `value`: serial, violation, worker, cause or number of resolvers, by type.
struct Short {
  std::uint16_t version = kVersion;
  std::uint16_t type = 0;
  std::uint32_t value = 0;
};
struct Long {
  Short header;
  std::array<WireResolver, kMaxResolvers> resolvers{};
};
static_assert(std::has_unique_object_representations_v<Long>);
// `value`: kOfLauncher, kFull. The text ends where its zeros begin.
struct Words {
  Short header;
  std::array<char, kMaxSummary> text{};
};
constexpr std::uint32_t kOfLauncher = 1;
constexpr std::uint32_t kFull = 2;

template <class Message>
base::Bytes bytes_of(const Message& message) {
  return base::as_bytes(&message, sizeof message);
}
Short make(Type type, std::uint32_t value = 0) {
  return {.type = static_cast<std::uint16_t>(type), .value = value};
}

struct Message {
  Long body;
  Words words;  // of one type
  base::Fd fd;
};

std::size_t size_of(Type type) {
  if (type == Type::kResolvers) return sizeof(Long);
  return type == Type::kRoleIsolation ? sizeof(Words) : sizeof(Short);
}

// Both ends are trusted, so whatever is wrong here is a fault of ours: kViolation without detail.
std::expected<Message, ReceiveStop> receive_message(int socket, AcceptFd accept) {
  Message message;
  Packet packet =
      receive_packet(socket, base::as_writable_bytes(&message.words, sizeof message.words), accept);
  switch (packet.status) {
    case PacketStatus::kEmpty: return std::unexpected(ReceiveStop::kEmpty);
    case PacketStatus::kClosed: return std::unexpected(ReceiveStop::kClosed);
    case PacketStatus::kBadFds: return std::unexpected(ReceiveStop::kViolation);
    case PacketStatus::kReceived: break;
  }
  static_assert(sizeof(Words) >= sizeof(Long));
  const Short& header = message.words.header;
  if (packet.size != size_of(static_cast<Type>(header.type)) || header.version != kVersion)
    return std::unexpected(ReceiveStop::kViolation);
  std::memcpy(static_cast<void*>(&message.body), &message.words, std::min(packet.size, sizeof message.body));
  message.fd = std::move(packet.fd);
  return message;
}

bool carries_fd(Type type) {
  return type == Type::kNewTranslator || type == Type::kNewPolicy || type == Type::kNewClient ||
         type == Type::kNewAuditSink;
}

std::expected<FromLauncher, ReceiveStop> load_resolvers(const Long& wire) {
  if (wire.header.value > kMaxResolvers) return std::unexpected(ReceiveStop::kViolation);
  Resolvers resolvers;
  for (const auto& entry : std::span{wire.resolvers}.first(wire.header.value)) {
    Resolver resolver{.address = {}, .scope_id = entry.scope_id};
    if (entry.family == static_cast<std::uint8_t>(net::Family::kIpv4))
      resolver.address =
          net::Ipv4Address{entry.address[0], entry.address[1], entry.address[2], entry.address[3]};
    else if (entry.family == static_cast<std::uint8_t>(net::Family::kIpv6))
      resolver.address = net::Ipv6Address{entry.address};
    else
      return std::unexpected(ReceiveStop::kViolation);
    resolvers.servers.push_back(resolver);
  }
  return resolvers;
}

}  // namespace

std::expected<FromLauncher, ReceiveStop> BrokerControl::receive() {
  auto message = CORDON_TRY(receive_message(fd_.get(), AcceptFd::kAtMostOne));
  const auto type = static_cast<Type>(message.body.header.type);
  if (message.fd.valid() != carries_fd(type)) return std::unexpected(ReceiveStop::kViolation);
  if (type == Type::kNewPolicy) {
    if (message.body.header.value > static_cast<std::uint32_t>(LoadCause::kControl))
      return std::unexpected(ReceiveStop::kViolation);
    return NewPolicy{std::move(message.fd), static_cast<LoadCause>(message.body.header.value)};
  }
  if (type == Type::kNewClient) return NewClient{std::move(message.fd)};
  if (type == Type::kNewAuditSink) return NewAuditSink{std::move(message.fd)};
  if (type == Type::kNewTranslator) {
    if (message.body.header.value >= kMaxWorkers) return std::unexpected(ReceiveStop::kViolation);
    return NewTranslator{std::move(message.fd), message.body.header.value};
  }
  if (type == Type::kResolvers) return load_resolvers(message.body);
  if (type == Type::kNothingToLoad) return NothingToLoad{};
  if (type == Type::kRoleIsolation) {
    const auto& text = message.words.text;
    return RoleIsolation{.of_launcher = (message.body.header.value & kOfLauncher) != 0,
                         .full = (message.body.header.value & kFull) != 0,
                         .summary = {text.data(), ::strnlen(text.data(), text.size())}};
  }
  if (type == Type::kStop) return Stop{};
  return std::unexpected(ReceiveStop::kViolation);
}

SendStatus BrokerControl::send(const FromBroker& message) {
  Short wire;
  if (const auto* ready = std::get_if<Ready>(&message)) wire = make(Type::kReady, ready->missing);
  if (const auto* begin = std::get_if<RevokeBegin>(&message)) wire = make(Type::kRevokeBegin, begin->serial);
  if (const auto* end = std::get_if<RevokeEnd>(&message)) wire = make(Type::kRevokeEnd, end->serial);
  if (const auto* kill = std::get_if<KillTranslator>(&message))
    wire = make(Type::kKillTranslator, static_cast<std::uint32_t>(kill->reason));
  if (std::holds_alternative<ReloadPolicy>(message)) wire = make(Type::kReloadPolicy);
  if (std::holds_alternative<ReopenAudit>(message)) wire = make(Type::kReopenAudit);
  return send_packet(fd_.get(), bytes_of(wire), Wait::kForRoom);
}

std::expected<FromBroker, ReceiveStop> LauncherControl::receive() {
  const auto message = CORDON_TRY(receive_message(fd_.get(), AcceptFd::kNone));
  const std::uint32_t value = message.body.header.value;
  const auto type = static_cast<Type>(message.body.header.type);
  if (type == Type::kReady) return Ready{value};
  if (type == Type::kRevokeBegin) return RevokeBegin{value};
  if (type == Type::kRevokeEnd) return RevokeEnd{value};
  if (type == Type::kKillTranslator && value <= static_cast<std::uint32_t>(Violation::kUncut))
    return KillTranslator{static_cast<Violation>(value)};
  if (type == Type::kReloadPolicy) return ReloadPolicy{};
  if (type == Type::kReopenAudit) return ReopenAudit{};
  return std::unexpected(ReceiveStop::kViolation);
}

SendStatus LauncherControl::send_new_translator(int channel, std::uint32_t worker) {
  const Short wire = make(Type::kNewTranslator, worker);
  return send_packet_with_fd(fd_.get(), bytes_of(wire), channel);
}

SendStatus LauncherControl::send_resolvers(const Resolvers& resolvers) {
  Long wire;
  const std::size_t count = std::min(resolvers.servers.size(), kMaxResolvers);
  wire.header = make(Type::kResolvers, static_cast<std::uint32_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    const Resolver& resolver = resolvers.servers[i];
    WireResolver& entry = wire.resolvers.at(i);
    entry.family = static_cast<std::uint8_t>(resolver.address.family());
    entry.scope_id = resolver.scope_id;
    std::ranges::copy(resolver.address.bytes(), entry.address.begin());
  }
  return send_packet(fd_.get(), bytes_of(wire));
}

SendStatus LauncherControl::send_new_policy(int bundle, LoadCause cause) {
  const Short wire = make(Type::kNewPolicy, static_cast<std::uint32_t>(cause));
  return send_packet_with_fd(fd_.get(), bytes_of(wire), bundle);
}

SendStatus LauncherControl::send_nothing_to_load() {
  const Short wire = make(Type::kNothingToLoad);
  return send_packet(fd_.get(), bytes_of(wire));
}

SendStatus LauncherControl::send_new_client(int socket) {
  const Short wire = make(Type::kNewClient);
  return send_packet_with_fd(fd_.get(), bytes_of(wire), socket);
}

SendStatus LauncherControl::send_new_audit_sink(int fd) {
  const Short wire = make(Type::kNewAuditSink);
  return send_packet_with_fd(fd_.get(), bytes_of(wire), fd);
}

SendStatus LauncherControl::send_isolation(const RoleIsolation& isolation) {
  Words wire;
  wire.header =
      make(Type::kRoleIsolation, (isolation.of_launcher ? kOfLauncher : 0) | (isolation.full ? kFull : 0));
  isolation.summary.copy(wire.text.data(), wire.text.size());
  return send_packet(fd_.get(), bytes_of(wire));
}

SendStatus LauncherControl::send_stop() {
  const Short wire = make(Type::kStop);
  return send_packet(fd_.get(), bytes_of(wire));
}

}  // namespace cordon::sandbox::control
