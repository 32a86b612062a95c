// Command line of the traffic program.
#include "tests/netns/tools/traffic.h"

#include <csignal>
#include <cstdio>
#include <cstring>

namespace {

using namespace cordon::traffic;

void print_usage() {
  std::fputs(
      "usage: traffic server PORT [ADDRESS]      every behaviour on one port; prints \"ready\"\n"
      "       traffic canary PORT [ADDRESS]      counts; prints JSON on SIGTERM or when stdin closes\n"
      "       traffic dns-server PORT A [AAAA]   answers every name with these addresses\n"
      "       traffic who-server PORT [ADDRESS]  tells whoever asks who it is; prints \"ready\"\n"
      "       traffic stamper PORT              keeps a book of what arrives when; prints \"ready\"\n"
      "       traffic [--bind ADDRESS] [--timeout MS] COMMAND ...\n",
      stderr);
  for (const auto list : {tcp_commands(), udp_commands(), path_commands(), refusal_commands(),
                          bench_commands(), force_commands(), watch_commands(), who_commands(),
                          hammer_commands(), crowd_commands(), forbid_commands()}) {
    for (const CommandEntry& entry : list) {
      std::fprintf(stderr, "         %s %s\n", std::string(entry.name).c_str(),
                   std::string(entry.usage).c_str());
    }
  }
}

int run_client(const Options& options, const std::string& name, std::span<const std::string> arguments) {
  for (const auto list : {tcp_commands(), udp_commands(), path_commands(), refusal_commands(),
                          bench_commands(), force_commands(), watch_commands(), who_commands(),
                          hammer_commands(), crowd_commands(), forbid_commands()}) {
    for (const CommandEntry& entry : list) {
      if (entry.name == name && arguments.size() >= entry.least_arguments)
        return entry.run(options, arguments);
    }
  }
  print_usage();
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  Options options;
  std::size_t next = 0;
  while (next + 1 < arguments.size() && arguments[next].starts_with("--")) {
    if (arguments[next] == "--bind") {
      options.bind = arguments[next + 1];
    } else if (arguments[next] == "--timeout") {
      options.timeout_ms = static_cast<int>(parse_number(arguments[next + 1]));
    } else {
      print_usage();
      return 2;
    }
    next += 2;
  }
  if (next >= arguments.size()) {
    print_usage();
    return 2;
  }
  const std::string name = arguments[next];
  const auto rest = std::span<const std::string>(arguments).subspan(next + 1);
  if (name == "server" && !rest.empty()) return run_server(rest);
  if (name == "canary" && !rest.empty()) return run_canary(rest);
  if (name == "who-server" && !rest.empty()) return run_who_server(rest);
  if (name == "stamper" && !rest.empty()) return run_stamper(rest);
  if (name == "dns-server" && rest.size() >= 2) return run_dns_server(rest);
  return run_client(options, name, rest);
}
