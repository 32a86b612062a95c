#include "core/link/capture_link.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "core/base/fd.h"

using namespace cordon;
using namespace cordon::link;

namespace {

// One frame in; takes every other frame out.
class OneFrame final : public Link {
 public:
  explicit OneFrame(std::string text, std::string tail = {})
      : text_(std::move(text)), tail_(std::move(tail)) {}
  [[nodiscard]] Capabilities capabilities() const override { return {.tso = true}; }
  [[nodiscard]] int poll_fd() const override { return 7; }
  [[nodiscard]] std::size_t receive(std::span<Frame> frames) override {
    frames[0] = {.bytes = base::as_bytes(text_.data(), text_.size()), .offload = {}};
    if (tail_.empty()) return 1;
    room_ = text_ + std::string(tail_.size(), '?');
    frames[0].bytes = base::as_bytes(room_.data(), text_.size());
    piece_ = {tail_.data(), tail_.size()};
    auto* const room = static_cast<std::byte*>(static_cast<void*>(room_.data() + text_.size()));
    frames[0].tail = {std::span(&piece_, 1), tail_.size(), room};
    return 1;
  }
  [[nodiscard]] bool intact() const override { return !lost_; }
  void lose_tail() override { lost_ = true; }
  [[nodiscard]] SendStatus send(const Offload& /*offload*/, std::span<const iovec> /*parts*/) override {
    full_ = !full_;
    return full_ ? SendStatus::kSent : SendStatus::kAgain;
  }

 private:
  std::string text_, tail_, room_;
  iovec piece_{};
  bool full_ = false;
  bool lost_ = false;
};

std::string content(const base::Fd& file) {
  std::string out(1U << 20U, '\0');
  const ssize_t got = ::pread(file.get(), out.data(), out.size(), 0);
  out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return out;
}
std::uint32_t word(const std::string& text, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, text.data() + at, sizeof value);
  return value;
}

}  // namespace

TEST_CASE("capture: the file begins as libpcap's do") {
  const auto header = capture_header();
  const std::string text{reinterpret_cast<const char*>(header.data()), header.size()};
  CHECK(word(text, 0) == 0xa1b2c3d4);  // magic
  CHECK(word(text, 4) == 0x00040002);  // version 2.4
  CHECK(word(text, 20) == 1);          // Ethernet
}

TEST_CASE("capture: each frame that passes is one record, one that is not taken is none") {
  const base::Fd file{::memfd_create("capture", MFD_CLOEXEC)};
  OneFrame inner{"a frame from the guest"};
  CaptureLink link{inner, file.get()};
  CHECK(link.capabilities().tso);
  CHECK(link.poll_fd() == 7);
  std::array<Frame, 4> frames;
  REQUIRE(link.receive(frames) == 1);
  std::string head = "headers ";
  std::string tail = "and payload";
  const std::array<iovec, 2> parts{{{head.data(), head.size()}, {tail.data(), tail.size()}}};
  CHECK(link.send({}, parts) == SendStatus::kSent);
  CHECK(link.send({}, parts) == SendStatus::kAgain);
  const std::string text = content(file);
  REQUIRE(text.size() == 16 + 22 + 16 + 19);
  CHECK(word(text, 8) == 22);
  CHECK(word(text, 12) == 22);
  CHECK(text.substr(16, 22) == "a frame from the guest");
  CHECK(word(text, 38 + 8) == 19);
  CHECK(text.substr(38 + 16) == "headers and payload");
  CHECK(link.lost() == 0);
}

TEST_CASE("capture: a full disk ends the capture, not the traffic, and is counted") {
  const base::Fd full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
  OneFrame inner{"frame"};
  CaptureLink link{inner, full.get()};
  std::array<Frame, 4> frames;
  for (int i = 0; i < 3; ++i) REQUIRE(link.receive(frames) == 1);
  CHECK(link.lost() == 3);
}

TEST_CASE("capture: of a frame with a tail all is written down, and that is what goes on") {
  const base::Fd file{::memfd_create("capture", MFD_CLOEXEC)};
  OneFrame inner{"start", "and tail"};
  CaptureLink link{inner, file.get()};
  std::array<Frame, 1> frames;
  REQUIRE(link.receive(frames) == 1);
  CHECK(frames[0].tail.size == 0);
  const std::string got{reinterpret_cast<const char*>(frames[0].bytes.data()), frames[0].bytes.size()};
  CHECK(got == "startand tail");
  CHECK(content(file).substr(16) == got);
  CHECK(link.intact());
  link.lose_tail();
  CHECK_FALSE(link.intact());
}
