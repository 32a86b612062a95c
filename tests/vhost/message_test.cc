// Messages: exact sizes, exact numbers of descriptors, and answers as QEMU demands them.
#include "core/vhost/message.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/vhost/wire.h"

using namespace cordon;
using namespace cordon::vhost;
using namespace cordon::vhost::test;

namespace {

struct Result {
  bool taken = false;
  bool unsupported = false;
  std::string why;
  Body body;
};

Result read(const Bytes& bytes, std::size_t fds) {
  Result result;
  const auto header = parse_header(std::span(bytes).first<12>());
  if (!header) return {false, false, std::string{header.error()}, {}};
  const auto message = parse(*header, std::span(bytes).subspan(12), fds);
  if (!message) return {false, false, std::string{message.error()}, {}};
  return {true, std::holds_alternative<Unsupported>(message->body), {}, message->body};
}

template <class T>
T body_of(std::uint32_t request, const Bytes& payload, std::size_t fds = 0) {
  const Result result = read(message_bytes(request, kPlain, payload), fds);
  CAPTURE(result.why);
  REQUIRE(std::holds_alternative<T>(result.body));
  return std::get<T>(result.body);
}

}  // namespace

TEST_CASE("vhost message: header") {
  struct Case {
    std::string_view name;
    std::uint32_t flags;
    std::uint32_t size;
    std::string_view why;
  };
  const Case cases[] = {
      {"plain", 1, 0, ""},
      {"asks for an acknowledgement", 9, 0, ""},
      {"version 0", 0, 0, "has another protocol version"},
      {"version 2", 2, 0, "has another protocol version"},
      {"version 3", 3, 0, "has another protocol version"},
      {"an answer", 5, 0, "is an answer that nobody asked for"},
      {"reserved bits", 0x11, 0, "has flags that do not exist"},
      {"all bits", 0xffffffff, 0, "has another protocol version"},
      {"longest", 1, 512, ""},
      {"longer", 1, 513, "is too long"},
      {"longest number", 1, 0xffffffff, "is too long"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const Bytes bytes = Payload{}.u32(1).u32(c.flags).u32(c.size);
    const auto header = parse_header(std::span(bytes).first<12>());
    CHECK(header.has_value() == c.why.empty());
    if (header)
      CHECK(header->need_reply == ((c.flags & 8U) != 0));
    else
      CHECK(header.error() == c.why);
  }
}

TEST_CASE("vhost message: every request has one size and one number of descriptors") {
  struct Case {
    std::uint32_t request;
    Bytes payload;
    std::size_t least;
    std::size_t most;
  };
  const Case cases[] = {
      {1, none(), 0, 0},                                                    // GET_FEATURES
      {2, number(0), 0, 0},                                                 // SET_FEATURES
      {3, none(), 0, 0},                                                    // SET_OWNER
      {4, none(), 0, 0},                                                    // RESET_OWNER
      {5, mem_table({{0, 0x1000, 0, 0}}), 1, 1},                            // SET_MEM_TABLE
      {5, mem_table(std::vector<RegionArgs>(8, {0, 0x1000, 0, 0})), 8, 8},  //
      {6, Payload{}.u64(1).u64(0), 1, 1},                                   // SET_LOG_BASE
      {7, none(), 1, 1},                                                    // SET_LOG_FD
      {8, state(0, 256), 0, 0},                                             // SET_VRING_NUM
      {9, addr(0, 0, 0, 0, 0), 0, 0},                                       // SET_VRING_ADDR
      {10, state(0, 0), 0, 0},                                              // SET_VRING_BASE
      {11, state(0, 0), 0, 0},                                              // GET_VRING_BASE
      {12, number(0), 1, 1},                                                // SET_VRING_KICK
      {12, number(0x100), 0, 0},                                            // without a descriptor
      {13, number(1), 1, 1},                                                // SET_VRING_CALL
      {13, number(0x101), 0, 0},                                            //
      {14, number(1), 1, 1},                                                // SET_VRING_ERR
      {14, number(0x101), 0, 0},                                            //
      {15, none(), 0, 0},                                                   // GET_PROTOCOL_FEATURES
      {16, number(0), 0, 0},                                                // SET_PROTOCOL_FEATURES
      {17, none(), 0, 0},                                                   // GET_QUEUE_NUM
      {18, state(0, 1), 0, 0},                                              // SET_VRING_ENABLE
      {19, number(0), 0, 0},                                                // SEND_RARP
      {24, Payload{}.u32(0).u32(12).u32(0).zeros(12), 0, 0},                // GET_CONFIG
      {36, none(), 0, 0},                                                   // GET_MAX_MEM_SLOTS
      {37, mem_reg({0, 0x1000, 0, 0}), 1, 1},                               // ADD_MEM_REG
      {38, mem_reg({0, 0x1000, 0, 0}), 0, 1},                               // REM_MEM_REG
      {39, number(0xf), 0, 0},                                              // SET_STATUS
      {40, none(), 0, 0},                                                   // GET_STATUS
  };
  for (const Case& c : cases) {
    CAPTURE(request_name(c.request));
    for (std::size_t fds = 0; fds <= 9; ++fds) {
      CAPTURE(fds);
      const Result result = read(message_bytes(c.request, kPlain, c.payload), fds);
      const bool fits = fds >= c.least && fds <= c.most;
      CHECK(result.taken == fits);
      CHECK_FALSE(result.unsupported);
      if (!fits) CHECK(result.why == "has the wrong number of descriptors");
    }
    for (const int difference : {-1, 1, 8, 100}) {
      if (difference < 0 && c.payload.empty()) continue;
      CAPTURE(difference);
      Bytes other = c.payload;
      other.resize(static_cast<std::size_t>(static_cast<int>(other.size()) + difference));
      const Result result = read(message_bytes(c.request, kPlain, other), c.least);
      CHECK_FALSE(result.taken);
      CHECK(result.why == "has the wrong size");
    }
  }
}

TEST_CASE("vhost message: what we do not offer has any size and any number of descriptors") {
  for (const std::uint32_t request :
       {0U, 20U, 21U, 22U, 23U, 25U, 28U, 31U, 32U, 34U, 35U, 41U, 42U, 43U, 77U, ~0U})
    for (const std::size_t size : {0U, 1U, 8U, 512U})
      for (const std::size_t fds : {0U, 1U, 8U}) {
        const Result result = read(message_bytes(request, kPlain, Payload{}.zeros(size)), fds);
        CHECK(result.taken);
        CHECK(result.unsupported);
      }
  CHECK(request_name(0) == "an unknown request");
  CHECK(request_name(~0U) == "an unknown request");
  CHECK(request_name(32) == "SET_INFLIGHT_FD");
  CHECK(request_name(5) == "SET_MEM_TABLE");
  CHECK(request_name(8) == "SET_VRING_NUM");
}

TEST_CASE("vhost message: memory tables that cannot be") {
  constexpr std::uint64_t kTop = UINT64_MAX;
  struct Case {
    std::string_view name;
    Bytes payload;
    std::size_t fds;
    std::string_view why;
  };
  const Case cases[] = {
      {"no regions", mem_table({}), 0, "has no regions, or too many"},
      {"nine", mem_table(std::vector<RegionArgs>(9, {0, 1, 0, 0})), 8, "has no regions, or too many"},
      {"2^32-1", Payload{}.u32(~0U).u32(0), 0, "has no regions, or too many"},
      {"more in the number than in the bytes", Payload{}.u32(2).u32(0).u64(0).u64(1).u64(0).u64(0), 2,
       "has the wrong size"},
      {"a descriptor for each is missing", mem_table({{0, 1, 0, 0}, {2, 1, 2, 0}}), 1,
       "has the wrong number of descriptors"},
      {"no size", mem_table({{0, 0, 0, 0}}), 1, "has a region of no size"},
      {"guest address wraps", mem_table({{kTop, 2, 0, 0}}), 1, "has a region that wraps"},
      {"user address wraps", mem_table({{0, 2, kTop, 0}}), 1, "has a region that wraps"},
      {"offset wraps", mem_table({{0, 2, 0, kTop}}), 1, "has a region that wraps"},
      {"size wraps", mem_table({{1, kTop, 1, 1}}), 1, "has a region that wraps"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const Result result = read(message_bytes(5, kPlain, c.payload), c.fds);
    CHECK_FALSE(result.taken);
    CHECK(result.why == c.why);
  }
}

TEST_CASE("vhost message: values that cannot be") {
  struct Case {
    std::string_view name;
    std::uint32_t request;
    Bytes payload;
    std::size_t fds;
    std::string_view why;
  };
  const Case cases[] = {
      {"enable with 2", 18, state(0, 2), 0, "says neither on nor off"},
      {"an unknown flag of an address", 9, addr(0, 2, 0, 0, 0), 0, "has flags that do not exist"},
      {"high bits beside an index", 12, number(0x1'0000'0000), 1, "has flags that do not exist"},
      {"an unknown flag of a kick", 12, number(0x200), 1, "has flags that do not exist"},
      {"status", 39, number(0x100), 0, "has bits that do not exist"},
      {"log without size", 6, Payload{}.u64(0).u64(0), 1, "has no size, or wraps"},
      {"log that wraps", 6, Payload{}.u64(2).u64(UINT64_MAX), 1, "has no size, or wraps"},
      {"config of no size", 24, Payload{}.u32(0).u32(0).u32(0), 0, "asks for more than there is"},
      {"config behind the end", 24, Payload{}.u32(250).u32(8).u32(0).zeros(8), 0,
       "asks for more than there is"},
      {"config offset wraps", 24, Payload{}.u32(~0U).u32(8).u32(0).zeros(8), 0,
       "asks for more than there is"},
      {"config size is not what follows", 24, Payload{}.u32(0).u32(~0U).u32(0).zeros(8), 0,
       "has the wrong size"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const Result result = read(message_bytes(c.request, kPlain, c.payload), c.fds);
    CHECK_FALSE(result.taken);
    CHECK(result.why == c.why);
  }
}

TEST_CASE("vhost message: fields come out as they went in") {
  const auto table = body_of<SetMemTable>(5, mem_table({{0x1000, 0x2000, 0x3000, 0x4000}, {5, 6, 7, 8}}), 2);
  CHECK(table.count == 2);
  CHECK(table.regions[0].guest.value == 0x1000);
  CHECK(table.regions[0].size == 0x2000);
  CHECK(table.regions[0].user.value == 0x3000);
  CHECK(table.regions[0].offset == 0x4000);
  CHECK(table.regions[1].guest.value == 5);
  const auto ring = body_of<SetVringAddr>(9, addr(3, 1, 0x10, 0x20, 0x30, 0x40));
  CHECK(ring.index == 3);
  CHECK(ring.log);
  CHECK(ring.descriptors.value == 0x10);
  CHECK(ring.used.value == 0x20);
  CHECK(ring.available.value == 0x30);
  CHECK(ring.log_address.value == 0x40);
  CHECK(body_of<SetVringKick>(12, number(0x101)).index == 1);
  CHECK_FALSE(body_of<SetVringKick>(12, number(0x101)).has_fd);
  CHECK(body_of<SetVringCall>(13, number(0xff), 1).index == 255);
  CHECK(body_of<SetVringCall>(13, number(0xff), 1).has_fd);
  CHECK(body_of<SetVringNum>(8, state(2, 77)).size == 77);
  CHECK(body_of<AddMemReg>(37, mem_reg({1, 2, 3, 4}), 1).region.user.value == 3);
}

TEST_CASE("vhost message: an answer has flags 0x5, the same number and the right size") {
  const auto check = [](const Reply& reply, const Bytes& payload, std::uint32_t request) {
    CHECK(Bytes(reply.bytes().begin(), reply.bytes().end()) == message_bytes(request, 0x5, payload));
  };
  check(Reply::number(1, 0x1234), number(0x1234), 1);
  check(Reply::vring_state(11, 3, 65535), state(3, 65535), 11);
  const Bytes data(8, std::byte{0xab});
  Bytes config = Payload{}.u32(4).u32(8).u32(1);
  config.insert(config.end(), data.begin(), data.end());
  check(Reply::config({.offset = 4, .size = 8, .flags = 1}, data), config, 24);
}
