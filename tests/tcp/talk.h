// One connection and the words to talk with it: a guest whose first data byte is 0 (sequence 1001) and a host
// whose first data byte is 0 (sequence 5001). Time is invented and moves only by wait().
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "core/tcp/connection.h"

namespace cordon::tcp {
inline doctest::String toString(State s) {
  constexpr const char* kNames[] = {"kSynReceived", "kSynAckSent",  "kSynSent",
                                    "kEstablished", "kGuestClosed", "kHostClosed",
                                    "kBothClosed",  "kTimeWait",    "kClosed"};
  return kNames[static_cast<std::size_t>(s)];
}
inline doctest::String toString(Verdict v) {
  constexpr const char* kNames[] = {"kTaken", "kNotReady", "kDuplicate", "kOutOfWindow", "kUnexpectedSyn",
                                    "kNoAck", "kBadAck",   "kNoRoom",    "kAfterFin",    "kClosed"};
  return kNames[static_cast<std::size_t>(v)];
}
}  // namespace cordon::tcp

namespace cordon::tcp::test {

using base::Duration;
using base::Instant;
using net::SeqNum;
using namespace std::chrono_literals;

struct Setup {
  std::optional<std::uint16_t> guest_mss = std::uint16_t{1000};
  std::optional<std::uint8_t> guest_scale = std::nullopt;
  bool sack = true;
  std::uint16_t window = 60000;
  std::uint16_t our_mss = 1460;
  std::uint32_t credit = 65535;
  std::uint32_t super_segment = 65415;
  std::uint32_t guest_isn = 1000;
  std::uint32_t our_isn = 5000;
  bool ipv6 = false;
};

class Talk {
 public:
  explicit Talk(const Setup& setup = {}) : setup_(setup), tcp(syn(setup), config(setup), now) {}
  struct FromOutside {};
  Talk(FromOutside, const Setup& setup) : setup_(setup), tcp(config(setup), now) {}

  static Config config(const Setup& setup) {
    return {.isn = SeqNum{setup.our_isn},
            .mss = setup.our_mss,
            .window_scale = 8,
            .initial_credit = setup.credit,
            .max_super_segment = setup.super_segment,
            .ipv6 = setup.ipv6};
  }

  static Segment syn(const Setup& s) {
    return {.seq = SeqNum{s.guest_isn},
            .syn = true,
            .window = s.window,
            .mss = s.guest_mss,
            .window_scale = s.guest_scale,
            .sack_permitted = s.sack};
  }
  [[nodiscard]] Segment syn() const { return syn(setup_); }
  [[nodiscard]] SeqNum guest(std::uint32_t byte) const { return SeqNum{setup_.guest_isn} + 1U + byte; }
  [[nodiscard]] SeqNum host(std::uint32_t byte) const { return SeqNum{setup_.our_isn} + 1U + byte; }

  // The guest's answer to our SYN.
  [[nodiscard]] Segment syn_ack() const {
    Segment s = syn();
    s.ack_flag = true;
    s.ack = host(0);
    return s;
  }

  // Guest segments. `from`, `ack`: stream positions.
  [[nodiscard]] Segment text(std::uint32_t from, std::uint32_t length, std::uint32_t ack = 0) const {
    return {
        .seq = guest(from), .ack = host(ack), .ack_flag = true, .window = setup_.window, .payload = length};
  }
  [[nodiscard]] Segment fin(std::uint32_t at, std::uint32_t ack = 0) const {
    Segment s = text(at, 0, ack);
    s.fin = true;
    return s;
  }
  [[nodiscard]] Segment rst(std::uint32_t at) const {
    Segment s = text(at, 0);
    s.rst = true;
    return s;
  }
  [[nodiscard]] Segment ack(std::uint32_t ack, std::uint16_t window, std::uint32_t from = 0) const {
    Segment s = text(from, 0, ack);
    s.window = window;
    return s;
  }
  [[nodiscard]] Segment sack(std::uint32_t ack, std::uint32_t left, std::uint32_t right) const {
    Segment s = text(0, 0, ack);
    s.sack[0] = {host(left), host(right)};
    s.sack_count = 1;
    return s;
  }

  Verdict guest_sends(const Segment& s) {
    const auto r = tcp.on_segment(s, now);
    deliver = r.deliver;
    note(r.actions);
    return r.verdict;
  }
  void host_sends(std::uint32_t bytes) { note(tcp.on_host_data(bytes, now)); }
  void host_closes() { note(tcp.on_host_eof(now)); }
  void stash(std::uint32_t stashed) { note(tcp.on_stash(stashed, setup_.credit, now)); }

  Transmit expect() {
    const auto t = tcp.next_transmit(now);
    REQUIRE(t.has_value());
    return *t;
  }
  void expect_nothing() { CHECK_FALSE(tcp.next_transmit(now).has_value()); }
  // All that leaves now.
  std::vector<Transmit> drain() {
    std::vector<Transmit> all;
    while (const auto t = tcp.next_transmit(now)) {
      all.push_back(*t);
      REQUIRE(all.size() < 1000);
    }
    return all;
  }
  // Lets time pass; timers fire at their deadlines, what they cause is collected.
  std::vector<Transmit> wait(Duration d) {
    const Instant end = now + d;
    std::vector<Transmit> all;
    while (tcp.deadline() <= end && tcp.state() != State::kClosed) {
      now = std::max(now, tcp.deadline());
      note(tcp.on_timer(now));
      const auto more = drain();
      all.insert(all.end(), more.begin(), more.end());
      REQUIRE(all.size() < 1000);
    }
    now = end;
    return all;
  }

  Setup setup_;
  Instant now = Instant::from_nanos(1'000'000'000);
  Connection tcp;
  Actions actions;  // of the last event
  Deliver deliver;  // of the last segment

 private:
  void note(const Actions& a) { actions = a; }
};

// Factories, one per state. Nothing is left to pull.
inline Talk syn_received(const Setup& s = {}) { return Talk{s}; }
inline Talk syn_ack_sent(const Setup& s = {}) {
  Talk t{s};
  (void)t.tcp.on_granted(t.now);
  (void)t.expect();
  return t;
}
inline Talk syn_sent(const Setup& s = {}) {
  Talk t{Talk::FromOutside{}, s};
  (void)t.expect();
  return t;
}
inline Talk established(const Setup& s = {}) {
  Talk t = syn_ack_sent(s);
  t.guest_sends(t.text(0, 0));
  return t;
}
inline Talk guest_closed(const Setup& s = {}) {
  Talk t = established(s);
  t.guest_sends(t.fin(0));
  (void)t.drain();
  return t;
}
inline Talk host_closed(const Setup& s = {}) {
  Talk t = established(s);
  t.host_closes();
  (void)t.drain();
  return t;
}
inline Talk closing(const Setup& s = {}) {  // both FINs crossed
  Talk t = host_closed(s);
  t.guest_sends(t.fin(0));
  (void)t.drain();
  return t;
}
inline Talk last_ack(const Setup& s = {}) {
  Talk t = guest_closed(s);
  t.host_closes();
  (void)t.drain();
  return t;
}
inline Talk time_wait(const Setup& s = {}) {
  Talk t = host_closed(s);
  t.guest_sends(t.fin(0, 1));
  (void)t.drain();
  return t;
}

}  // namespace cordon::tcp::test
