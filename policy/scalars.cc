#include "policy/scalars.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace cordon::policy {
namespace {

constexpr std::array<std::string_view, 8> kWordNames{"internet", "private",  "onlink", "host",
                                                     "guests",   "metadata", "dns",    "any"};
constexpr std::uint64_t kMaxFlowLimit = 1'000'000;
constexpr std::uint64_t kMinRate = 1'000;  // less than one packet a second is no rate
constexpr std::uint64_t kMaxRate = 1'000'000'000'000;
constexpr std::uint64_t kMaxVolume = 1'000'000'000'000'000'000;
constexpr std::string_view kPortForms = "write tcp, udp, icmp/echo, tcp/443 or udp/8000-8100";

std::optional<WordSet> parse_word(std::string_view text) {
  WordSet set;
  if (text == "any") {
    set.add(Word::kInternet);
    set.add(Word::kPrivate);
    set.add(Word::kOnlink);
    return set;
  }
  const auto found = std::ranges::find(kWordNames, text);
  if (found == kWordNames.end()) return std::nullopt;
  set.add(static_cast<Word>(1U << static_cast<unsigned>(found - kWordNames.begin())));
  return set;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

Problem problem_of(std::string_view text, net::PrefixError error) {
  const auto slash = text.find('/');
  const auto address = text.substr(0, slash);
  switch (error) {
    case net::PrefixError::kHostBitsSet: {
      unsigned length = 0;
      const auto digits = text.substr(slash + 1);
      std::from_chars(digits.data(), digits.data() + digits.size(), length);
      const auto fixed = net::Prefix::containing(*net::parse_ip(address), length);
      return {Code::kHostBits, std::string{text} + " has host bits set; did you mean " +
                                   net::to_string(fixed) + " or the single address " + std::string{address} +
                                   "?"};
    }
    case net::PrefixError::kBadLength:
      return {Code::kBadPrefixLength, "prefix length " + quote(text.substr(slash + 1)) +
                                          " is not a number from 0 to " +
                                          (net::parse_ipv4(address) ? "32" : "128")};
    case net::PrefixError::kBadAddress: break;
  }
  return {Code::kBadDestination, quote(text) + " is not an address; write it in full, without leading zeros"};
}

std::optional<std::uint16_t> parse_port_number(std::string_view text) {
  std::uint16_t value = 0;
  if (text.empty() || text.front() == '0' || !is_digit(text.front())) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Unit {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr std::array kUnits = std::to_array<Unit>({{"B", 1},
                                                   {"KB", 1'000},
                                                   {"MB", 1'000'000},
                                                   {"GB", 1'000'000'000},
                                                   {"TB", 1'000'000'000'000},
                                                   {"KiB", 1ULL << 10U},
                                                   {"MiB", 1ULL << 20U},
                                                   {"GiB", 1ULL << 30U},
                                                   {"TiB", 1ULL << 40U}});

std::unexpected<Problem> bad_limit(std::string message) {
  return std::unexpected(Problem{Code::kBadLimit, std::move(message)});
}

// Digits only, without leading zeros; nullopt also when it does not fit.
std::optional<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t value = 0;
  if (text.empty() || !std::ranges::all_of(text, is_digit) || (text.front() == '0' && text.size() > 1))
    return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

// A whole number and a unit, from `lowest` to `highest` bytes; `whole` is what the file says.
std::expected<std::uint64_t, Problem> parse_bytes(std::string_view text, std::string_view whole,
                                                  std::string_view example, std::uint64_t lowest,
                                                  std::uint64_t highest) {
  const auto digits = text.find_first_not_of("0123456789");
  const auto count = parse_count(text.substr(0, digits));
  const auto unit = digits == std::string_view::npos ? std::string_view{} : text.substr(digits);
  const auto found = std::ranges::find(kUnits, unit, &Unit::name);
  if (digits == 0 || unit.empty() || (!count && text.front() == '0'))
    return bad_limit(quote(whole) + " is not a whole number with a unit, as in " + std::string{example});
  if (found == kUnits.end()) {
    const auto alike = std::ranges::find_if(kUnits, [&](const Unit& u) {
      return std::ranges::equal(u.name, unit, [](char a, char b) { return (a | 0x20) == (b | 0x20); });
    });
    return bad_limit(quote(unit) + " is no unit of bytes; write B, KB, MB, GB, TB or KiB, MiB, GiB, TiB" +
                     (alike == kUnits.end() ? "" : "; did you mean \"" + std::string{alike->name} + "\"?"));
  }
  if (!count || *count > highest / found->bytes)
    return bad_limit(quote(whole) + " is too much; leave the limit out if there is to be none");
  if (*count * found->bytes < lowest)
    return bad_limit(quote(whole) + " is too little to work with; " +
                     (lowest == 1 ? "to allow nothing, write a rule that denies"
                                  : "the least is " + std::to_string(lowest) + "B/s"));
  return *count * found->bytes;
}

}  // namespace

bool is_policy_name(std::string_view text) {
  return !text.empty() && text.size() <= 63 &&
         std::ranges::all_of(text, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-'; });
}

namespace {

struct Synonym {
  std::string_view said;
  std::string_view meant;
};
constexpr std::array kOtherWords = std::to_array<Synonym>({{"localhost", "host"},
                                                           {"lan", "onlink"},
                                                           {"local", "onlink"},
                                                           {"public", "internet"},
                                                           {"world", "internet"},
                                                           {"all", "any"}});
constexpr std::array kOtherPorts = std::to_array<Synonym>({{"icmp", "icmp/echo"},
                                                           {"ping", "icmp/echo"},
                                                           {"dns", "udp/53"},
                                                           {"http", "tcp/80"},
                                                           {"https", "tcp/443"},
                                                           {"ssh", "tcp/22"}});

std::string suggest(std::string_view what) { return "; did you mean \"" + std::string{what} + "\"?"; }

std::string suggest_word(std::string_view text) {
  const auto found = std::ranges::find(kOtherWords, text, &Synonym::said);
  return found != kOtherWords.end() ? suggest(found->meant) : did_you_mean(text, kWordNames);
}

// For "443", "443/tcp", "tcp:443", "https".
std::string suggest_port(std::string_view text) {
  const auto found = std::ranges::find(kOtherPorts, text, &Synonym::said);
  if (found != kOtherPorts.end()) return suggest(found->meant);
  const auto cut = text.find_first_of("/:");
  const auto first = text.substr(0, cut);
  const auto rest = cut == std::string_view::npos ? std::string_view{} : text.substr(cut + 1);
  const auto is_protocol = [](std::string_view part) { return part == "tcp" || part == "udp"; };
  if (parse_port_number(first) && (rest.empty() || is_protocol(rest)))
    return suggest(std::string{rest.empty() ? "tcp" : rest} + "/" + std::string{first});
  if (is_protocol(first) && parse_port_number(rest))
    return suggest(std::string{first} + "/" + std::string{rest});
  return {};
}

// "10.0.0.1:443", "[2001:db8::1]:443", "https://..."
bool has_port(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  return text.find("://") != std::string_view::npos ||
         (parse_port_number(text.substr(colon + 1)) &&
          (text.starts_with('[') || net::parse_ipv4(text.substr(0, colon))));
}

}  // namespace

std::expected<DestinationValue, Problem> parse_destination(std::string_view text) {
  if (const auto word = parse_word(text)) return *word;
  const auto prefix = net::parse_prefix(text);
  if (prefix) {
    static const auto kMapped = *net::parse_prefix("::ffff:0:0/96");
    if (kMapped.contains(*prefix))
      return std::unexpected(
          Problem{Code::kBadDestination,
                  std::string{text} + " is an IPv4 address in IPv6 form; write the IPv4 address"});
    return *prefix;
  }
  const auto last_label = text.substr(text.find_last_of('.') + 1);
  const bool looks_numeric =
      text.find_first_of(":/") != std::string_view::npos ||
      (text.find('.') != std::string_view::npos && std::ranges::all_of(last_label, is_digit));
  if (has_port(text))
    return std::unexpected(
        Problem{Code::kBadDestination,
                quote(text) + " is more than an address; what follows it belongs into \"ports\""});
  if (prefix.error() != net::PrefixError::kBadAddress || looks_numeric)
    return std::unexpected(problem_of(text, prefix.error()));
  if (text.find('.') != std::string_view::npos || text.starts_with('*'))
    return std::unexpected(Problem{
        Code::kNameDestination,
        "names such as " + quote(text) + " are not supported yet in this version; write addresses or CIDRs"});
  return std::unexpected(Problem{
      Code::kBadDestination, quote(text) + " is neither a word, an address nor a CIDR" + suggest_word(text)});
}

std::expected<PortRange, Problem> parse_ports(std::string_view text) {
  if (text == "icmp/echo") return PortRange{.protocol = flow::Protocol::kIcmpEcho};
  const auto slash = text.find('/');
  const auto protocol = text.substr(0, slash);
  const auto bad = [&](Code code, std::string message) {
    return std::unexpected(Problem{code, std::move(message)});
  };
  PortRange range;
  if (protocol == "udp")
    range.protocol = flow::Protocol::kUdp;
  else if (protocol != "tcp")
    return bad(Code::kBadPort, quote(text) + " is not a protocol with ports; " + std::string{kPortForms} +
                                   suggest_port(text));
  if (slash == std::string_view::npos) return range;
  const auto numbers = text.substr(slash + 1);
  const auto dash = numbers.find('-');
  const auto first = parse_port_number(numbers.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_port_number(numbers.substr(dash + 1));
  if (!first || !last)
    return bad(Code::kBadPort,
               quote(text) + " is not a port from 1 to 65535 or a range; " + std::string{kPortForms});
  if (*first > *last)
    return bad(Code::kReversedRange, "port range " + std::string{numbers} + " is reversed; write " +
                                         std::to_string(*last) + "-" + std::to_string(*first));
  range.first = *first;
  range.last = *last;
  return range;
}

std::expected<std::uint32_t, Problem> parse_connections(std::string_view text) {
  const auto count = parse_count(text);
  if (!count || *count == 0 || *count > kMaxFlowLimit)
    return bad_limit(quote(text) + " is not a whole number of flows from 1 to " +
                     std::to_string(kMaxFlowLimit));
  return static_cast<std::uint32_t>(*count);
}

std::expected<NewFlows, Problem> parse_new_flows(std::string_view text) {
  const auto slash = text.find('/');
  const auto count = parse_count(text.substr(0, slash));
  const auto unit = slash == std::string_view::npos ? std::string_view{} : text.substr(slash + 1);
  if (!count || *count == 0 || *count > kMaxFlowLimit || (unit != "s" && unit != "min"))
    return bad_limit(quote(text) +
                     " is not a number of new flows per time; write 20/s or 60/min, from 1 to " +
                     std::to_string(kMaxFlowLimit));
  return NewFlows{.count = static_cast<std::uint32_t>(*count), .seconds = unit == "s" ? 1U : 60U};
}

std::expected<std::uint64_t, Problem> parse_rate(std::string_view text) {
  constexpr std::string_view kExample = "10MB/s";
  if (!text.ends_with("/s"))
    return bad_limit(quote(text) + " is not a rate; write bytes per second, as in " + std::string{kExample});
  return parse_bytes(text.substr(0, text.size() - 2), text, kExample, kMinRate, kMaxRate);
}

std::expected<std::uint64_t, Problem> parse_volume(std::string_view text) {
  return parse_bytes(text, text, "2GB", 1, kMaxVolume);
}

}  // namespace cordon::policy
