// The least of a guest's TCP, for one connection: see ring_guest.cc.
#pragma once

#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

#include "bench/ring_card.h"
#include "core/base/bytes.h"
#include "tests/netns/tools/traffic.h"

namespace cordon::bench {

using base::load_be;
using base::store_be;
using traffic::Mode;
using traffic::Report;
using traffic::Request;
using Clock = std::chrono::steady_clock;

inline constexpr std::size_t kVirtio = 12, kEthernet = kVirtio, kIp = kEthernet + 14, kTcp = kIp + 20;
inline constexpr unsigned kOurScale = 7;
inline constexpr std::uint32_t kOurAddress = 0x0a00020f, kGateway = 0x0a000202;
inline constexpr std::array<std::uint8_t, 6> kOurMac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
inline constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kPush = 8, kAck = 16;
inline constexpr std::uint64_t kAhead = 1U << 20U;
inline constexpr auto kPatience = std::chrono::milliseconds{200};

template <class T>
T get(const std::byte* frame, std::size_t at) {
  return load_be<T>(std::span<const std::byte, sizeof(T)>(frame + at, sizeof(T)));
}
template <class T>
void put(std::byte* frame, std::size_t at, T value) {
  store_be<T>(std::span<std::byte, sizeof(T)>(frame + at, sizeof(T)), value);
}

// Of an even number of bytes; not complemented.
inline std::uint32_t sum(const std::byte* bytes, std::size_t size, std::uint32_t start = 0) {
  for (std::size_t i = 0; i < size; i += 2) start += get<std::uint16_t>(bytes, i);
  while ((start >> 16U) != 0) start = (start & 0xffffU) + (start >> 16U);
  return start;
}

class Guest {
 public:
  Guest(Card& card, const std::string& server, std::uint16_t port, std::uint32_t mtu)
      : card_(card),
        mss_(mtu - 40),
        port_(static_cast<std::uint16_t>(40000 + ::getpid() % 20000)),
        server_port_(port),
        partial_(card.offers(feature::kChecksum)),
        largest_(card.offers(feature::kHostTso4) ? (65535U - 40U) / mss_ * mss_ : mss_) {
    in_addr address{};
    if (::inet_pton(AF_INET, server.c_str(), &address) != 1)
      throw std::runtime_error("SERVER: give an IPv4 address");
    server_ = ntohl(address.s_addr);
  }

  void connect(Mode mode) {
    repeat([this] { ask_gateway(); }, [this] { return gateway_known_; });
    repeat([this] { segment(0, kSyn, 0); }, [this] { return established_; });
    Request request{.mode = mode};
    allowed_ = sizeof request;
    std::byte* const frame = room();
    std::memcpy(frame + kTcp + 20, &request, sizeof request);
    segment(snd_nxt_, kAck | kPush, sizeof request);
    snd_nxt_ += sizeof request;
  }

  [[nodiscard]] std::uint64_t received() const { return received_; }
  [[nodiscard]] std::uint64_t resent() const { return resent_; }

  // One turn: what came, what may leave, and sleep if there was neither.
  void turn(Clock::time_point until = Clock::time_point::max()) {
    const bool heard = card_.poll([this](const std::byte* frame) { on_frame(frame); });
    if (rcv_nxt_ != told_ && !interactive_) segment(snd_nxt_, kAck, 0);
    const bool spoke = send_data();
    card_.push();
    if (heard || spoke) return;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    card_.wait(full_, std::clamp(left, std::chrono::milliseconds{0}, kPatience));
    if (snd_una_ != snd_nxt_ && Clock::now() - progress_ > kPatience) go_back();
  }

  // Up to this many bytes of zeros may have been sent, counted with the request.
  void allow(std::uint64_t bytes) { allowed_ = bytes; }
  [[nodiscard]] std::uint64_t unsent() const { return allowed_ + 1 - std::min(snd_nxt_, allowed_ + 1); }
  void finish() { fin_ = true; }
  // The next segment carries the ACK.
  void delay_acks() { interactive_ = true; }
  // What comes from now on is a report.
  void expect_report() { wants_report_ = true; }
  [[nodiscard]] const Report& report() const { return report_; }
  void reset() {
    segment(snd_nxt_, kRst | kAck, 0);
    card_.push();
  }

