// The message sequences of the front ends we know, as their sources send them.
#include <doctest/doctest.h>

#include "tests/vhost/device_rig.h"

using namespace cordon;
using namespace cordon::vhost;
using namespace cordon::vhost::test;

namespace {

constexpr std::uint64_t kQemuGuest = 0x0000'0001'3000'9983;  // a Linux guest: no USO
constexpr std::uint64_t kVersion1 = 1ULL << 32U;
constexpr std::uint64_t kProtocol = 1ULL << 30U;
constexpr std::uint64_t kLogAll = 1ULL << 26U;
constexpr std::uint64_t kReplyAck = 8;

// hw/virtio/vhost-user.c, one vhost_dev for each pair.
void qemu_connects(DeviceRig& rig, unsigned pairs) {
  for (unsigned i = 0; i < pairs; ++i) {
    CHECK(rig.say(1).outcome.reply);
    CHECK(rig.say(15).outcome.reply);
    CHECK(rig.say(16, number(0x1800e | (pairs > 1 ? 1U : 0U))).silent());
    if (i == 0 && pairs > 1) CHECK(rig.say(17).says(pairs));
    CHECK(rig.say(36).says(32));
    if (i == 0) CHECK(rig.say(3).silent());
    CHECK(rig.say(1).outcome.reply);
    for (unsigned q = 2 * i; q < 2 * i + 2; ++q) {
      CHECK(rig.say(13, number(q), 1).silent());
      CHECK(rig.say(14, number(q), 1).silent());
    }
  }
}

void qemu_adds_status(DeviceRig& rig, std::uint64_t& status, std::uint64_t bits) {
  CHECK(rig.say(40).says(status));
  status |= bits;
  CHECK(rig.say(39, number(status)).silent());
}

void qemu_starts(DeviceRig& rig, unsigned pairs, std::uint32_t base) {
  std::uint64_t status = 0;
  rig.findings.table = &rig.table;
  for (unsigned i = 0; i < pairs; ++i) {
    CHECK(rig.say(2, number(kQemuGuest | kProtocol)).silent());
    qemu_adds_status(rig, status, 8);  // FEATURES_OK
    if (i == 0) CHECK(rig.ask(37, mem_reg({0, kMemorySize, kUser, 0}), 1).says(0));
    for (unsigned q = 2 * i; q < 2 * i + 2; ++q) {
      CHECK(rig.say(8, state(q, 256)).silent());
      CHECK(rig.say(10, state(q, base)).silent());
      CHECK(rig.say(9, DeviceRig::ring_addr(q)).silent());
      CHECK(rig.say(12, number(q), 1).silent());
      CHECK(rig.say(13, number(q), 1).silent());
      CHECK_FALSE(rig.runs(q));
    }
    for (unsigned q = 2 * i; q < 2 * i + 2; ++q) {
      CHECK(rig.ask(18, state(q, 1)).says(0));
      CHECK(rig.runs(q));
      CHECK(rig.device.ring(q)->base == base);
    }
  }
  qemu_adds_status(rig, status, 7);  // ACKNOWLEDGE, DRIVER, DRIVER_OK
}

void qemu_stops(DeviceRig& rig, unsigned pairs, std::uint16_t position) {
  for (unsigned q = 0; q < 2 * pairs; ++q) CHECK(rig.ask(18, state(q, 0)).says(0));
  for (unsigned q = 0; q < 2 * pairs; ++q) {
    CHECK(rig.say(11, state(q, 0)).payload() == state(q, position));
    CHECK_FALSE(rig.runs(q));
  }
  CHECK(rig.say(39, number(0)).silent());
}

}  // namespace

TEST_CASE("vhost sequences: QEMU connects, starts, stops at the guest's reset and starts again") {
  for (const unsigned pairs : {1U, 2U}) {
    CAPTURE(pairs);
    DeviceRig rig({.pairs = pairs});
    qemu_connects(rig, pairs);
    qemu_starts(rig, pairs, 0);
    rig.findings.positions.fill(300);
    // Masks and unmasks the guest's interrupt.
    CHECK(rig.say(13, number(0), 1).silent());
    for (unsigned q = 0; q < 2 * pairs; ++q) CHECK(rig.ask(18, state(q, 0)).says(0));
    rig.findings.positions.fill(0);
    qemu_stops(rig, pairs, 300);
    // A reset guest begins at 0; memory is known already.
    CHECK(rig.say(38, mem_reg({0, kMemorySize, kUser, 0})).done());
    qemu_starts(rig, pairs, 0);
  }
}

TEST_CASE("vhost sequences: QEMU without protocol features of our newer kind") {
  DeviceRig rig;
  CHECK(rig.say(1).outcome.reply);
  CHECK(rig.say(15).outcome.reply);
  CHECK(rig.say(16, number(kReplyAck)).silent());
  CHECK(rig.say(3).silent());
  CHECK(rig.say(1).outcome.reply);
  for (const unsigned q : {0U, 1U}) CHECK(rig.say(13, number(q), 1).silent());
  // Restores the enabled state of before a reconnection, ahead of everything else.
  for (const unsigned q : {0U, 1U}) CHECK(rig.say(18, state(q, 1)).silent());
  CHECK(rig.say(2, number(kVersion1 | kProtocol)).silent());
  rig.findings.table = &rig.table;
  CHECK(rig.ask(5, mem_table({{0, kMemorySize, kUser, 0}}), 1).says(0));
  for (const unsigned q : {0U, 1U}) {
    CHECK(rig.say(8, state(q, 256)).silent());
    CHECK(rig.say(10, state(q, 65535)).silent());
    CHECK(rig.say(9, DeviceRig::ring_addr(q)).silent());
    CHECK(rig.say(12, number(q), 1).silent());
    CHECK(rig.say(13, number(q), 1).silent());
    CHECK(rig.runs(q));
  }
  for (const unsigned q : {0U, 1U}) CHECK(rig.say(18, state(q, 1)).silent());
  // Memory is plugged in while it runs.
  rig.findings.positions.fill(3);
  CHECK(rig.ask(5, mem_table({{0, kMemorySize, kUser, 0}}), 1).says(0));
  CHECK(rig.device.ring(1)->base == 3);
  for (const unsigned q : {0U, 1U}) CHECK(rig.say(11, state(q, 0)).payload() == state(q, 3));
}

