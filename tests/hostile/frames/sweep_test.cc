// Rows that are every value of a field: lengths, EtherTypes.
#include "tests/hostile/frames/lab.h"

namespace cordon::hostile {
namespace {

std::uint64_t outcomes(const Lab& lab) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < plane::kCounters; ++i)
    if (plane::is_frame_outcome(static_cast<Counter>(i))) sum += lab.totals()[i];
  return sum;
}

}  // namespace

TEST_CASE("hostile frames: every length, of every type that is read") {
  const char* const row = "ETH-02";
  CAPTURE(row);
  for (const std::uint16_t type : {std::uint16_t{0x0800}, std::uint16_t{0x86dd}, std::uint16_t{0x0806}})
    for (const Way& way : kWays) {
      CAPTURE(type);
      CAPTURE(way.name);
      Lab lab(way.make());
      std::uint64_t sent = 0;
      Frames batch;
      for (std::size_t size = 14; size <= 65535 + 14; size += size < 1600 ? 1 : 997) {
        batch.emplace_back(lab.make.ethernet(type, Buffer(size - 14, std::byte{0x45})));
        ++sent;
        if (batch.size() == 32) {
          lab.send(batch);
          batch.clear();
        }
      }
      lab.send(batch);
      CHECK(lab.count(Counter::kFramesFromGuest) == sent);
      CHECK(outcomes(lab) == sent);
      CHECK(lab.gate.requests.empty());
      CHECK(lab.take().empty());
    }
}

TEST_CASE("hostile frames: datagrams of every length") {
  const char* const row = "ETH-02";
  CAPTURE(row);
  for (const bool v6 : {false, true}) {
    Lab lab(kWays[0].make());
    const Udp first{.payload = {}};
    lab.bench().put(lab.make.udp(first, {}, v6));
    lab.turn(2);
    plane::test::Pair pair(flow::Protocol::kUdp);
    lab.grant(std::move(pair.near));
    std::size_t got = 0;
    Buffer read(70000);
    CHECK(::recv(pair.far.get(), read.data(), read.size(), MSG_DONTWAIT) == 0);
    for (std::size_t size = 0; size <= 65487; size += size < 1600 ? 7 : 1999) {
      lab.bench().put(lab.make.udp({.payload = Buffer(size, std::byte{0x45})}, {}, v6));
      lab.turn(2);
      CHECK(::recv(pair.far.get(), read.data(), read.size(), MSG_DONTWAIT) == static_cast<ssize_t>(size));
      ++got;
    }
    CHECK(got > 200);
    lab.check_conservation();
  }
}

TEST_CASE("hostile frames: every EtherType") {
  const char* const row = "ETH-03";
  CAPTURE(row);
  Lab lab(kWays[0].make());
  Honest honest(lab);
  const std::uint64_t known = lab.count(Counter::kFramesFromGuest);
  Frames batch;
  for (unsigned type = 0; type <= 0xffff; ++type) {
    batch.emplace_back(
        lab.make.ethernet(static_cast<std::uint16_t>(type), Buffer(type % 47, std::byte{0xff})));
    if (batch.size() < 64) continue;
    lab.send(batch);
    batch.clear();
  }
  CHECK(lab.count(Counter::kFramesFromGuest) == known + 65536);
  // IPv4, IPv6 and ARP are read; three tags and all lengths have no type.
  CHECK(lab.count(Counter::kDropEtherType) == 65536 - 3 - 3 - 0x600);
  CHECK(lab.count(Counter::kDropMalformed) == 2 + 3 + 0x600);
  CHECK(lab.count(Counter::kDropLanBroken) == 1);
  lab.check_conservation();
  honest.go_on();
}

}  // namespace cordon::hostile
