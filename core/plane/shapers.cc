#include "core/plane/shapers.h"

#include <algorithm>
#include <utility>

namespace cordon::plane {
namespace {

constexpr std::uint32_t kLast = 1;  // marks of the intrusive lists
constexpr std::uint32_t kBias = 2;

// Woken for less than this nobody is: a fiftieth of a second's worth, one segment at least.
constexpr std::uint64_t least(std::uint64_t rate) {
  return std::clamp<std::uint64_t>(rate / 50, 1460, 16384);
}
// What one flow takes before the next one's turn.
constexpr std::uint64_t quantum(std::uint64_t rate) {
  return std::clamp<std::uint64_t>(rate / 1000, 16384, std::uint64_t{256} << 10U);
}

}  // namespace

void ShaperBank::set(const flow::Shaping& shaping, base::Instant now) {
  for (const Direction direction : {Direction::kToHost, Direction::kToGuest}) {
    if (shaping.shaper != 0) bucket(shaping.shaper, direction).change_rate(shaping.rate, now);
    if (shaping.outer != 0) bucket(shaping.outer, direction).change_rate(shaping.outer_rate, now);
  }
}

Shapers::Shapers(ShaperBank& bank, std::uint32_t slots, loop::TimerWheel& timers, std::uint32_t first_timer)
    : bank_(bank),
      timers_(timers),
      first_timer_(first_timer),
      next_{base::Reserved<std::uint32_t>(slots), base::Reserved<std::uint32_t>(slots)},
      previous_{base::Reserved<std::uint32_t>(slots), base::Reserved<std::uint32_t>(slots)},
      line_of_{base::Reserved<std::uint32_t>(slots), base::Reserved<std::uint32_t>(slots)} {}

ShaperIds Shapers::adopt(const flow::Shaping& shaping, base::Instant now) {
  if (shaping.shaper == 0 || shaping.shaper > flow::kMaxShapers || shaping.outer > flow::kMaxShapers)
    return {};
  bank_.set(shaping, now);
  set_outer(shaping.shaper, shaping.outer);
  return {shaping.shaper};
}

// Those who wait in its lines wait for the new outer one's tokens from now on.
void Shapers::set_outer(std::uint16_t shaper, std::uint16_t outer) {
  const std::uint16_t before = std::exchange(outer_[shaper], outer);
  if (before == outer) return;
  for (const std::uint32_t first : {0U, std::uint32_t{flow::kMaxShapers}}) {
    const std::uint32_t size = lines_[first + shaper - 1U].size;
    if (before != 0) waiting_[first + before - 1U] -= size;
    if (outer != 0) waiting_[first + outer - 1U] += size;
  }
}

void Shapers::rearm(ShaperIds ids, base::Instant now) {
  for (const std::uint32_t first : {0U, std::uint32_t{flow::kMaxShapers}})
    arm_group(first + ids.shaper - 1U, outer_[ids.shaper], now);
}

std::uint64_t Shapers::available(ShaperIds ids, Direction direction, base::Instant now) const {
  const std::uint16_t outer = outer_[ids.shaper];
  const std::uint64_t own = bank_.bucket(ids.shaper, direction).available(now);
  return outer == 0 ? own : std::min(own, bank_.bucket(outer, direction).available(now));
}

std::uint64_t Shapers::rate(ShaperIds ids, Direction direction) const {
  const std::uint16_t outer = outer_[ids.shaper];
  const std::uint64_t own = bank_.bucket(ids.shaper, direction).rate();
  return outer == 0 ? own : std::min(own, bank_.bucket(outer, direction).rate());
}

bool Shapers::enough(std::uint32_t index, base::Instant now) const {
  const Line& line = lines_[index];
  const Direction direction = direction_of(index);
  const ShaperIds ids{shaper_of(index)};
  return line.size > 0 && available(ids, direction, now) >= least(rate(ids, direction));
}

bool Shapers::next_line(std::uint32_t& index, std::uint16_t outer, base::Instant now) {
  if (outer == 0) return enough(index, now);
  const std::uint32_t first = index - index % flow::kMaxShapers;
  std::uint32_t& cursor = cursor_[first + outer - 1U];
  for (std::uint32_t i = 1; i <= flow::kMaxShapers; ++i) {
    const std::uint32_t candidate = first + (cursor + i) % flow::kMaxShapers;
    if (outer_[shaper_of(candidate)] != outer || !enough(candidate, now)) continue;
    cursor = candidate - first;
    index = candidate;
    return true;
  }
  return false;
}

std::uint32_t Shapers::allowance(std::uint32_t slot, ShaperIds ids, Direction direction, std::uint32_t wanted,
                                 base::Instant now) {
  const auto way = static_cast<std::size_t>(direction);
  const bool served = served_[way] == slot;
  if (served) served_[way] = kNobody;  // its turn is one quantum
  const std::size_t index = way * flow::kMaxShapers + ids.shaper - 1U;
  std::uint64_t most = 0;
  const std::uint16_t outer = outer_[ids.shaper];
  const bool crowd = outer != 0 && waiting_[way * flow::kMaxShapers + outer - 1U] > 0;
  if (served || (lines_[index].size == 0 && !crowd)) {
    const std::uint64_t there = available(ids, direction, now);
    const std::uint64_t pace = rate(ids, direction);
    if (there >= std::min<std::uint64_t>(wanted, least(pace)))
      most = served ? std::min(there, quantum(pace)) : there;
  }
  if (most < wanted) push(slot, ids, direction, now);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(wanted, most));
}

