// The argument of --tcp-ports and --udp-ports, in passt's syntax:
//
//   none | [ADDR[%IF]/ | *[%IF]/ | %IF/] ITEM[,ITEM...]
//   ITEM = all[:TOADDR] | A[-B] | A[-B]:C[-D] | A[-B]:TOADDR | A[-B]:TOADDR/C[-D] | ~A[-B]
//
// IPv6 addresses with or without brackets. Exclusions hold for every other item of the same list; a list of
// nothing but exclusions means `all` without them. Pure: text in, values or a position and a reason out.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/net/ip_address.h"

namespace cordon::app {

// One contiguous range, exclusions already taken out.
struct PortRange {
  std::uint16_t first = 0;  // never 0
  std::uint16_t last = 0;
  std::uint16_t target = 0;  // for `first`
  std::optional<net::IpAddress> to;
  bool weak = false;  // by `all`
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

struct ForwardSpec {
  bool none = false;                      // and nothing else
  std::optional<net::IpAddress> address;  // nullopt: every address of both families
  std::string interface;
  std::vector<PortRange> ranges;
};

struct SpecError {
  std::size_t column = 0;  // offset of the character that is wrong; the text's size: something is missing
  std::string message;
};

[[nodiscard]] std::expected<ForwardSpec, SpecError> parse_forward_spec(std::string_view text);
// "--tcp-ports 80-: give ...", the text, and a caret under the character.
[[nodiscard]] std::string describe(std::string_view option, std::string_view text, const SpecError& error);

}  // namespace cordon::app
