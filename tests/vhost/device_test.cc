// The device: what each message may do in which state.
#include "core/vhost/device.h"

#include <doctest/doctest.h>

#include "tests/vhost/device_rig.h"

using namespace cordon;
using namespace cordon::vhost;
using namespace cordon::vhost::test;

namespace {

constexpr std::uint64_t kVersion1 = 1ULL << 32U;
constexpr std::uint64_t kProtocol = 1ULL << 30U;

}  // namespace

// Bits may be added to this table, never taken out of it (see features.h).
TEST_CASE("vhost device: what was offered once is offered for ever") {
  constexpr std::uint64_t kBase = 0x01c0'0001'7400'9983;  // see the bits below
  const unsigned always[] = {0, 1, 7, 8, 11, 12, 15, 26, 28, 29, 30, 32, 54, 55, 56};
  std::uint64_t sum = 0;
  for (const unsigned bit : always) sum |= 1ULL << bit;
  CHECK(sum == kBase);
  struct Case {
    std::string_view name;
    DeviceOptions options;
    std::uint64_t features;
    std::uint64_t protocol;  // REPLY_ACK 3, RARP 2, LOG_SHMFD 1, slots 15, STATUS 16
  };
  constexpr std::uint64_t kProtocolBase = 0x1800e;
  const net::MacAddress mac = *net::parse_mac("02:00:00:00:00:15");
  const Case cases[] = {
      {"QEMU, one pair", {}, kBase, kProtocolBase},
      {"QEMU, one pair, a MAC", {.mac = mac}, kBase, kProtocolBase},
      {"QEMU, four pairs", {.pairs = 4}, kBase | 1ULL << 22U, kProtocolBase | 1},
      {"Cloud Hypervisor, one pair",
       {.front_end = FrontEnd::kCloudHypervisor},
       kBase,
       kProtocolBase | 1U << 9U},
      {"Cloud Hypervisor, two pairs, a MAC",
       {.front_end = FrontEnd::kCloudHypervisor, .pairs = 2, .mac = mac},
       kBase | 1ULL << 22U | 1ULL << 17U | 1ULL << 5U,
       kProtocolBase | 1U << 9U | 1},
      {"crosvm, one pair", {.front_end = FrontEnd::kCrosvm}, kBase, kProtocolBase | 1U << 9U | 1},
      {"crosvm, two pairs",
       {.front_end = FrontEnd::kCrosvm, .pairs = 2},
       kBase | 1ULL << 22U,
       kProtocolBase | 1U << 9U | 1},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    DeviceRig rig(c.options);
    CHECK(rig.say(1).says(c.features));
    CHECK(rig.say(15).says(c.protocol));
  }
}

TEST_CASE("vhost device: the number of queues as each front end counts") {
  struct Case {
    FrontEnd front_end;
    unsigned pairs;
    std::uint64_t answer;
  };
  const Case cases[] = {{FrontEnd::kQemu, 1, 1},
                        {FrontEnd::kQemu, 8, 8},
                        {FrontEnd::kCloudHypervisor, 2, 4},
                        {FrontEnd::kCrosvm, 1, 2},
                        {FrontEnd::kCrosvm, 16, 32}};
  for (const Case& c : cases) {
    DeviceRig rig({.front_end = c.front_end, .pairs = c.pairs});
    CHECK(rig.say(17).says(c.answer));
  }
  CHECK(DeviceRig{}.say(36).says(32));  // GET_MAX_MEM_SLOTS must not shrink either
}

TEST_CASE("vhost device: features that were not offered are refused, and change nothing") {
  for (unsigned bit = 0; bit < 64; ++bit) {
    CAPTURE(bit);
    constexpr std::uint64_t kOffered = 0x01c0'0001'7400'9983;
    const bool offered = (kOffered >> bit & 1U) != 0;
    DeviceRig rig;
    CHECK(rig.ask(2, number(1ULL << bit)).says(offered ? 0 : 1));
    CHECK(rig.say(2, number(1ULL << bit)).violation() == !offered);
    const bool protocol_offered = (0x1800eULL >> bit & 1U) != 0;
    CHECK(rig.ask(16, number(1ULL << bit)).says(protocol_offered ? 0 : 1));
  }
}