TEST_CASE("vhost sequences: QEMU migrates the guest away, or gives up doing so") {
  DeviceRig rig;
  qemu_connects(rig, 1);
  qemu_starts(rig, 1, 0);
  rig.findings.log_mapped = true;
  CHECK(rig.ask(6, Payload{}.u64(4096).u64(0), 1).says(0));
  CHECK(rig.ask(2, number(kQemuGuest | kProtocol | kLogAll)).says(0));
  CHECK(rig.device.logging());
  for (const unsigned q : {0U, 1U}) {
    CHECK(rig.ask(9, DeviceRig::ring_addr(q, 1, 0x3000)).says(0));
    CHECK(rig.device.ring(q)->used_logged->value == 0x3000);
  }
  CHECK(rig.ask(2, number(kQemuGuest | kProtocol)).says(0));
  for (const unsigned q : {0U, 1U}) {
    CHECK(rig.ask(9, DeviceRig::ring_addr(q)).says(0));
    CHECK_FALSE(rig.device.ring(q)->used_logged);
  }
  CHECK_FALSE(rig.device.logging());
  CHECK(rig.say(19, number(0)).silent());
}

TEST_CASE("vhost sequences: Cloud Hypervisor") {
  for (const unsigned pairs : {1U, 2U}) {
    CAPTURE(pairs);
    const unsigned queues = 2 * pairs;
    DeviceRig rig({.front_end = FrontEnd::kCloudHypervisor,
                   .pairs = pairs,
                   .mac = net::parse_mac("02:00:00:00:00:15")});
    CHECK(rig.say(3).silent());
    CHECK(rig.say(1).outcome.reply);
    CHECK(rig.say(15).outcome.reply);
    CHECK(rig.say(16, number(0x820a | (pairs > 1 ? 1U : 0U))).silent());
    if (pairs > 1) CHECK(rig.ask(17).says(queues));
    CHECK(rig.ask(24, Payload{}.u32(0).u32(12).u32(1).zeros(12)).outcome.reply);
    CHECK(rig.ask(2, number(kQemuGuest | kProtocol)).says(0));
    rig.findings.table = &rig.table;
    CHECK(rig.ask(5, mem_table({{0, kMemorySize, kUser, 0}}), 1).says(0));
    for (unsigned q = 0; q < queues; ++q) CHECK(rig.ask(8, state(q, 256)).says(0));
    for (unsigned q = 0; q < queues; ++q) {
      CHECK(rig.ask(9, DeviceRig::ring_addr(q)).says(0));
      CHECK(rig.ask(10, state(q, 0)).says(0));
      CHECK(rig.ask(13, number(q), 1).says(0));
      CHECK(rig.ask(12, number(q), 1).says(0));
    }
    for (unsigned q = 0; q < queues; ++q) CHECK(rig.ask(18, state(q, 1)).says(0));
    for (unsigned q = 0; q < queues; ++q) CHECK(rig.runs(q));
    for (unsigned q = 0; q < queues; ++q) {
      CHECK(rig.ask(18, state(q, 0)).says(0));
      CHECK(rig.ask(11, state(q, 0)).payload() == state(q, 0));
    }
  }
}

TEST_CASE("vhost sequences: crosvm, which never asks for acknowledgements") {
  DeviceRig rig({.front_end = FrontEnd::kCrosvm});
  CHECK(rig.say(3).silent());
  CHECK(rig.say(1).outcome.reply);
  CHECK(rig.say(15).outcome.reply);
  CHECK(rig.say(16, number(0x209)).silent());
  CHECK(rig.say(17).says(2));  // without MQ it would count three
  CHECK(rig.say(24, Payload{}.u32(0).u32(6).u32(0).zeros(6)).outcome.reply);
  CHECK(rig.say(2, number(kQemuGuest | kProtocol)).silent());
  rig.findings.table = &rig.table;
  CHECK(rig.say(5, mem_table({{0, kMemorySize, kUser, 0}}), 1).silent());
  for (const unsigned q : {0U, 1U}) {
    CHECK(rig.say(8, state(q, 256)).silent());
    CHECK(rig.say(9, DeviceRig::ring_addr(q)).silent());
    CHECK(rig.say(10, state(q, 0)).silent());
    CHECK(rig.say(13, number(q), 1).silent());
    CHECK(rig.say(12, number(q), 1).silent());
    CHECK(rig.say(18, state(q, 1)).silent());
    CHECK(rig.runs(q));
  }
  CHECK(rig.say(24, Payload{}.u32(6).u32(2).u32(0).zeros(2)).outcome.reply);
}