void Shapers::charge(ShaperIds ids, Direction direction, std::uint64_t bytes, base::Instant now) {
  bank_.bucket(ids.shaper, direction).charge(bytes, now);
  if (const std::uint16_t outer = outer_[ids.shaper]; outer != 0)
    bank_.bucket(outer, direction).charge(bytes, now);
}

bool Shapers::pass(ShaperIds ids, Direction direction, std::uint64_t bytes, base::Instant now) {
  if (available(ids, direction, now) == 0) return false;
  charge(ids, direction, bytes, now);
  return true;
}

base::Duration Shapers::time_for(ShaperIds ids, Direction direction, std::uint64_t bytes) const {
  return base::Duration{static_cast<std::int64_t>(static_cast<double>(bytes) * 1e9 /
                                                  static_cast<double>(rate(ids, direction)))};
}

void Shapers::push(std::uint32_t slot, ShaperIds ids, Direction direction, base::Instant now) {
  auto& next = next_[static_cast<std::size_t>(direction)];
  const auto index =
      static_cast<std::uint32_t>(static_cast<std::size_t>(direction) * flow::kMaxShapers + ids.shaper - 1U);
  Line& line = lines_[index];
  if (next[slot] == 0) {
    next[slot] = kLast;
    previous_[static_cast<std::size_t>(direction)][slot] = line.tail;  // nobody's: not read for the head
    line_of_[static_cast<std::size_t>(direction)][slot] = index;
    if (line.size++ == 0)
      line.head = slot;
    else
      next[line.tail] = slot + kBias;
    line.tail = slot;
    if (const std::uint16_t outer = outer_[ids.shaper]; outer != 0)
      ++waiting_[index - index % flow::kMaxShapers + outer - 1U];
  }
  arm(index, now);
}

std::uint32_t Shapers::pop(std::uint32_t index) {
  const std::uint32_t slot = lines_[index].head;
  unlink(index, slot);
  return slot;
}

void Shapers::unlink(std::uint32_t index, std::uint32_t slot) {
  Line& line = lines_[index];
  const auto way = static_cast<std::size_t>(direction_of(index));
  const std::uint32_t behind = next_[way][slot];  // kLast, or a slot and the bias
  const std::uint32_t before = previous_[way][slot];
  if (slot != line.head)
    next_[way][before] = behind;
  else if (behind != kLast)
    line.head = behind - kBias;
  if (slot == line.tail)
    line.tail = before;
  else
    previous_[way][behind - kBias] = before;
  next_[way][slot] = 0;
  --line.size;
  if (const std::uint16_t outer = outer_[shaper_of(index)]; outer != 0)
    --waiting_[index - index % flow::kMaxShapers + outer - 1U];
}

void Shapers::leave(std::uint32_t slot) {
  for (const Direction direction : {Direction::kToHost, Direction::kToGuest}) {
    const auto way = static_cast<std::size_t>(direction);
    if (next_[way][slot] != 0) unlink(line_of_[way][slot], slot);
  }
}

void Shapers::arm_group(std::uint32_t index, std::uint16_t outer, base::Instant now) {
  if (outer == 0) return arm(index, now);
  const std::uint32_t first = index - index % flow::kMaxShapers;
  for (std::uint32_t i = first; i < first + flow::kMaxShapers; ++i)
    if (lines_[i].size > 0 && outer_[shaper_of(i)] == outer) arm(i, now);
}

void Shapers::arm(std::uint32_t index, base::Instant now) {
  const Line& line = lines_[index];
  if (line.size == 0) return;
  const Direction direction = direction_of(index);
  const ShaperIds ids{shaper_of(index)};
  const std::uint64_t bytes = least(rate(ids, direction));
  base::Instant due = bank_.bucket(ids.shaper, direction).due(bytes);
  if (const std::uint16_t outer = outer_[ids.shaper]; outer != 0)
    due = std::max(due, bank_.bucket(outer, direction).due(bytes));
  timers_.arm(first_timer_ + index, std::max(due, now));
}

}  // namespace cordon::plane