 private:
  template <class Say, class Done>
  void repeat(Say say, Done done) {
    for (int i = 0; i < 25 && !done(); ++i) {
      say();
      card_.push();
      const auto until = Clock::now() + kPatience;
      while (!done() && Clock::now() < until) {
        if (!card_.poll([this](const std::byte* frame) { on_frame(frame); })) card_.wait(false, kPatience);
      }
    }
    if (!done()) throw std::runtime_error("nobody answers");
    card_.push();
  }
  std::byte* room() {
    std::byte* const frame = card_.room();
    full_ = frame == nullptr;
    return frame;
  }
  void ethernet(std::byte* frame, std::uint16_t type) {
    std::memset(frame, 0, kVirtio);
    std::memcpy(frame + kEthernet, gateway_.data(), 6);
    std::memcpy(frame + kEthernet + 6, kOurMac.data(), 6);
    put<std::uint16_t>(frame, kEthernet + 12, type);
  }
  void ask_gateway() {
    std::byte* const frame = room();
    if (frame == nullptr) return;
    gateway_.fill(0xff);
    ethernet(frame, 0x0806);
    put<std::uint64_t>(frame, kIp, 0x0001080006040001);
    std::memcpy(frame + kIp + 8, kOurMac.data(), 6);
    put<std::uint32_t>(frame, kIp + 14, kOurAddress);
    put<std::uint32_t>(frame, kIp + 24, kGateway);
    card_.send(kIp + 28, false);
  }

  // Payload is what the buffer holds behind the headers.
  bool segment(std::uint64_t seq, std::uint8_t flags, std::uint32_t payload) {
    std::byte* const frame = room();
    if (frame == nullptr) return false;
    const bool syn = (flags & kSyn) != 0;
    const std::uint32_t header = syn ? 28 : 20;
    ethernet(frame, 0x0800);
    put<std::uint32_t>(frame, kIp, 0x45000000U | (20 + header + payload));
    put<std::uint32_t>(frame, kIp + 4, 0x00004000U);
    put<std::uint32_t>(frame, kIp + 8, 0x40060000U);
    put<std::uint32_t>(frame, kIp + 12, kOurAddress);
    put<std::uint32_t>(frame, kIp + 16, server_);
    put<std::uint16_t>(frame, kIp + 10, static_cast<std::uint16_t>(~sum(frame + kIp, 20)));
    put<std::uint16_t>(frame, kTcp, port_);
    put<std::uint16_t>(frame, kTcp + 2, server_port_);
    put<std::uint32_t>(frame, kTcp + 4, kFirst + static_cast<std::uint32_t>(seq));
    put<std::uint32_t>(frame, kTcp + 8, syn ? 0 : rcv_nxt_);
    put<std::uint32_t>(frame, kTcp + 12, header / 4 << 28U | std::uint32_t{flags} << 16U | 0xffffU);
    put<std::uint32_t>(frame, kTcp + 16, 0);
    if (syn) {
      put<std::uint32_t>(frame, kTcp + 20, 0x02040000U | mss_);
      put<std::uint32_t>(frame, kTcp + 24, 0x01030300U | kOurScale);
    }
    const std::uint32_t pseudo = sum(frame + kIp + 12, 8, 6 + header + payload);
    if (partial_) {
      frame[0] = std::byte{1};
      put_le(frame, 6, 34);
      put_le(frame, 8, 16);
      if (payload > mss_) {
        frame[1] = std::byte{1};
        put_le(frame, 2, static_cast<std::uint16_t>(34 + header));
        put_le(frame, 4, static_cast<std::uint16_t>(mss_));
      }
      put<std::uint16_t>(frame, kTcp + 16, static_cast<std::uint16_t>(pseudo));
    } else {
      // Zeros add nothing; the one payload that is not zeros is the request.
      const std::size_t summed = header + (payload <= sizeof(Request) ? (payload + 1) / 2 * 2 : 0);
      put<std::uint16_t>(frame, kTcp + 16, static_cast<std::uint16_t>(~sum(frame + kTcp, summed, pseudo)));
    }
    card_.send(kTcp + header + payload, header == 20 && (payload == 0 || payload != sizeof(Request)));
    told_ = rcv_nxt_;
    return true;
  }
  static void put_le(std::byte* frame, std::size_t at, std::uint16_t value) {
    std::memcpy(frame + at, &value, sizeof value);
  }

  bool send_data() {
    bool any = false;
    while (snd_nxt_ < allowed_ + 1) {
      const std::uint64_t window = snd_una_ + window_ - std::min(snd_nxt_, snd_una_ + window_);
      const auto bytes =
          static_cast<std::uint32_t>(std::min({allowed_ + 1 - snd_nxt_, window, std::uint64_t{largest_}}));
      if (bytes == 0 || (bytes < mss_ && snd_nxt_ != snd_una_ && bytes < allowed_ + 1 - snd_nxt_)) break;
      if (!segment(snd_nxt_, kAck | kPush, bytes)) break;
      if (snd_nxt_ == snd_una_) progress_ = Clock::now();
      snd_nxt_ += bytes;
      any = true;
    }
    if (fin_ && !fin_sent_ && snd_nxt_ == allowed_ + 1) {
      fin_sent_ = segment(snd_nxt_, kAck | kFin, 0);
      any = true;
    }
    return any;
  }
  void go_back() {
    ++resent_;
    progress_ = Clock::now();
    recover_ = snd_nxt_;
    snd_nxt_ = snd_una_;
    fin_sent_ = false;
  }

