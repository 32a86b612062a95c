#include "policy/times.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace cordon::policy {
namespace {

using namespace std::chrono_literals;

constexpr auto kMaxDrain = 3600s;
constexpr std::string_view kShape = "dddd-dd-ddTdd:dd:ddZ";

bool has_shape(std::string_view text) {
  return std::ranges::equal(
      text, kShape, [](char c, char shape) { return shape == 'd' ? c >= '0' && c <= '9' : c == shape; });
}

unsigned number(std::string_view text, std::size_t at, std::size_t digits) {
  unsigned value = 0;
  std::from_chars(text.data() + at, text.data() + at + digits, value);
  return value;
}

std::string padded(unsigned value, std::size_t digits) {
  auto text = std::to_string(value);
  return std::string(digits - std::min(digits, text.size()), '0') + text;
}

}  // namespace

std::expected<base::WallTime, Problem> parse_time(std::string_view text) {
  const auto bad = [&](std::string_view what) {
    return std::unexpected(Problem{Code::kBadTime, quote(text) + std::string{what}});
  };
  if (!has_shape(text)) return bad(" is not a time; write UTC to the second, as in 2026-10-01T12:00:00Z");
  const std::chrono::year_month_day day{std::chrono::year{static_cast<int>(number(text, 0, 4))},
                                        std::chrono::month{number(text, 5, 2)},
                                        std::chrono::day{number(text, 8, 2)}};
  const auto hour = number(text, 11, 2);
  const auto minute = number(text, 14, 2);
  const auto second = number(text, 17, 2);
  if (!day.ok() || hour > 23 || minute > 59 || second > 59) return bad(" is no date or time of the calendar");
  return base::WallTime{std::chrono::sys_days{day}} + std::chrono::hours{hour} +
         std::chrono::minutes{minute} + std::chrono::seconds{second};
}

std::string to_string(base::WallTime time) {
  const auto midnight = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day day{midnight};
  const std::chrono::hh_mm_ss clock{std::chrono::floor<std::chrono::seconds>(time - midnight)};
  const auto two = [](auto count) { return padded(static_cast<unsigned>(count), 2); };
  return padded(static_cast<unsigned>(static_cast<int>(day.year())), 4) + "-" +
         two(static_cast<unsigned>(day.month())) + "-" + two(static_cast<unsigned>(day.day())) + "T" +
         two(clock.hours().count()) + ":" + two(clock.minutes().count()) + ":" +
         two(clock.seconds().count()) + "Z";
}

std::expected<base::Duration, Problem> parse_drain(std::string_view text) {
  if (text == "revoke") return base::Duration{0};
  constexpr std::string_view kWord = "drain ";
  auto rest = text.starts_with(kWord) ? text.substr(kWord.size()) : std::string_view{};
  const auto seconds_per_unit = rest.ends_with("min") ? 60 : 1;
  const std::string_view unit = seconds_per_unit == 60 ? "min" : "s";
  std::int64_t count = 0;
  if (rest.ends_with(unit) && rest.size() <= unit.size() + 4 && rest.front() >= '1' && rest.front() <= '9') {
    rest.remove_suffix(unit.size());
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), count);
    const std::chrono::seconds drain{count * seconds_per_unit};
    if (error == std::errc{} && end == rest.data() + rest.size() && drain <= kMaxDrain) return drain;
  }
  constexpr std::array<std::string_view, 2> kWords{"revoke", "drain"};
  return std::unexpected(Problem{Code::kBadChoice,
                                 "reload must be revoke, or drain with a time from 1s to 60min as in "
                                 "`drain 30s`, not " +
                                     quote(text) + did_you_mean(text.substr(0, text.find(' ')), kWords)});
}

}  // namespace cordon::policy
