// How policy files get from disk to the broker, which can open nothing itself.
//
// Theory of operation. For each load the launcher starts `cordon --role=policy-loader WORDS -- FILE...` with
// a memory file as its standard output. The loader opens the files and starts one `--role=policy-reader` for
// each: the file is its standard input, a memory file its output, and it may do nothing but read the one,
// parse YAML, and write policy::encode() into the other. The loader waits a bounded time, carries the answers
// into one bundle without looking into them, and ends. Whatever goes wrong with a file, or with its reader,
// is a message about that file in the bundle; so the broker alone says what is wrong, at start and later.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "app/options.h"

namespace cordon::app {

inline constexpr const char* kOperatorPolicy = "/etc/cordon/policy.yaml";

// Which files bind the guest, outermost first: the operator's whenever it exists, then `--policy` in order.
class PolicyFiles {
 public:
  explicit PolicyFiles(const RunOptions& options);
  // Looks again: an operator's file that is new counts from now on; one that was there once never ceases to,
  // so that taking it away is an error and opens nothing.
  [[nodiscard]] std::vector<std::string> current();

 private:
  std::vector<std::string> given_;
  bool has_operator_ = false;
};

enum class LoadKind : std::uint8_t { kFirst, kReload };
// The loader's command line. Empty: there are no files.
[[nodiscard]] std::vector<std::string> loader_arguments(const RunOptions& options, LoadKind kind,
                                                        const std::vector<std::string>& files);

// The two roles. `arguments`: without --role.
[[nodiscard]] int run_policy_loader(std::span<const std::string> arguments);
[[nodiscard]] int run_policy_reader(std::span<const std::string> arguments);

}  // namespace cordon::app
