// What is watched of a live `cordon vm` from outside: its processes, their descriptors and memory, its
// records.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace cordon::hostile {

class LiveVm {
 public:
  // `launcher`: the process that was started. Throws std::runtime_error when it has no broker.
  LiveVm(pid_t launcher, std::string audit_log);

  [[nodiscard]] bool has_translator() const;
  // Launcher and broker are the ones of the beginning, with as many descriptors. What differs; empty:
  // nothing.
  [[nodiscard]] std::string disturbed() const;
  // Waits for the translator's end, too.
  [[nodiscard]] bool at_rest() const;
  [[nodiscard]] std::size_t violations_recorded() const {
    return recorded("\"sandbox.cause\":\"violation\"");
  }
  void wait_for_violations(std::size_t count) const;
  [[nodiscard]] std::size_t recorded(const std::string& text) const;
  // Of launcher and broker, above that of the beginning.
  [[nodiscard]] long long grown_bytes() const;
  [[nodiscard]] std::size_t translator_descriptors() const;

 private:
  struct Watched {
    pid_t pid;
    std::string name;
    std::size_t descriptors;
  };
  [[nodiscard]] pid_t child_in_role(const std::string& role) const;
  [[nodiscard]] std::size_t resident() const;
  pid_t launcher_;
  std::string audit_;
  std::vector<Watched> watched_;
  std::size_t resident_ = 0;
};

}  // namespace cordon::hostile
