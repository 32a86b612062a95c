#include "tests/hostile/devices/live_vm.h"

#include <dirent.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

#include "tests/hostile/devices/baseline.h"

namespace cordon::hostile {
namespace {

// Empty for a process that is gone, also when it goes in between.
std::string file_text(const std::string& path) try {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
} catch (const std::ios_base::failure&) {
  return {};
}

pid_t parent_of(pid_t pid) {
  const std::string stat = file_text("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t end = stat.rfind(')');  // of the name, then state and parent
  return end == std::string::npos ? 0 : static_cast<pid_t>(std::strtol(stat.c_str() + end + 4, nullptr, 10));
}

}  // namespace

LiveVm::LiveVm(pid_t launcher, std::string audit_log) : launcher_(launcher), audit_(std::move(audit_log)) {
  const pid_t broker = child_in_role("broker");
  if (broker == 0) throw std::runtime_error("no broker below process " + std::to_string(launcher));
  for (const auto& [pid, name] : {std::pair{launcher, "launcher"}, std::pair{broker, "broker"}}) {
    const auto descriptors = open_descriptors(pid);
    if (!descriptors) throw std::runtime_error("cannot look at the " + std::string{name});
    watched_.push_back({pid, name, *descriptors});
  }
  resident_ = resident();
}

// 0: none.
pid_t LiveVm::child_in_role(const std::string& role) const {
  DIR* const directory = ::opendir("/proc");
  pid_t found = 0;
  while (const dirent* const entry = directory != nullptr ? ::readdir(directory) : nullptr) {
    const auto pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (pid <= 0 || parent_of(pid) != launcher_) continue;
    const std::string line = file_text("/proc/" + std::to_string(pid) + "/cmdline");
    if (line.find("--role=" + role) != std::string::npos) found = pid;
  }
  if (directory != nullptr) ::closedir(directory);
  return found;
}

// Also one that has ended and is not buried yet: until then the launcher serves nobody else.
bool LiveVm::has_translator() const {
  DIR* const directory = ::opendir("/proc");
  bool found = false;
  while (const dirent* const entry = directory != nullptr ? ::readdir(directory) : nullptr) {
    const auto pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (pid > 0 && parent_of(pid) == launcher_ && pid != watched_.back().pid) found = true;
  }
  if (directory != nullptr) ::closedir(directory);
  return found;
}

std::size_t LiveVm::translator_descriptors() const {
  const pid_t pid = child_in_role("translator");
  return pid == 0 ? 0 : open_descriptors(pid).value_or(0);
}

bool LiveVm::at_rest() const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{15};
  while (has_translator() || !disturbed().empty()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
  return true;
}

void LiveVm::wait_for_violations(std::size_t count) const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{5};
  while (violations_recorded() < count && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
}

std::string LiveVm::disturbed() const {
  for (const Watched& process : watched_) {
    const auto now = open_descriptors(process.pid);
    if (::kill(process.pid, 0) != 0 || !now) return "the " + process.name + " is gone";
    if (*now != process.descriptors)
      return "the " + process.name + " has " + std::to_string(*now) + " descriptors, had " +
             std::to_string(process.descriptors);
  }
  return {};
}

std::size_t LiveVm::recorded(const std::string& text) const {
  const std::string log = file_text(audit_);
  std::size_t count = 0;
  for (std::size_t at = log.find(text); at != std::string::npos; at = log.find(text, at + 1)) ++count;
  return count;
}

std::size_t LiveVm::resident() const {
  std::size_t sum = 0;
  for (const Watched& process : watched_) sum += resident_bytes(process.pid).value_or(0);
  return sum;
}

long long LiveVm::grown_bytes() const {
  return static_cast<long long>(resident()) - static_cast<long long>(resident_);
}

}  // namespace cordon::hostile
