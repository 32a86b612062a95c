#include "tests/hostile/devices/baseline.h"

#include <dirent.h>
#include <malloc.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace cordon::hostile {
namespace {

std::string place(pid_t pid, const char* name) {
  return "/proc/" + (pid == 0 ? std::string{"self"} : std::to_string(pid)) + "/" + name;
}

}  // namespace

std::optional<std::size_t> open_descriptors(pid_t pid) {
  DIR* const directory = ::opendir(place(pid, "fd").c_str());
  if (directory == nullptr) return std::nullopt;
  std::size_t count = 0;
  while (const dirent* const entry = ::readdir(directory))
    if (entry->d_name[0] != '.') ++count;
  ::closedir(directory);
  return pid == 0 ? count - 1 : count;  // the directory's own
}

std::optional<std::size_t> memory_mappings(pid_t pid) {
  std::ifstream file{place(pid, "maps")};
  if (!file) return std::nullopt;
  std::size_t count = 0;
  for (std::string line; std::getline(file, line);)
    if (line.find("/memfd:") != std::string::npos) ++count;
  return count;
}

std::optional<std::size_t> resident_bytes(pid_t pid) {
  std::ifstream file{place(pid, "statm")};
  std::size_t all = 0, resident = 0;
  if (!(file >> all >> resident)) return std::nullopt;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t heap_bytes() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return 0;
#else
  return ::mallinfo2().uordblks;
#endif
}

}  // namespace cordon::hostile
