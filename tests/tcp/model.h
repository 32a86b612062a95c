// A whole connection in virtual time: the machine with a small driver around it, a link that loses, repeats
// and reorders by a seed, and an independent little guest TCP. Used by the transfer properties.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <queue>
#include <random>
#include <vector>

#include "core/tcp/connection.h"

namespace cordon::tcp::test {

using base::Duration;
using base::Instant;
using net::SeqNum;
using namespace std::chrono_literals;
using ByteString = std::vector<std::uint8_t>;

struct Options {
  std::uint32_t seed = 1;
  std::uint32_t guest_isn = 1000, our_isn = 5000;
  std::uint16_t mss = 1460;
  std::uint32_t super_segment = 65415;
  std::uint32_t credit = 65535;
  bool sack = true, scale = true;
  std::uint32_t guest_window = 65535;
  unsigned loss = 0, duplicate = 0, reorder = 0, link_full = 0;  // in 1000
  std::uint32_t to_guest = 200'000, to_host = 200'000;
  bool from_outside = false;                       // the machine opens
  unsigned guest_app_pace = 100, host_pace = 100;  // chance in 100 per millisecond that the reader reads
};

class World {
 public:
  explicit World(const Options& options)
      : options_(options),
        random_(options.seed),
        machine_(options.from_outside ? Connection{config(), now_} : Connection{syn(), config(), now_}) {
    down_ = bytes(options.to_guest);
    up_ = bytes(options.to_host);
    stash_.resize(options.credit + 65536U);
    stash_known_.resize(stash_.size());
    if (!options.from_outside) apply(machine_.on_granted(now_));
  }

  // Runs until both directions are complete and closed, or virtual time is over. Empty = all well.
  std::string run(Duration limit) {
    const Instant end = now_ + limit;
    while (now_ < end && error_.empty()) {
      step();
      const bool over =
          machine_.state() == State::kClosed || (machine_.state() == State::kTimeWait && g_.fin_acked);
      if (over && (reset_ || flushed_ == in_order_)) break;
    }
    if (!error_.empty()) return error_;
    if (reset_) return "reset";
    if (to_guest_got_ != down_)
      return "guest did not get the stream: " + std::to_string(to_guest_got_.size());
    if (to_host_got_ != up_) return "host did not get the stream: " + std::to_string(to_host_got_.size());
    if (!host_shut_) return "host side was not shut";
    if (!g_.peer_fin) return "guest saw no FIN";
    return {};
  }
  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] std::uint64_t sent_to_guest() const { return sent_to_guest_; }

 private:
  struct Packet {
    Segment segment;
    ByteString payload;
  };
  struct Guest {  // sender half, then receiver half
    SeqNum una, nxt, max, wnd_right;
    bool connected = false, fin_acked = false, peer_fin = false;
    std::uint32_t acked = 0, dups = 0;
    std::uint8_t our_shift = 0;
    Instant rto = Instant::never();
    Duration rto_value = 200ms;
    SeqNum rcv_nxt, right;
    std::map<std::uint32_t, ByteString> early;  // by stream offset
    std::uint32_t unread = 0;
    std::vector<SackBlock> recent;
  };

  ByteString bytes(std::uint32_t n) {
    ByteString out(n);
    for (auto& b : out) b = static_cast<std::uint8_t>(random_());
    return out;
  }
  bool chance(unsigned in_thousand) { return random_() % 1000 < in_thousand; }
  Segment syn() const {
    Segment s{.seq = SeqNum{options_.guest_isn}, .syn = true, .window = 65535, .mss = options_.mss};
    if (options_.scale) s.window_scale = std::uint8_t{2};
    s.sack_permitted = options_.sack;
    return s;
  }
  Config config() const {
    return {.isn = SeqNum{options_.our_isn},
            .mss = options_.mss,
            .window_scale = 4,
            .initial_credit = options_.credit,
            .max_super_segment = options_.super_segment};
  }
  [[nodiscard]] std::uint8_t guest_shift() const { return options_.scale ? 2 : 0; }
  [[nodiscard]] SeqNum guest_first() const { return SeqNum{options_.guest_isn} + 1U; }
  [[nodiscard]] SeqNum our_first() const { return SeqNum{options_.our_isn} + 1U; }
  static std::uint32_t span(SeqNum from, SeqNum to) {
    return static_cast<std::uint32_t>(to.distance_from(from));
  }
  void fail(std::string why) {
    if (error_.empty()) error_ = std::move(why) + " at " + std::to_string(now_.nanos() / 1'000'000) + " ms";
  }

