// hostile_front_end SOCKET PID AUDIT [WORD]: the rows of section 4.9 against the live `cordon vm
// --vhost-user` that is process PID; with WORD only those in whose number or name it is.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <thread>

#include "tests/hostile/devices/front_end_rows.h"

using namespace cordon::hostile;

namespace {

// VU-22: one client, whoever else knocks, and no more translators than the launcher's pace.
std::string crowd(const std::string& socket) {
  {
    Visit first{socket, {}};
    if (!first.works()) return "the first one does not work";
    for (int i = 0; i < 30; ++i) {
      GuestMemory memory{4096};
      FrontEnd second{socket, memory};
      try {
        static_cast<void>(second.ask_number(Request::kGetFeatures));
        return "a second client was served";
      } catch (const std::exception&) {  // closed
      }
    }
    if (!first.works()) return "the first one was disturbed";
  }
  for (int i = 0; i < 25; ++i) {
    GuestMemory memory{4096};
    const FrontEnd gone{socket, memory};
  }
  return {};
}

// Those that left while they waited are served before it, one after the other; meanwhile it is a second
// client, and comes again as QEMU does (reconnect).
std::string comes_in(const std::string& socket) {
  std::string why;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while (std::chrono::steady_clock::now() < end) {
    try {
      Visit visit{socket, {}};
      return visit.works() ? "" : "its device does not work";
    } catch (const std::exception& error) {
      why = error.what();
      std::this_thread::sleep_for(std::chrono::milliseconds{100});
    }
  }
  return why;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fputs("usage: hostile_front_end SOCKET PID AUDIT [WORD]\n", stderr);
    return 2;
  }
  try {
    const std::string socket = argv[1];
    const LiveVm vm{static_cast<pid_t>(std::atoi(argv[2])), argv[3]};
    RowDriver driver{vm, argc == 5 ? argv[4] : ""};
    const auto run = [&](const FrontEndRow& row) {
      driver.run(row, row.options.start, [&] { return std::make_unique<Visit>(socket, row.options); });
    };
    for (const auto& rows : {message_rows(), memory_rows(), ring_rows()})
      for (const FrontEndRow& row : rows) run(row);
    driver.check("VU-22 many connections, and two at once", [&] { return crowd(socket); });
    driver.check("VU-22 an honest machine after all of them", [&] { return comes_in(socket); });
    return driver.finish();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hostile_front_end: %s\n", error.what());
    return 1;
  }
}
