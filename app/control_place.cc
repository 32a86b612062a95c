#include "app/control_place.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace cordon::app {
namespace {

constexpr std::string_view kSuffix = ".sock";

}  // namespace

std::optional<std::string> control_directory() {
  if (::geteuid() == 0) return "/run/cordon";
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime == nullptr || *runtime != '/') return std::nullopt;
  return std::string{runtime} + "/cordon";
}

std::string control_path(std::string_view directory, std::string_view name) {
  return std::string{directory} + '/' + std::string{name} + std::string{kSuffix};
}

std::vector<ControlPlace> control_places(const std::string& directory) {
  std::vector<ControlPlace> found;
  std::error_code error;
  for (std::filesystem::directory_iterator entry{directory, error}, end; !error && entry != end;
       entry.increment(error)) {
    const std::string file = entry->path().filename().string();
    if (file.size() > kSuffix.size() && file.ends_with(kSuffix) && entry->is_socket(error) && !error)
      found.push_back({file.substr(0, file.size() - kSuffix.size()), entry->path().string()});
    error.clear();
  }
  std::ranges::sort(found, {}, &ControlPlace::name);
  return found;
}

}  // namespace cordon::app
