#include "core/vhost/message.h"

#include <cstring>
#include <type_traits>

#include "core/base/check.h"

namespace cordon::vhost {
namespace {

constexpr std::uint32_t kVersionMask = 0x3;
constexpr std::uint32_t kVersion = 0x1;
constexpr std::uint32_t kReplyFlag = 0x4;
constexpr std::uint32_t kNeedReply = 0x8;
constexpr std::uint64_t kIndexMask = 0xff;
constexpr std::uint64_t kNoFd = 0x100;

constexpr std::string_view kBadSize = "has the wrong size";
constexpr std::string_view kBadFds = "has the wrong number of descriptors";

using Parsed = std::expected<Body, std::string_view>;

// Values of a payload whose size was checked, one after the other.
class Reader {
 public:
  explicit Reader(base::Bytes bytes) : bytes_(bytes) {}
  template <class T>
  T take() {
    static_assert(std::is_unsigned_v<T>);
    CORDON_CHECK(bytes_.size() >= sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
    return value;
  }
  std::uint32_t u32() { return take<std::uint32_t>(); }
  std::uint64_t u64() { return take<std::uint64_t>(); }

 private:
  base::Bytes bytes_;
};

bool wraps(std::uint64_t start, std::uint64_t size) { return size > UINT64_MAX - start; }

std::expected<MemoryRegion, std::string_view> take_region(Reader& reader) {
  MemoryRegion region;
  region.guest.value = reader.u64();
  region.size = reader.u64();
  region.user.value = reader.u64();
  region.offset = reader.u64();
  if (region.size == 0) return std::unexpected("has a region of no size");
  if (wraps(region.guest.value, region.size) || wraps(region.user.value, region.size) ||
      wraps(region.offset, region.size))
    return std::unexpected("has a region that wraps");
  return region;
}

template <class T>
Parsed empty(Reader&, std::size_t) {
  return T{};
}
template <class T>
Parsed bits(Reader& reader, std::size_t) {
  return T{reader.u64()};
}
Parsed set_log_base(Reader& reader, std::size_t) {
  SetLogBase log;
  log.size = reader.u64();
  log.offset = reader.u64();
  if (log.size == 0 || wraps(log.offset, log.size)) return std::unexpected("has no size, or wraps");
  return log;
}
template <class T>
Parsed vring_state(Reader& reader, std::size_t) {
  const std::uint32_t index = reader.u32();
  const std::uint32_t value = reader.u32();
  if constexpr (std::is_same_v<T, GetVringBase>)
    return T{index};  // the value means nothing
  else
    return T{index, value};
}
Parsed set_vring_enable(Reader& reader, std::size_t) {
  const std::uint32_t index = reader.u32();
  const std::uint32_t value = reader.u32();
  if (value > 1) return std::unexpected("says neither on nor off");
  return SetVringEnable{index, value == 1};
}
Parsed set_vring_addr(Reader& reader, std::size_t) {
  SetVringAddr addr;
  addr.index = reader.u32();
  const std::uint32_t flags = reader.u32();
  if ((flags & ~1U) != 0) return std::unexpected("has flags that do not exist");
  addr.log = flags != 0;
  addr.descriptors.value = reader.u64();
  addr.used.value = reader.u64();
  addr.available.value = reader.u64();
  addr.log_address.value = reader.u64();
  return addr;
}
template <class T>
Parsed vring_fd(Reader& reader, std::size_t fds) {
  const std::uint64_t value = reader.u64();
  if ((value & ~(kIndexMask | kNoFd)) != 0) return std::unexpected("has flags that do not exist");
  const bool has_fd = (value & kNoFd) == 0;
  if (fds != (has_fd ? 1 : 0)) return std::unexpected(kBadFds);
  if constexpr (std::is_same_v<T, SetVringErr>)
    return T{};
  else
    return T{static_cast<std::uint32_t>(value & kIndexMask), has_fd};
}
template <class T>
Parsed mem_reg(Reader& reader, std::size_t) {
  reader.u64();  // padding
  const auto region = take_region(reader);
  if (!region) return std::unexpected(region.error());
  return T{*region};
}
Parsed set_status(Reader& reader, std::size_t) {
  const std::uint64_t value = reader.u64();
  if (value > 0xff) return std::unexpected("has bits that do not exist");
  return SetStatus{static_cast<std::uint8_t>(value)};
}

// Requests whose size and number of descriptors are always the same; a range where front ends differ.
struct Row {
  Request request;
  std::string_view name;
  std::size_t size;
  std::size_t least_fds;
  std::size_t most_fds;
  Parsed (*read)(Reader&, std::size_t fds);
};

constexpr Row kRows[] = {
    {Request::kGetFeatures, "GET_FEATURES", 0, 0, 0, empty<GetFeatures>},
    {Request::kSetFeatures, "SET_FEATURES", 8, 0, 0, bits<SetFeatures>},
    {Request::kSetOwner, "SET_OWNER", 0, 0, 0, empty<SetOwner>},
    {Request::kResetOwner, "RESET_OWNER", 0, 0, 0, empty<ResetOwner>},
    {Request::kSetLogBase, "SET_LOG_BASE", 16, 1, 1, set_log_base},
    {Request::kSetLogFd, "SET_LOG_FD", 0, 1, 1, empty<SetLogFd>},
    {Request::kSetVringNum, "SET_VRING_NUM", 8, 0, 0, vring_state<SetVringNum>},
    {Request::kSetVringAddr, "SET_VRING_ADDR", 40, 0, 0, set_vring_addr},
    {Request::kSetVringBase, "SET_VRING_BASE", 8, 0, 0, vring_state<SetVringBase>},
    {Request::kGetVringBase, "GET_VRING_BASE", 8, 0, 0, vring_state<GetVringBase>},
    {Request::kSetVringKick, "SET_VRING_KICK", 8, 0, 1, vring_fd<SetVringKick>},
    {Request::kSetVringCall, "SET_VRING_CALL", 8, 0, 1, vring_fd<SetVringCall>},
    {Request::kSetVringErr, "SET_VRING_ERR", 8, 0, 1, vring_fd<SetVringErr>},
    {Request::kGetProtocolFeatures, "GET_PROTOCOL_FEATURES", 0, 0, 0, empty<GetProtocolFeatures>},
    {Request::kSetProtocolFeatures, "SET_PROTOCOL_FEATURES", 8, 0, 0, bits<SetProtocolFeatures>},
    {Request::kGetQueueNum, "GET_QUEUE_NUM", 0, 0, 0, empty<GetQueueNum>},
    {Request::kSetVringEnable, "SET_VRING_ENABLE", 8, 0, 0, set_vring_enable},
    {Request::kSendRarp, "SEND_RARP", 8, 0, 0, empty<SendRarp>},
    {Request::kGetMaxMemSlots, "GET_MAX_MEM_SLOTS", 0, 0, 0, empty<GetMaxMemSlots>},
    {Request::kAddMemReg, "ADD_MEM_REG", 40, 1, 1, mem_reg<AddMemReg>},
    // Some front ends send the region's descriptor again.
    {Request::kRemMemReg, "REM_MEM_REG", 40, 0, 1, mem_reg<RemMemReg>},
    {Request::kSetStatus, "SET_STATUS", 8, 0, 0, set_status},
    {Request::kGetStatus, "GET_STATUS", 0, 0, 0, empty<GetStatus>},
};

// The others have a size that depends on what is in them, or only a name.
struct Name {
  std::uint32_t request;
  std::string_view name;
};
constexpr Name kNames[] = {
    {5, "SET_MEM_TABLE"},         {20, "NET_SET_MTU"},
    {21, "SET_BACKEND_REQ_FD"},   {22, "IOTLB_MSG"},
    {23, "SET_VRING_ENDIAN"},     {24, "GET_CONFIG"},
    {25, "SET_CONFIG"},           {26, "CREATE_CRYPTO_SESSION"},
    {27, "CLOSE_CRYPTO_SESSION"}, {28, "POSTCOPY_ADVISE"},
    {29, "POSTCOPY_LISTEN"},      {30, "POSTCOPY_END"},
    {31, "GET_INFLIGHT_FD"},      {32, "SET_INFLIGHT_FD"},
    {33, "GPU_SET_SOCKET"},       {34, "RESET_DEVICE"},
    {35, "VRING_KICK"},           {41, "GET_SHARED_OBJECT"},
    {42, "SET_DEVICE_STATE_FD"},  {43, "CHECK_DEVICE_STATE"},
    {44, "GET_SHMEM_CONFIG"},
};

Parsed parse_mem_table(base::Bytes payload, std::size_t fds) {
  constexpr std::size_t kRegion = 32;
  constexpr std::size_t kHead = 8;
  if (payload.size() < kHead) return std::unexpected(kBadSize);
  Reader reader(payload);
  const std::uint32_t count = reader.u32();
  reader.u32();  // padding
  SetMemTable table;
  if (count == 0 || count > table.regions.size()) return std::unexpected("has no regions, or too many");
  if (payload.size() != kHead + count * kRegion) return std::unexpected(kBadSize);
  if (fds != count) return std::unexpected(kBadFds);
  for (table.count = 0; table.count < count; ++table.count) {
    const auto region = take_region(reader);
    if (!region) return std::unexpected(region.error());
    table.regions[table.count] = *region;
  }
  return table;
}

Parsed parse_get_config(base::Bytes payload, std::size_t fds) {
  constexpr std::size_t kHead = 12;
  if (fds != 0) return std::unexpected(kBadFds);
  if (payload.size() < kHead) return std::unexpected(kBadSize);
  Reader reader(payload);
  GetConfig asked;
  asked.offset = reader.u32();
  asked.size = reader.u32();
  asked.flags = reader.u32();
  if (payload.size() != kHead + std::uint64_t{asked.size}) return std::unexpected(kBadSize);
  if (asked.size == 0 || std::uint64_t{asked.offset} + asked.size > kMaxConfigSize)
    return std::unexpected("asks for more than there is");
  return asked;
}

Parsed parse_body(const Header& header, base::Bytes payload, std::size_t fds) {
  if (header.request == static_cast<std::uint32_t>(Request::kSetMemTable))
    return parse_mem_table(payload, fds);
  if (header.request == static_cast<std::uint32_t>(Request::kGetConfig))
    return parse_get_config(payload, fds);
  for (const Row& row : kRows) {
    if (static_cast<std::uint32_t>(row.request) != header.request) continue;
    if (payload.size() != row.size) return std::unexpected(kBadSize);
    if (fds < row.least_fds || fds > row.most_fds) return std::unexpected(kBadFds);
    Reader reader(payload);
    return row.read(reader, fds);
  }
  return Unsupported{};
}

}  // namespace

std::string_view request_name(std::uint32_t request) {
  for (const Row& row : kRows)
    if (static_cast<std::uint32_t>(row.request) == request) return row.name;
  for (const Name& known : kNames)
    if (known.request == request) return known.name;
  return "an unknown request";
}

std::expected<Header, std::string_view> parse_header(std::span<const std::byte, kHeaderSize> bytes) {
  Reader reader(bytes);
  Header header;
  header.request = reader.u32();
  const std::uint32_t flags = reader.u32();
  header.size = reader.u32();
  header.need_reply = (flags & kNeedReply) != 0;
  if ((flags & kVersionMask) != kVersion) return std::unexpected("has another protocol version");
  if ((flags & kReplyFlag) != 0) return std::unexpected("is an answer that nobody asked for");
  if ((flags & ~(kVersionMask | kReplyFlag | kNeedReply)) != 0)
    return std::unexpected("has flags that do not exist");
  if (header.size > kMaxPayload) return std::unexpected("is too long");
  return header;
}

std::expected<Message, std::string_view> parse(const Header& header, base::Bytes payload, std::size_t fds) {
  CORDON_CHECK(payload.size() == header.size);
  auto body = parse_body(header, payload, fds);
  if (!body) return std::unexpected(body.error());
  // Assigned, not constructed from it: there GCC 12 (-O2, inlined, strict aliasing) loses the body's first 8
  // bytes.
  Message message;
  message.request = header.request;
  message.need_reply = header.need_reply;
  message.body = *body;
  return message;
}

Reply::Reply(std::uint32_t request, base::Bytes payload) : size_(kHeaderSize + payload.size()) {
  CORDON_CHECK(size_ <= bytes_.size());
  const std::array<std::uint32_t, 3> header{request, kVersion | kReplyFlag,
                                            static_cast<std::uint32_t>(payload.size())};
  std::memcpy(bytes_.data(), header.data(), kHeaderSize);
  if (!payload.empty()) std::memcpy(&bytes_[kHeaderSize], payload.data(), payload.size());
}

Reply Reply::number(std::uint32_t request, std::uint64_t value) {
  return {request, base::as_bytes(&value, sizeof value)};
}

Reply Reply::vring_state(std::uint32_t request, std::uint32_t index, std::uint32_t value) {
  const std::array<std::uint32_t, 2> state{index, value};
  return {request, std::as_bytes(std::span(state))};
}

Reply Reply::config(const GetConfig& asked, base::Bytes data) {
  CORDON_CHECK(data.size() == asked.size);
  std::array<std::byte, 12 + kMaxConfigSize> payload;
  const std::array<std::uint32_t, 3> head{asked.offset, asked.size, asked.flags};
  std::memcpy(payload.data(), head.data(), sizeof head);
  std::memcpy(&payload[sizeof head], data.data(), data.size());
  return {static_cast<std::uint32_t>(Request::kGetConfig),
          std::span(payload).first(sizeof head + data.size())};
}

}  // namespace cordon::vhost