TEST_CASE("vhost device: an offload without its checksum is none") {
  CHECK_FALSE(negotiate(1ULL << 7U | 1ULL << 8U | 1ULL << 54U | 1ULL << 55U).guest_tso4);
  CHECK_FALSE(negotiate(1ULL << 54U).guest_uso4);
  CHECK_FALSE(negotiate(1ULL << 11U).host_tso4);
  CHECK_FALSE(negotiate(1ULL << 56U).host_uso);
  const Negotiated all = negotiate(0x01c0'0001'7400'9983);
  CHECK(all.merge_buffers);
  CHECK(all.guest_checksum);
  CHECK(all.guest_tso4);
  CHECK(all.guest_tso6);
  CHECK(all.guest_uso4);
  CHECK(all.guest_uso6);
  CHECK(all.checksum);
  CHECK(all.host_tso4);
  CHECK(all.host_tso6);
  CHECK(all.host_uso);
  CHECK(all.event_index);
  CHECK(all.indirect);
  CHECK(all.log_all);
}

TEST_CASE("vhost device: a ring runs when all it needs is there, in any order, and not before") {
  // The steps, as bits of a subset; every subset but the full one leaves the ring at rest.
  for (unsigned subset = 0; subset < 8; ++subset) {
    CAPTURE(subset);
    DeviceRig rig;
    rig.give_memory();
    rig.set_up(0, 128, 7);
    if ((subset & 1U) != 0) CHECK(rig.say(2, number(kVersion1 | kProtocol)).done());
    if ((subset & 2U) != 0) CHECK(rig.say(12, number(0), 1).done());
    if ((subset & 4U) != 0) CHECK(rig.say(18, state(0, 1)).done());
    // Until the protocol extension is acknowledged nobody has to enable anything, but VERSION_1 is missing.
    CHECK(rig.runs(0) == (subset == 7));
    CHECK_FALSE(rig.runs(1));
    if (subset != 7) continue;
    const auto ring = rig.device.ring(0);
    CHECK(ring->size == 128);
    CHECK(ring->base == 7);
    CHECK(ring->descriptors.size() == 16 * 128);
    CHECK(ring->available.size() == 6 + 2 * 128);
    CHECK(ring->used.size() == 6 + 8 * 128);
    CHECK(ring->descriptors.data() == rig.table.at(UserAddress{kUser}, 1)->data());
    CHECK_FALSE(ring->used_logged);
  }
}

TEST_CASE("vhost device: without the protocol extension a ring runs from its kick") {
  DeviceRig rig;
  rig.give_memory();
  CHECK(rig.say(2, number(kVersion1)).done());
  rig.set_up(1);
  CHECK_FALSE(rig.runs(1));
  CHECK(rig.say(12, number(1), 1).done());
  CHECK(rig.runs(1));
}

TEST_CASE("vhost device: a driver without VERSION_1 gets no ring, and the device lives") {
  DeviceRig rig;
  rig.give_memory();
  CHECK(rig.say(2, number(kProtocol)).done());
  rig.start(0);
  CHECK_FALSE(rig.runs(0));
}

TEST_CASE("vhost device: a started ring is frozen") {
  DeviceRig rig;
  rig.give_memory();
  REQUIRE(rig.say(2, number(kVersion1 | kProtocol)).done());
  rig.start(0);
  struct Case {
    std::string_view name;
    std::uint32_t request;
    Bytes payload;
    bool done;
  };
  const Case cases[] = {
      {"size", 8, state(0, 512), false},
      {"the same size", 8, state(0, 256), false},
      {"base", 10, state(0, 0), false},
      {"addresses", 9, addr(0, 0, kUser + 0x10000, kUser + 0x15000, kUser + 0x14000), false},
      {"features", 2, number(kVersion1 | kProtocol | 1), false},
      {"no features", 2, number(0), false},
      {"protocol features", 16, number(8), false},
      {"the same features", 2, number(kVersion1 | kProtocol), true},
      {"the log of writes", 2, number(kVersion1 | kProtocol | 1ULL << 26U), true},
      {"the log of used entries", 9, DeviceRig::ring_addr(0, 1, 0x5000), true},
      {"another queue's size", 8, state(1, 512), true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    CHECK(rig.ask(c.request, c.payload).says(c.done ? 0 : 1));
    if (!c.done) CHECK(rig.say(c.request, c.payload).violation());
    CHECK(rig.runs(0));
    CHECK(rig.device.ring(0)->size == 256);
  }
  CHECK(rig.device.ring(0)->used_logged->value == 0x5000);
  // Disabled it is frozen still: a driver may enable it again at once. Stopped it is not.
  CHECK(rig.say(18, state(0, 0)).done());
  CHECK(rig.ask(8, state(0, 512)).says(1));
  CHECK(rig.say(11, state(0, 0)).payload().has_value());
  CHECK(rig.ask(8, state(0, 512)).says(0));
}

TEST_CASE("vhost device: rings that cannot be") {
  struct Case {
    std::string_view name;
    std::uint32_t request;
    Bytes payload;
    std::size_t fds;
  };
  const std::uint64_t end = kUser + kMemorySize;
  const Case cases[] = {
      {"size 0", 8, state(0, 0), 0},
      {"size 3", 8, state(0, 3), 0},
      {"size 1025", 8, state(0, 1025), 0},
      {"size 2048", 8, state(0, 2048), 0},
      {"size 32769", 8, state(0, 32769), 0},
      {"size 2^31", 8, state(0, 0x80000000), 0},
      {"queue 2 of 2", 8, state(2, 256), 0},
      {"queue 2^32-1", 8, state(~0U, 256), 0},
      {"base 65536", 10, state(0, 65536), 0},
      {"base of queue 2", 10, state(2, 0), 0},
      {"enable of queue 2", 18, state(2, 1), 0},
      {"kick of queue 2", 12, number(2), 1},
      {"call of queue 255", 13, number(255), 1},
      {"a ring to be polled", 12, number(0x100), 0},
      {"a ring that is not set up", 12, number(1), 1},
      {"addresses of queue 2", 9, addr(2, 0, kUser, kUser + 0x5000, kUser + 0x4000), 0},
      {"descriptors not aligned", 9, addr(0, 0, kUser + 8, kUser + 0x5000, kUser + 0x4000), 0},
      {"used not aligned", 9, addr(0, 0, kUser, kUser + 0x5002, kUser + 0x4000), 0},
      {"available not aligned", 9, addr(0, 0, kUser, kUser + 0x5000, kUser + 0x4001), 0},
      {"descriptors outside", 9, addr(0, 0, kUser - 0x1000, kUser + 0x5000, kUser + 0x4000), 0},
      {"descriptors over the end", 9, addr(0, 0, end - 16 * 255, kUser + 0x5000, kUser + 0x4000), 0},
      {"used over the end", 9, addr(0, 0, kUser, end - 8 * 256, kUser + 0x4000), 0},
      {"available over the end", 9, addr(0, 0, kUser, kUser + 0x5000, end - 2 * 256), 0},
      {"guest addresses in their place", 9, addr(0, 0, 0, 0x5000, 0x4000), 0},
      {"the largest address", 9, addr(0, 0, ~15ULL, kUser + 0x5000, kUser + 0x4000), 0},
      {"used within descriptors", 9, addr(0, 0, kUser, kUser + 0x100, kUser + 0x4000), 0},
      {"all at one place", 9, addr(0, 0, kUser, kUser, kUser), 0},
      {"available within used", 9, addr(0, 0, kUser, kUser + 0x5000, kUser + 0x5010), 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    DeviceRig rig;
    rig.give_memory();
    REQUIRE(rig.say(2, number(kVersion1 | kProtocol)).done());
    rig.set_up(0);
    CHECK(rig.ask(c.request, c.payload, c.fds).says(1));
    const Answer answer = rig.say(c.request, c.payload, c.fds);
    CHECK(answer.violation());
    CHECK_FALSE(answer.outcome.why.empty());
    CHECK_FALSE(answer.outcome.reply);
    CHECK_FALSE(rig.runs(0));
  }
  DeviceRig rig;
  CHECK(rig.ask(11, state(2, 0)).violation());  // GET_VRING_BASE has no way to say no
}

TEST_CASE("vhost device: addresses before memory or size wait, and are judged at the kick") {
  DeviceRig rig;
  REQUIRE(rig.say(2, number(kVersion1 | kProtocol)).done());
  REQUIRE(rig.say(9, DeviceRig::ring_addr(0)).done());
  REQUIRE(rig.say(8, state(0, 256)).done());
  CHECK(rig.ask(12, number(0), 1).says(1));  // no memory
  rig.give_memory();
  CHECK(rig.ask(12, number(0), 1).says(0));
  DeviceRig bad;
  REQUIRE(bad.say(9, addr(0, 0, kUser, kUser + kMemorySize, kUser + 0x4000)).done());
  REQUIRE(bad.say(8, state(0, 256)).done());
  bad.give_memory();
  CHECK(bad.ask(12, number(0), 1).says(1));
}

TEST_CASE("vhost device: a stopped ring goes on where it stood") {
  DeviceRig rig;
  rig.give_memory();
  REQUIRE(rig.say(2, number(kVersion1 | kProtocol)).done());
  rig.start(0);
  rig.findings.positions[0] = 65530;
  CHECK(rig.say(11, state(0, 0)).payload() == state(0, 65530));
  CHECK_FALSE(rig.runs(0));
  CHECK_FALSE(rig.device.started(0));
  rig.findings.positions[0] = 1;  // of a ring that does not run: means nothing
  CHECK(rig.say(11, state(0, 0)).payload() == state(0, 65530));
  CHECK(rig.say(12, number(0), 1).done());
  CHECK(rig.runs(0));
  CHECK(rig.device.ring(0)->base == 65530);
  // Any other change that makes a new configuration does not turn it back either.
  rig.findings.positions[0] = 9;
  rig.give_memory();
  CHECK(rig.device.ring(0)->base == 9);
  rig.findings.positions[0] = 11;
  CHECK(rig.say(18, state(0, 0)).done());
  CHECK_FALSE(rig.runs(0));
  CHECK(rig.say(18, state(0, 1)).done());
  CHECK(rig.device.ring(0)->base == 11);
}

TEST_CASE("vhost device: a ring waits while its memory is away") {
  DeviceRig rig;
  rig.give_memory();
  REQUIRE(rig.say(2, number(kVersion1 | kProtocol)).done());
  rig.start(0);
  rig.findings.positions[0] = 5;
  const MemoryTable nothing;
  rig.findings.table = &nothing;
  const Answer gone = rig.say(38, mem_reg({0, kMemorySize, kUser, 0}));
  CHECK(gone.done());
  CHECK(gone.outcome.changed[0]);
  CHECK_FALSE(rig.runs(0));
  rig.findings.positions[0] = 0;
  rig.findings.table = &rig.table;
  CHECK(rig.say(37, mem_reg({0, kMemorySize, kUser, 0}), 1).done());
  CHECK(rig.runs(0));
  CHECK(rig.device.ring(0)->base == 5);
}

TEST_CASE("vhost device: memory that could not be made leaves everything as it was") {
  DeviceRig rig;
  rig.give_memory();
  REQUIRE(rig.say(2, number(kVersion1 | kProtocol)).done());
  rig.start(0);
  rig.findings.table = nullptr;
  CHECK(rig.ask(5, mem_table({{0, 0x1000, 0, 0}}), 1).says(1));
  CHECK(rig.ask(37, mem_reg({0, 0x1000, 0, 0}), 1).says(1));
  CHECK(rig.ask(38, mem_reg({0, 0x1000, 0, 0})).says(1));
  CHECK(rig.runs(0));
  CHECK(rig.say(5, mem_table({{0, 0x1000, 0, 0}}), 1).violation());
}

TEST_CASE("vhost device: the log needs its memory and the feature") {
  DeviceRig rig;
  rig.give_memory();
  CHECK(rig.ask(6, Payload{}.u64(4096).u64(0), 1).says(1));  // could not be mapped
  rig.findings.log_mapped = true;
  CHECK(rig.say(6, Payload{}.u64(4096).u64(0), 1).silent());
  CHECK(rig.say(16, number(2)).done());  // LOG_SHMFD: always an answer
  CHECK(rig.say(6, Payload{}.u64(4096).u64(0), 1).says(0));
  CHECK_FALSE(rig.device.logging());
  CHECK(rig.say(2, number(kVersion1 | kProtocol | 1ULL << 26U)).done());
  CHECK(rig.device.logging());
  CHECK(rig.say(2, number(kVersion1 | kProtocol)).done());
  CHECK_FALSE(rig.device.logging());
}

TEST_CASE("vhost device: every ring stops at a reset") {
  for (const bool by_status : {true, false}) {
    CAPTURE(by_status);
    DeviceRig rig({.pairs = 2});
    rig.give_memory();
    REQUIRE(rig.say(2, number(kVersion1 | kProtocol)).done());
    for (unsigned i = 0; i < 4; ++i) rig.start(i);
    CHECK(rig.say(39, number(0xf)).done());
    CHECK(rig.say(40).says(0xf));
    for (unsigned i = 0; i < 4; ++i) CHECK(rig.runs(i));
    const Answer reset = by_status ? rig.say(39, number(0)) : rig.say(4);
    CHECK(reset.done());
    CHECK(reset.outcome.changed.count() == 4);
    for (unsigned i = 0; i < 4; ++i) CHECK_FALSE(rig.runs(i));
  }
}

TEST_CASE("vhost device: what we do not offer is answered where somebody listens") {
  DeviceRig rig;
  for (const std::uint32_t request : {0U, 20U, 21U, 22U, 23U, 25U, 28U, 31U, 32U, 34U, 41U, 77U, ~0U}) {
    CAPTURE(request);
    CHECK(rig.ask(request, number(1)).says(1));
    CHECK(rig.say(request, number(1)).violation());
  }
  CHECK(rig.say(42, number(0), 1).says(0x101));  // SET_DEVICE_STATE_FD: failed, no descriptor
  CHECK(rig.say(43).says(1));                    // CHECK_DEVICE_STATE
  CHECK(rig.say(19, number(0)).silent());        // SEND_RARP
  CHECK(rig.say(7, none(), 1).silent());         // SET_LOG_FD
  CHECK(rig.say(14, number(0), 1).silent());     // SET_VRING_ERR
}

TEST_CASE("vhost device: the configuration space, also for who has not asked for the feature") {
  DeviceRig rig({.pairs = 3, .mac = net::parse_mac("02:00:00:00:00:15"), .mtu = 1400});
  const auto got = rig.say(24, Payload{}.u32(0).u32(14).u32(0).zeros(14)).payload();
  REQUIRE(got);
  Bytes expected = Payload{}.u32(0).u32(14).u32(0);
  for (const unsigned byte : {2U, 0U, 0U, 0U, 0U, 0x15U, 1U, 0U, 3U, 0U, 1400U & 0xffU, 1400U >> 8U, 0U, 0U})
    expected.push_back(static_cast<std::byte>(byte));
  CHECK(*got == expected);
  Bytes mtu = Payload{}.u32(10).u32(2).u32(0);
  for (const unsigned byte : {1400U & 0xffU, 1400U >> 8U}) mtu.push_back(static_cast<std::byte>(byte));
  CHECK(rig.say(24, Payload{}.u32(10).u32(2).u32(0).zeros(2)).payload() == mtu);
}

TEST_CASE("vhost device: 10,000 starts and stops leave nothing behind") {
  DeviceRig rig;
  rig.give_memory();
  REQUIRE(rig.say(2, number(kVersion1 | kProtocol)).done());
  rig.set_up(0);
  for (unsigned i = 0; i < 10'000; ++i) {
    REQUIRE(rig.say(12, number(0), 1).done());
    REQUIRE(rig.say(18, state(0, 1)).done());
    REQUIRE(rig.runs(0));
    rig.findings.positions[0] = static_cast<std::uint16_t>(i);
    REQUIRE(rig.say(18, state(0, 0)).done());
    REQUIRE(rig.say(11, state(0, 0)).payload() == state(0, i & 0xffffU));
    REQUIRE_FALSE(rig.runs(0));
  }
}
