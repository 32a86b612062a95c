#include "core/flow/table.h"

#include <doctest/doctest.h>

#include <map>
#include <random>

using namespace cordon;
using flow::Protocol;
using flow::Table;
using flow::Tuple;

namespace {

Tuple tuple(std::uint32_t n, Protocol protocol = Protocol::kTcp) {
  return {protocol,
          {net::Ipv4Address(10, 0, 2, 15), net::Port{static_cast<std::uint16_t>(n)}},
          {net::Ipv4Address::from_u32(0xc0000200U + (n >> 16U)), net::Port{80}}};
}

Table::Config config(std::uint32_t slots) {
  return {.slots = slots, .udp_slots = slots / 2, .icmp_slots = 1, .key = {1, 2}};
}

}  // namespace

TEST_CASE("flow table: finds what was inserted, and only that") {
  Table table(config(8));
  CHECK_FALSE(table.find(tuple(1)));
  const auto id = table.insert(tuple(1));
  REQUIRE(id);
  CHECK(table.find(tuple(1)) == id->slot);
  CHECK_FALSE(table.find(tuple(2)));
  CHECK_FALSE(table.find(tuple(1, Protocol::kUdp)));
  CHECK(table.live(*id));
  CHECK(table.tuple(id->slot) == tuple(1));
}

TEST_CASE("flow table: a full table refuses and works again after a removal") {
  Table table(config(4));
  for (std::uint32_t i = 0; i < 4; ++i) REQUIRE(table.insert(tuple(i)));
  const auto refused = table.insert(tuple(9));
  REQUIRE_FALSE(refused);
  table.remove(*table.find(tuple(2)));
  CHECK_FALSE(table.insert(tuple(9)));  // the slot rests until the turn ends
  table.end_turn();
  CHECK(table.insert(tuple(9)));
}

TEST_CASE("flow table: datagram flows cannot take TCP's slots") {
  Table table(config(8));
  for (std::uint32_t i = 0; i < 4; ++i) REQUIRE(table.insert(tuple(i, Protocol::kUdp)));
  const auto refused = table.insert(tuple(5, Protocol::kUdp));
  REQUIRE_FALSE(refused);
  CHECK(refused.error() == Table::Full::kProtocol);
  CHECK(table.insert(tuple(5)));
  CHECK(table.insert(tuple(6, Protocol::kIcmpEcho)));
  CHECK_FALSE(table.insert(tuple(7, Protocol::kIcmpEcho)));
}

TEST_CASE("flow table: a reused slot has another generation, and the old id is dead") {
  Table table(config(1));
  const auto first = table.insert(tuple(1));
  table.remove(first->slot);
  CHECK_FALSE(table.live(*first));
  table.end_turn();
  const auto second = table.insert(tuple(2));
  REQUIRE(second);
  CHECK(second->slot == first->slot);
  CHECK(second->generation != first->generation);
  CHECK_FALSE(table.live(*first));
  CHECK_FALSE(table.live({second->slot, 0}));
  CHECK_FALSE(table.live({77, 1}));
}

TEST_CASE("flow table: the least recently used datagram flow is known") {
  Table table(config(8));
  CHECK_FALSE(table.least_recent(Protocol::kUdp));
  const auto a = *table.insert(tuple(1, Protocol::kUdp));
  const auto b = *table.insert(tuple(2, Protocol::kUdp));
  const auto c = *table.insert(tuple(3, Protocol::kUdp));
  CHECK(table.least_recent(Protocol::kUdp) == a.slot);
  table.touch(a.slot);
  CHECK(table.least_recent(Protocol::kUdp) == b.slot);
  table.remove(b.slot);
  CHECK(table.least_recent(Protocol::kUdp) == c.slot);
  table.touch(c.slot);
  CHECK(table.least_recent(Protocol::kUdp) == a.slot);
}

TEST_CASE("flow table: UDP flows from outside have a part of the cap and an order of their own") {
  using enum Table::Origin;
  Table table({.slots = 16, .udp_slots = 8, .icmp_slots = 1, .key = {3, 4}});
  const auto own = *table.insert(tuple(1, Protocol::kUdp));
  CHECK_FALSE(table.least_recent(Protocol::kUdp, kOutside));
  const auto a = *table.insert(tuple(2, Protocol::kUdp), kOutside);
  const auto b = *table.insert(tuple(3, Protocol::kUdp), kOutside);
  CHECK_FALSE(table.insert(tuple(4, Protocol::kUdp), kOutside));  // a quarter
  CHECK(table.size(Protocol::kUdp) == 3);
  CHECK(table.least_recent(Protocol::kUdp) == own.slot);
  CHECK(table.least_recent(Protocol::kUdp, kOutside) == a.slot);
  table.touch(a.slot);
  CHECK(table.least_recent(Protocol::kUdp, kOutside) == b.slot);
  for (std::uint32_t i = 10; i < 15; ++i) REQUIRE(table.insert(tuple(i, Protocol::kUdp)));
  CHECK_FALSE(table.insert(tuple(15, Protocol::kUdp)));  // both together
  table.remove(b.slot);
  CHECK(table.least_recent(Protocol::kUdp, kOutside) == a.slot);
  CHECK(table.insert(tuple(15, Protocol::kUdp)));
  CHECK_FALSE(table.insert(tuple(3, Protocol::kUdp), kOutside));
}

TEST_CASE("flow table: random insertions and removals agree with a map") {
  Table table({.slots = 200, .udp_slots = 200, .icmp_slots = 1, .key = {3, 4}});
  std::map<Tuple, flow::Id> model;
  std::mt19937 random(5);
  for (int step = 0; step < 20000; ++step) {
    const Tuple t = tuple(static_cast<std::uint32_t>(random() % 400),
                          random() % 2 == 0 ? Protocol::kTcp : Protocol::kUdp);
    const auto found = table.find(t);
    const auto known = model.find(t);
    REQUIRE(found.has_value() == (known != model.end()));
    if (found) {
      REQUIRE(*found == known->second.slot);
      table.remove(*found);
      REQUIRE_FALSE(table.live(known->second));
      model.erase(known);
    } else if (const auto id = table.insert(t)) {
      model[t] = *id;
    } else {
      REQUIRE(model.size() <= 200);
    }
    if (step % 7 == 0) table.end_turn();
  }
  CHECK(table.size() == model.size());
}
