// Where control sockets are when nobody says: /run/cordon/NAME.sock for root,
// $XDG_RUNTIME_DIR/cordon/NAME.sock for everybody else.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cordon::app {

// nullopt: an ordinary user without $XDG_RUNTIME_DIR.
[[nodiscard]] std::optional<std::string> control_directory();
[[nodiscard]] std::string control_path(std::string_view directory, std::string_view name);

struct ControlPlace {
  std::string name;  // of the instance
  std::string path;
};
// By name; whether somebody listens there is another question.
[[nodiscard]] std::vector<ControlPlace> control_places(const std::string& directory);

}  // namespace cordon::app