  void step() {
    Instant next = now_ + 1ms - Duration{now_.nanos() % 1'000'000};
    if (!wire_.empty()) next = std::min(next, wire_.begin()->first);
    next = std::max(next, now_);
    next = std::min(next, std::max(machine_.deadline(), now_ + Duration{1}));
    const bool tick = next.nanos() / 1'000'000 != now_.nanos() / 1'000'000;
    now_ = next;
    if (tick) {
      guest_app();
      host();
    }
    if (machine_.deadline() <= now_) apply(machine_.on_timer(now_));
    while (!wire_.empty() && wire_.begin()->first <= now_) {
      const auto [to_guest, packet] = std::move(wire_.begin()->second);
      wire_.erase(wire_.begin());
      if (to_guest) guest_takes(packet);
      if (!to_guest) machine_takes(packet);
    }
    pull();
    if (now_ >= g_.rto) guest_time_out();
    guest_sends();
  }

  void put(bool to_guest, Packet packet) {
    const int copies = chance(options_.loss) ? 0 : chance(options_.duplicate) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      Duration delay = 50us;
      if (chance(options_.reorder)) delay += Duration{random_() % 2'000'000};
      wire_.emplace(now_ + delay, std::pair{to_guest, packet});
    }
  }

  // --- the driver around the machine
  void apply(const Actions& a) {
    if (a.release) ring_base_ += a.released;
    if (a.shutdown_host_write) shut_wanted_ = true;
    if (a.reset_host) reset_ = true;
  }
  void machine_takes(const Packet& p) {
    const auto r = machine_.on_segment(p.segment, now_);
    apply(r.actions);
    const Deliver& d = r.deliver;
    if (d.length > 0) {
      const std::uint32_t at = in_order_ + d.ahead;
      if (at + d.length - flushed_ > options_.credit) return fail("more than the credit was promised");
      for (std::uint32_t i = 0; i < d.length; ++i) {
        const std::size_t slot = (at + i) % stash_.size();
        if (stash_known_[slot] == at + i + 1U) return fail("a byte was delivered twice");
        stash_known_[slot] = at + i + 1U;
        stash_[slot] = p.payload[d.offset + i];
      }
      if (d.ahead == 0) in_order_ += d.length + d.unlocked;
    }
    if (chance(options_.host_pace * 10)) flush();
    apply(machine_.on_stash(in_order_ - flushed_, options_.credit, now_));
  }
  void flush() {
    std::uint32_t n = in_order_ - flushed_;
    if (options_.host_pace < 100 && n > 0) n = static_cast<std::uint32_t>(random_() % n) + 1U;
    for (; n > 0; --n, ++flushed_) {
      if (stash_known_[flushed_ % stash_.size()] != flushed_ + 1U)
        return fail("unlocked bytes that never came");
      to_host_got_.push_back(stash_[flushed_ % stash_.size()]);
    }
    if (shut_wanted_ && flushed_ == in_order_) host_shut_ = true;
  }
  void host() {
    if (chance(options_.host_pace * 10)) {
      flush();
      apply(machine_.on_stash(in_order_ - flushed_, options_.credit, now_));
    }
    if (machine_.state() == State::kClosed) return;
    const auto in_ring = static_cast<std::uint32_t>(ring_end_ - ring_base_);
    auto n = machine_.host_read_budget(in_ring, 262'144);
    n = std::min(n, static_cast<std::uint32_t>(down_.size() - ring_end_));
    if (n > 0 && options_.host_pace < 100) n = static_cast<std::uint32_t>(random_() % n) + 1U;
    if (n > 0) {
      ring_end_ += n;
      apply(machine_.on_host_data(n, now_));
    }
    if (ring_end_ == down_.size() && machine_.wants_host_data()) apply(machine_.on_host_eof(now_));
  }
  void pull() {
    for (int i = 0; i < 1000; ++i) {
      const auto t = machine_.next_transmit(now_);
      if (!t) return;
      if (chance(options_.link_full)) return machine_.untransmit(*t);
      check_window(*t);
      sent_to_guest_ += t->payload;
      Packet p{.segment = {.seq = t->seq,
                           .ack = t->ack,
                           .syn = t->syn,
                           .ack_flag = t->ack_flag,
                           .fin = t->fin,
                           .rst = t->rst,
                           .psh = t->psh,
                           .window = t->window,
                           .payload = t->payload},
               .payload = {}};
      if (t->payload > 0) {
        if (t->ring_offset + t->payload > ring_end_ - ring_base_) return fail("sent beyond the ring");
        const auto first = down_.begin() + static_cast<std::ptrdiff_t>(ring_base_ + t->ring_offset);
        p.payload.assign(first, first + t->payload);
      }
      for (std::uint8_t k = 0; k < t->sack_count; ++k) p.segment.sack[p.segment.sack_count++] = t->sack[k];
      p.segment.window_scale = t->window_scale;
      put(true, std::move(p));
    }
    fail("next_transmit() does not end");
  }
  void check_window(const Transmit& t) {
    if (t.syn || t.rst) return;
    const std::uint32_t unit = options_.scale ? 16 : 1;
    const SeqNum edge = t.ack + t.window * unit;
    if (edge_known_ && max_edge_.distance_from(edge) >= static_cast<std::int32_t>(unit))
      fail("right edge moved left");
    if (!edge_known_ || edge.after(max_edge_)) max_edge_ = edge;
    edge_known_ = true;
  }

  // --- the guest
  void guest_ack(bool force_sack = false) {
    Packet p{.segment = guest_header(g_.nxt), .payload = {}};
    if (options_.sack && (force_sack || !g_.early.empty())) {
      std::vector<SackBlock> joined;
      for (const auto& [offset, data] : g_.early) {
        const SeqNum left = our_first() + offset, right = left + static_cast<std::uint32_t>(data.size());
        if (!joined.empty() && !left.after(joined.back().right)) {
          if (right.after(joined.back().right)) joined.back().right = right;
        } else {
          joined.push_back({left, right});
        }
      }
      for (const auto& b : joined)
        if (p.segment.sack_count < 3) p.segment.sack[p.segment.sack_count++] = b;
    }
    put(false, std::move(p));
  }
  Segment guest_header(SeqNum seq) {
    const std::uint32_t free = options_.guest_window - std::min(options_.guest_window, g_.unread);
    SeqNum right = g_.rcv_nxt + (free >> guest_shift() << guest_shift());
    if (right.before(g_.right)) right = g_.right;
    const std::uint32_t field = std::min(span(g_.rcv_nxt, right) >> guest_shift(), 65535U);
    const SeqNum visible = g_.rcv_nxt + (field << guest_shift());
    if (visible.after(g_.right)) g_.right = visible;
    return {.seq = seq, .ack = g_.rcv_nxt, .ack_flag = true, .window = static_cast<std::uint16_t>(field)};
  }
  void guest_takes(const Packet& p) {
    const Segment& s = p.segment;
    if (s.rst) return fail("the guest was reset");
    if (s.syn) {
      if (!g_.connected) {
        g_.connected = true;
        g_.una = g_.nxt = g_.max = guest_first();
        g_.wnd_right = guest_first() + s.window;
        g_.our_shift = options_.scale ? s.window_scale.value_or(0) : std::uint8_t{0};
        g_.rcv_nxt = g_.right = s.seq + 1U;
      }
      if (s.ack_flag) return guest_ack();
      Packet answer{.segment = syn(), .payload = {}};
      answer.segment.ack_flag = true;
      answer.segment.ack = s.seq + 1U;
      return put(false, std::move(answer));
    }
    if (!g_.connected) return;
    guest_checks_sack(s);
    if (s.ack.after(g_.max)) return fail("machine acknowledged what was never sent");
    const SeqNum right = s.ack + (static_cast<std::uint32_t>(s.window) << g_.our_shift);
    if (s.ack.after(g_.una)) {
      g_.una = s.ack;
      if (g_.nxt.before(g_.una)) g_.nxt = g_.una;
      g_.dups = 0;
      g_.rto_value = 200ms;
      g_.rto = Instant::never();
      if (g_.una == guest_first() + static_cast<std::uint32_t>(up_.size()) + 1U) g_.fin_acked = true;
    } else if (s.ack == g_.una && p.payload.empty() && right == g_.wnd_right && g_.max.after(g_.una)) {
      if (++g_.dups == 3) g_.nxt = g_.una;
    }
    if (right.after(g_.wnd_right)) g_.wnd_right = right;
    if (p.payload.empty() && !s.fin) {
      if (s.seq.before(g_.rcv_nxt)) guest_ack();
      return;
    }
    guest_receives(s, p.payload);
    guest_ack();
  }
  void guest_checks_sack(const Segment& s) {
    for (std::uint8_t i = 0; i < s.sack_count; ++i)
      if (!s.sack[i].left.after(s.ack) || s.sack[i].right.after(g_.max) ||
          !s.sack[i].right.after(s.sack[i].left))
        fail("a SACK block that cannot be");
  }
  void guest_receives(const Segment& s, const ByteString& payload) {
    const std::uint32_t offset = span(our_first(), s.seq);
    const std::uint32_t limit = span(our_first(), g_.right);
    for (std::uint32_t i = 0; i < payload.size(); ++i)
      if (offset + i >= down_.size() || down_[offset + i] != payload[i])
        return fail("wrong byte sent to the guest");
    const auto size = static_cast<std::uint32_t>(payload.size());
    const std::uint32_t end = std::min(offset + size, limit);
    std::uint32_t have = span(our_first(), g_.rcv_nxt);
    if (end > offset && end > have)
      g_.early[offset] =
          ByteString(payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(end - offset));
    for (auto it = g_.early.begin(); it != g_.early.end() && it->first <= have; it = g_.early.erase(it)) {
      const auto stop = it->first + static_cast<std::uint32_t>(it->second.size());
      if (stop <= have) continue;
      to_guest_got_.insert(to_guest_got_.end(),
                           it->second.begin() + static_cast<std::ptrdiff_t>(have - it->first),
                           it->second.end());
      g_.unread += stop - have;
      have = stop;
    }
    if (!g_.peer_fin) g_.rcv_nxt = our_first() + have;
    if (s.fin && s.seq + size == g_.rcv_nxt && !g_.peer_fin) {
      g_.peer_fin = true;
      g_.rcv_nxt += 1U;
      if (g_.right.before(g_.rcv_nxt)) g_.right = g_.rcv_nxt;
    }
  }
  void guest_app() {
    if (g_.unread > 0 && chance(options_.guest_app_pace * 10)) {
      const bool was_shut = options_.guest_window - g_.unread < options_.mss;
      g_.unread = options_.guest_app_pace == 100
                      ? 0
                      : g_.unread - static_cast<std::uint32_t>(random_() % g_.unread) - 1U;
      if (was_shut) guest_ack();
    }
  }
  void guest_time_out() {
    g_.rto = Instant::never();
    g_.rto_value = std::min<Duration>(g_.rto_value * 2, 2s);
    g_.nxt = g_.una;
    g_.dups = 0;
    if (!g_.wnd_right.after(g_.una)) guest_emit(1);  // zero-window probe
  }
  void guest_emit(std::uint32_t n) {
    const std::uint32_t offset = span(guest_first(), g_.nxt);
    const auto size = static_cast<std::uint32_t>(up_.size());
    Packet p{.segment = guest_header(g_.nxt), .payload = {}};
    if (offset < size) {
      n = std::min(n, size - offset);
      p.payload.assign(up_.begin() + offset, up_.begin() + offset + n);
      p.segment.payload = n;
    } else {
      n = 0;
    }
    if (offset + n == size && (n == 0 || span(g_.nxt + n, g_.wnd_right) > 0)) p.segment.fin = true;
    g_.nxt += n + (p.segment.fin ? 1U : 0U);
    if (g_.nxt.after(g_.max)) g_.max = g_.nxt;
    put(false, std::move(p));
  }
  void guest_sends() {
    if (!g_.connected || g_.fin_acked) return;
    const std::uint32_t end = static_cast<std::uint32_t>(up_.size()) + 1U;
    for (int i = 0; i < 64 && span(guest_first(), g_.nxt) < end; ++i) {
      const std::int32_t usable = g_.wnd_right.distance_from(g_.nxt);
      if (usable <= 0) break;
      guest_emit(std::min({static_cast<std::uint32_t>(usable), std::uint32_t{options_.mss},
                           static_cast<std::uint32_t>(random_() % 4 == 0 ? 100 : 65535)}));
    }
    if (g_.rto == Instant::never()) g_.rto = now_ + g_.rto_value;
  }

  Options options_;
  std::mt19937 random_;
  Instant now_ = Instant::from_nanos(1'000'000'000);
  Connection machine_;
  Guest g_;
  std::multimap<Instant, std::pair<bool, Packet>> wire_;
  ByteString down_, up_, to_guest_got_, to_host_got_, stash_;
  std::vector<std::uint32_t> stash_known_;
  std::uint32_t in_order_ = 0, flushed_ = 0;
  std::size_t ring_base_ = 0, ring_end_ = 0;
  bool shut_wanted_ = false, host_shut_ = false, reset_ = false, edge_known_ = false;
  SeqNum max_edge_;
  std::uint64_t sent_to_guest_ = 0;
  std::string error_;
};

}  // namespace cordon::tcp::test
