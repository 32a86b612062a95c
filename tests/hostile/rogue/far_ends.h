// Flows of an agent with both their ends at hand.
#pragma once

#include <sys/socket.h>

#include <string_view>

#include "tests/hostile/rogue/scene.h"

namespace cordon::rogue {

struct DatagramFlow {
  int fd = -1;  // the agent's
  flow::Id id;
  int far = -1;             // the driver's, shared by all
  sockaddr_storage peer{};  // where the flow's datagrams come from
  socklen_t length = 0;

  void say(std::string_view text) const;  // to the agent
};
// Says something, so that its far end knows it.
DatagramFlow open_datagrams(Scene& scene, bool v6 = false);

struct StreamFlow {
  int fd = -1;
  flow::Id id;
  base::Fd far;
};
StreamFlow open_stream(Scene& scene, bool v6 = false);

// What the agent reads from a socket: "ok", an errno's name, "end" or the text itself.
std::string read_text(Scene& scene, int fd);
std::string write_text(Scene& scene, int fd, std::string_view text = "x");
// What comes to the driver: how much until the end or `limit`, and how it ended.
struct Arrived {
  std::uint64_t bytes = 0;
  std::string end;  // "reset", "end", "silence"
};
Arrived receive_all(int far, milliseconds limit);

}  // namespace cordon::rogue
