#include "app/forward_spec.h"

#include <algorithm>

#include "app/option_values.h"
#include "core/base/error.h"

namespace cordon::app {
namespace {

constexpr std::uint32_t kLastPort = 65535;
constexpr std::size_t kMaxInterfaceName = 15;  // IFNAMSIZ with its end

using Spec = std::expected<ForwardSpec, SpecError>;
template <class T>
using Parsed = std::expected<T, SpecError>;

struct Ports {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
};
struct Item {
  Ports ports;
  std::optional<std::uint32_t> target;
  std::optional<net::IpAddress> to;
  bool weak = false;
};

// A part of the argument that knows where it begins.
struct Part {
  std::string_view text;
  std::size_t at = 0;

  [[nodiscard]] Part head(std::size_t size) const { return {text.substr(0, size), at}; }
  [[nodiscard]] Part tail(std::size_t from) const { return {text.substr(from), at + from}; }
  [[nodiscard]] std::size_t end() const { return at + text.size(); }
};

std::unexpected<SpecError> wrong(std::size_t column, std::string message) {
  return std::unexpected(SpecError{column, std::move(message)});
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::optional<net::IpAddress> read_address(std::string_view text) {
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    const auto v6 = net::parse_ipv6(text.substr(1, text.size() - 2));
    return v6 ? std::optional{net::IpAddress{*v6}} : std::nullopt;
  }
  return net::parse_ip(text);
}

Parsed<std::uint32_t> read_port(Part part) {
  const auto bad = std::ranges::find_if_not(part.text, is_digit);
  const auto digits = static_cast<std::size_t>(bad - part.text.begin());
  if (digits < part.text.size()) return wrong(part.at + digits, "not a digit; give port numbers");
  if (part.text.empty()) return wrong(part.at, "a port number is missing");
  const auto number = parse_number(part.text);
  if (!number || *number > kLastPort) return wrong(part.at, "ports go up to 65535");
  if (*number == 0) return wrong(part.at, "port 0 cannot be used");
  return static_cast<std::uint32_t>(*number);
}

Parsed<Ports> read_ports(Part part) {
  const auto dash = part.text.find('-');
  Ports ports;
  ports.first = ports.last = CORDON_TRY(read_port(part.head(dash)));
  if (dash == std::string_view::npos) return ports;
  const Part second = part.tail(dash + 1);
  ports.last = CORDON_TRY(read_port(second));
  if (ports.last < ports.first) return wrong(second.at, "the range ends before it begins");
  return ports;
}

// What follows the colon: TOADDR, TOADDR/PORTS or PORTS.
Parsed<Item> read_target(Item item, Part part) {
  if (part.text.empty()) return wrong(part.at, "a port or an address is missing");
  Part ports = part;
  const auto slash = part.text.rfind('/');
  const bool numeric =
      std::ranges::all_of(part.text, [](char c) { return is_digit(c) || c == '-' || c == '/'; });
  if (slash != std::string_view::npos || !numeric) {
    const Part address = part.head(slash);
    item.to = read_address(address.text);
    if (!item.to) return wrong(address.at, "not a port and not an IP address");
    if (slash == std::string_view::npos) return item;
    ports = part.tail(slash + 1);
  }
  if (item.weak) return wrong(ports.at, "all keeps its ports; give only an address after it");
  const Ports target = CORDON_TRY(read_ports(ports));
  const bool single = ports.text.find('-') == std::string_view::npos;
  const std::uint32_t size = item.ports.last - item.ports.first;
  if (!single && target.last - target.first != size)
    return wrong(ports.at, "this range and the one before the colon differ in size");
  if (single && target.first + size > kLastPort) return wrong(ports.at, "the guest's ports go past 65535");
  item.target = target.first;
  return item;
}

Parsed<Item> read_item(Part part) {
  constexpr std::string_view kAll = "all";
  if (part.text == "auto" || part.text.starts_with("auto:"))
    return wrong(part.at, "auto is not supported yet; name the ports, or give all");
  // Not without brackets: 80:fd00::15/8080 is a port with its target.
  if (const auto slash = part.text.find('/');
      slash != std::string_view::npos &&
      (part.text.front() == '[' || net::parse_ipv4(part.text.substr(0, slash))))
    return wrong(part.at, "one address serves the whole list; repeat the option for another one");
  const auto colon = part.text.find(':');
  const Part source = part.head(colon);
  Item item;
  if (source.text == kAll) {
    item.weak = true;
    item.ports = {1, kLastPort};
  } else {
    item.ports = CORDON_TRY(read_ports(source));
  }
  if (colon == std::string_view::npos) return item;
  return read_target(item, part.tail(colon + 1));
}

// [A]%IF, %IF or A in front of the first slash. nullopt: the slash belongs to a target address.
Parsed<bool> read_prefix(Part part, ForwardSpec& spec) {
  const auto percent = part.text.find('%');
  const Part address = part.head(percent);
  const bool any = address.text.empty() || address.text == "*";
  if (!any) {
    spec.address = read_address(address.text);
    if (!spec.address) {
      if (percent == std::string_view::npos && address.text.find(':') != std::string_view::npos) return false;
      return wrong(address.at, "not an address to listen on; give an IP address, * or %INTERFACE");
    }
    if (net::is_multicast(*spec.address))
      return wrong(address.at, "a multicast address cannot be listened on");
  }
  if (percent == std::string_view::npos) {
    if (address.text.empty()) return wrong(part.at, "an address is missing before the slash");
    return true;
  }
  const Part name = part.tail(percent + 1);
  if (name.text.empty()) return wrong(name.at, "an interface name is missing");
  if (name.text.size() > kMaxInterfaceName)
    return wrong(name.at, "interface names have at most 15 characters");
  spec.interface = name.text;
  return true;
}

// Takes the exclusions out of one item: what is left, in pieces.
void add_pieces(const Item& item, const std::vector<Ports>& excluded, std::vector<PortRange>& into) {
  const std::uint32_t target = item.target.value_or(item.ports.first);
  const auto add = [&](std::uint32_t first, std::uint32_t last) {
    if (first > last) return;
    into.push_back({.first = static_cast<std::uint16_t>(first),
                    .last = static_cast<std::uint16_t>(last),
                    .target = static_cast<std::uint16_t>(target + (first - item.ports.first)),
                    .to = item.to,
                    .weak = item.weak});
  };
  std::uint32_t next = item.ports.first;
  for (const Ports& hole : excluded) {  // in order
    if (hole.last < next || hole.first > item.ports.last) continue;
    if (hole.first > 0) add(next, std::min(hole.first - 1, item.ports.last));
    next = std::max(next, hole.last + 1);
  }
  add(next, item.ports.last);
}

}  // namespace

Spec parse_forward_spec(std::string_view text) {
  ForwardSpec spec;
  if (text == "none") {
    spec.none = true;
    return spec;
  }
  Part list{text, 0};
  if (const auto slash = text.find('/'); slash != std::string_view::npos)
    if (CORDON_TRY(read_prefix(list.head(slash), spec))) list = list.tail(slash + 1);

  std::vector<Item> items;
  std::vector<Ports> excluded;
  for (std::size_t from = 0; from <= list.text.size();) {
    const auto comma = std::min(list.text.find(',', from), list.text.size());
    const Part part{list.text.substr(from, comma - from), list.at + from};
    if (part.text.empty()) return wrong(part.at, "a port is missing");
    if (part.text == "none") return wrong(part.at, "none stands alone");
    if (part.text.front() == '~')
      excluded.push_back(CORDON_TRY(read_ports(part.tail(1))));
    else
      items.push_back(CORDON_TRY(read_item(part)));
    from = comma + 1;
  }
  if (items.empty()) items.push_back({.ports = {1, kLastPort}, .target = {}, .to = {}, .weak = true});
  std::ranges::sort(excluded, {}, &Ports::first);
  for (const Item& item : items) add_pieces(item, excluded, spec.ranges);
  if (spec.ranges.empty()) return wrong(list.at, "nothing is left after the exclusions");
  return spec;
}

std::string describe(std::string_view option, std::string_view text, const SpecError& error) {
  return std::string{option} + ": " + error.message + " (character " + std::to_string(error.column + 1) +
         ")\n  " + std::string{text} + "\n  " + std::string(error.column, ' ') + "^";
}

}  // namespace cordon::app