  void on_frame(const std::byte* frame) {
    const auto type = get<std::uint16_t>(frame, kEthernet + 12);
    if (type == 0x0806 && get<std::uint16_t>(frame, kIp + 6) == 2 &&
        get<std::uint32_t>(frame, kIp + 14) == kGateway) {
      std::memcpy(gateway_.data(), frame + kIp + 8, 6);
      gateway_known_ = true;
    }
    if (type != 0x0800 || get<std::uint8_t>(frame, kIp + 9) != 6 ||
        get<std::uint16_t>(frame, kTcp + 2) != port_)
      return;
    on_segment(frame);
  }
  void on_segment(const std::byte* frame) {
    const auto flags = get<std::uint8_t>(frame, kTcp + 13);
    const std::size_t header = (get<std::uint8_t>(frame, kTcp + 12) >> 4U) * 4U;
    const std::uint32_t payload =
        get<std::uint16_t>(frame, kIp + 2) - 20U - static_cast<std::uint32_t>(header);
    const auto seq = get<std::uint32_t>(frame, kTcp + 4);
    if ((flags & kRst) != 0) throw std::runtime_error("the connection was reset");
    if ((flags & kSyn) != 0) return on_syn_ack(frame, header);
    take_ack(get<std::uint32_t>(frame, kTcp + 8) - kFirst, get<std::uint16_t>(frame, kTcp + 14), payload);
    const std::uint32_t old = rcv_nxt_ - seq;  // bytes we have already
    if (payload > 0 && old < payload) {
      if (wants_report_ && received_ + payload <= sizeof report_ && old == 0)
        std::memcpy(reinterpret_cast<std::byte*>(&report_) + received_, frame + kTcp + header, payload);
      rcv_nxt_ += payload - old;
      received_ += payload - old;
    } else if (payload > 0) {
      told_ = rcv_nxt_ - 1;  // say again where we are
    }
    if (rcv_nxt_ - told_ >= (64U << 10U) && told_ != rcv_nxt_) segment(snd_nxt_, kAck, 0);
  }
  void on_syn_ack(const std::byte* frame, std::size_t header) {
    if (established_) {
      told_ = rcv_nxt_ - 1;
      return;
    }
    for (std::size_t at = kTcp + 20; at < kTcp + header;) {
      const auto kind = get<std::uint8_t>(frame, at);
      if (kind == 0) break;
      if (kind == 3) scale_ = get<std::uint8_t>(frame, at + 2);
      if (kind == 2) mss_ = std::min<std::uint32_t>(mss_, get<std::uint16_t>(frame, at + 2));
      at += kind == 1 ? 1U : std::max<unsigned>(get<std::uint8_t>(frame, at + 1), 2);
    }
    largest_ = largest_ / mss_ * mss_;
    rcv_nxt_ = told_ = get<std::uint32_t>(frame, kTcp + 4) + 1;
    window_ = get<std::uint16_t>(frame, kTcp + 14);
    snd_una_ = snd_nxt_ = 1;
    established_ = true;
    segment(1, kAck, 0);
  }
  void take_ack(std::uint32_t number, std::uint16_t window, std::uint32_t payload) {
    const auto ahead = static_cast<std::int32_t>(number - static_cast<std::uint32_t>(snd_una_));
    const std::uint64_t before = window_;
    if (ahead >= 0) window_ = std::uint64_t{window} << scale_;
    if (ahead > 0) {
      snd_una_ += static_cast<std::uint32_t>(ahead);
      snd_nxt_ = std::max(snd_nxt_, snd_una_);
      progress_ = Clock::now();
      same_ = 0;
    } else if (ahead == 0 && payload == 0 && window_ == before && snd_nxt_ != snd_una_ &&
               snd_una_ >= recover_ && ++same_ == 3) {
      go_back();
    }
  }

  static constexpr std::uint32_t kFirst = 1'000'000;
  Card& card_;
  std::uint32_t mss_;
  std::uint16_t port_, server_port_;
  bool partial_;
  std::uint32_t largest_;
  std::uint32_t server_ = 0;
  std::array<std::uint8_t, 6> gateway_{};
  bool gateway_known_ = false, established_ = false, full_ = false, fin_ = false, fin_sent_ = false,
       wants_report_ = false, interactive_ = false;
  // Ours, counted from the SYN without wrapping; theirs as on the wire.
  std::uint64_t snd_una_ = 0, snd_nxt_ = 0, allowed_ = 0, window_ = 0, recover_ = 0;
  unsigned scale_ = 0, same_ = 0;
  std::uint32_t rcv_nxt_ = 0, told_ = 0;
  std::uint64_t received_ = 0, resent_ = 0;
  Report report_{};
  Clock::time_point progress_;
};

}  // namespace cordon::bench
