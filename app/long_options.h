// A command line in the manner of getopt_long(3), for the front ends that take other programs' arguments:
// `--option value`, `--option=value`, unambiguous beginnings of long options, bundled short options, values
// glued to them; the first word that is no option ends the options, and so does `--`.
//
// Pure, and in the form that clients know its complaints by (Podman looks for "unrecognized option").
#pragma once

#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cordon::app {

struct LongOption {
  std::string_view name;   // without the dashes; "": has a letter only
  char letter = 0;         // 0: has none
  bool has_value = false;  // needs one
  bool exact = false;      // no beginning of the name will do, and none of another becomes ambiguous by it
};

struct GivenOption {
  const LongOption* option = nullptr;
  std::string value;
};
struct GivenOptions {
  std::vector<GivenOption> options;  // in the order of the command line
  std::vector<std::string> operands;
  // The options before it are good; a front end that acts on one of them at once (--help) never sees it.
  std::optional<std::string> error;
};

// `options` must outlive the result.
[[nodiscard]] GivenOptions read_long_options(std::span<const LongOption> options,
                                             std::span<const std::string> arguments);

}  // namespace cordon::app
