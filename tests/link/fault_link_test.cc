#include "core/link/fault_link.h"

#include <doctest/doctest.h>

#include <vector>

using namespace cordon;
using link::Faults;

namespace {

// Hands out frames of one byte, numbered; keeps what is sent.
class NumberLink final : public link::Link {
 public:
  [[nodiscard]] link::Capabilities capabilities() const override { return {}; }
  [[nodiscard]] int poll_fd() const override { return -1; }
  [[nodiscard]] std::size_t receive(std::span<link::Frame> frames) override {
    for (std::size_t i = 0; i < frames.size(); ++i) {
      bytes_[i] = static_cast<std::byte>(next_++);
      frames[i] = {.bytes = std::span(bytes_).subspan(i, 1), .offload = {}};
    }
    return frames.size();
  }
  [[nodiscard]] link::SendStatus send(const link::Offload&, std::span<const iovec> parts) override {
    sent.push_back(*static_cast<const int*>(parts[0].iov_base));
    return link::SendStatus::kSent;
  }
  std::vector<int> sent;

 private:
  std::array<std::byte, 64> bytes_{};
  unsigned next_ = 0;
};

std::vector<int> send_numbers(const Faults& faults, int n, link::FaultStats* stats = nullptr) {
  NumberLink inner;
  link::FaultLink link(inner, faults);
  for (int i = 0; i < n; ++i) {
    const iovec part{&i, sizeof i};
    CHECK(link.send({}, std::span(&part, 1)) == link::SendStatus::kSent);
  }
  link.flush();
  if (stats != nullptr) *stats = link.stats();
  return inner.sent;
}

}  // namespace

TEST_CASE("fault link: the option is read exactly") {
  const auto faults = link::parse_faults("loss=1%,duplicate=0.5%,reorder=100%,seed=7");
  REQUIRE(faults);
  CHECK(faults->loss == 10'000);
  CHECK(faults->duplicate == 5'000);
  CHECK(faults->reorder == 1'000'000);
  CHECK(faults->seed == 7);
}

TEST_CASE("fault link: a bad option names the item") {
  for (const std::string_view text : {"loss=1", "loss=101%", "loss=%", "loss=1.%", "loss=-1%", "los=1%",
                                      "seed=x", "seed=", "loss=1%,", "", "loss=1.00001%", "loss=0x1%"}) {
    CAPTURE(text);
    const auto faults = link::parse_faults(text);
    REQUIRE_FALSE(faults);
    CHECK(faults.error().find("expected") != std::string::npos);
  }
}

TEST_CASE("fault link: without faults everything passes in order") {
  const auto sent = send_numbers({}, 100);
  REQUIRE(sent.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(sent[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("fault link: rates are near what was asked and a seed repeats itself") {
  link::FaultStats stats;
  const Faults faults{.loss = 100'000, .duplicate = 50'000, .reorder = 50'000, .seed = 3};
  const auto sent = send_numbers(faults, 10'000, &stats);
  CHECK(stats.lost > 800);
  CHECK(stats.lost < 1'200);
  CHECK(stats.duplicated > 300);
  CHECK(stats.reordered > 300);
  CHECK(sent.size() == 10'000 - stats.lost + stats.duplicated);
  CHECK(send_numbers(faults, 10'000) == sent);
  CHECK(send_numbers({.loss = 100'000, .duplicate = 50'000, .reorder = 50'000, .seed = 4}, 10'000) != sent);
}

TEST_CASE("fault link: frames from the guest are lost, doubled and swapped within a batch") {
  NumberLink inner;
  link::FaultLink link(inner, {.loss = 100'000, .duplicate = 100'000, .reorder = 100'000, .seed = 3});
  std::array<link::Frame, 64> frames;
  const std::size_t n = link.receive(frames);
  CHECK(n > 0);
  CHECK(n == 32 - link.stats().lost + link.stats().duplicated);
  CHECK(link.stats().reordered > 0);
}
