#include "tests/hostile/rogue/scene.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace cordon::rogue {
namespace {

std::uint64_t size_of(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

}  // namespace

std::string read_file(const std::string& path, std::uint64_t from) {
  std::ifstream file{path};
  file.seekg(static_cast<std::streamoff>(from));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string name_of_errno(std::int64_t number) {
  const char* const name = ::strerrorname_np(static_cast<int>(number));
  return name != nullptr ? name : std::to_string(number);
}

std::string outcome(const Result& result) { return result.value >= 0 ? "ok" : name_of_errno(result.error); }

Scene::Scene(const World& world, Witness& witness) : world_(world), witness_(witness) {}

Remote& Scene::agent() {
  if (!agent_) agent_ = std::make_unique<Remote>(world_.socket);
  return *agent_;
}

void Scene::end_agent() {
  sockets_.clear();
  far_.clear();
  agent_.reset();
}

int Scene::tcp(bool v6) {
  auto& fd = sockets_[{SOCK_STREAM, v6}];
  if (fd != 0) return fd;
  fd = agent().grant(flow::Protocol::kTcp, v6 ? kServer6 : kServer4, kAllowed);
  far_[v6] = witness_.accept(v6);
  if (!far_[v6]) throw std::runtime_error("a granted connection does not arrive");
  return fd;
}

int Scene::udp(bool v6) {
  auto& fd = sockets_[{SOCK_DGRAM, v6}];
  if (fd == 0) fd = agent().grant(flow::Protocol::kUdp, v6 ? kServer6 : kServer4, kAllowed);
  return fd;
}

int Scene::ping(bool v6) {
  auto& fd = sockets_[{SOCK_RAW, v6}];
  if (fd == 0) fd = agent().grant(flow::Protocol::kIcmpEcho, v6 ? kServer6 : kServer4, 0);
  return fd;
}

std::string Scene::cause_of_end() {
  std::string said;
  const bool known = within(milliseconds{5000}, [&] {
    said = read_file(world_.log, log_at_);
    return said.find("the guest's connection is closed") != std::string::npos;
  });
  if (!known) return "left";
  constexpr std::pair<std::string_view, std::string_view> kCauses[] = {
      {"killed by signal 31", "SIGSYS"},
      {"killed by signal 11", "SIGSEGV"},
      {"killed by signal 6", "SIGABRT"},
      {"killed by signal 9", "SIGKILL"},
      {"a revocation took more", "revocation"}};
  for (const auto& [text, cause] : kCauses)
    if (said.find(text) != std::string::npos) return std::string{cause};
  constexpr std::string_view kBroke = "it broke the channel's protocol (";
  if (const auto at = said.find(kBroke); at != std::string::npos) {
    const auto from = at + kBroke.size();
    return "violation " + said.substr(from, said.find(')', from) - from);
  }
  if (const auto at = said.find("exit status "); at != std::string::npos) return said.substr(at, 14);
  return said;
}

std::string Scene::ctl(const std::string& arguments, int* status) const {
  const std::string command =
      "timeout 20 " + world_.cordon + " ctl --socket " + world_.control + " " + arguments + " 2>&1";
  FILE* const pipe = ::popen(command.c_str(), "re");
  std::string out;
  std::array<char, 4096> buffer;
  while (const std::size_t got = pipe != nullptr ? std::fread(buffer.data(), 1, buffer.size(), pipe) : 0)
    out.append(buffer.data(), got);
  const int ended = pipe != nullptr ? ::pclose(pipe) : -1;
  if (status != nullptr) *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
  return out;
}

std::optional<milliseconds> Scene::answer_time(milliseconds limit) const {
  const auto begin = Clock::now();
  int status = 0;
  const std::string said = ctl("--json status", &status);
  const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
  if (status != 0 || said.find("\"guest\"") == std::string::npos || took > limit) return std::nullopt;
  return took;
}

bool Scene::try_honest_flows() {
  end_agent();
  witness_.clear();
  constexpr std::string_view kText = "good morning";
  const auto text = std::as_bytes(std::span{kText});
  std::array<char, 64> buffer{};
  try {
    for (const bool v6 : {false, true}) {
      if (!v6 && !v4_) continue;
      const std::uint64_t at = agent().put(text);
      const int stream = tcp(v6);
      agent().call(SYS_write, stream, at, text.size());
      if (::recv(far_tcp(v6), buffer.data(), kText.size(), MSG_WAITALL) != static_cast<ssize_t>(kText.size()))
        return false;
      if (::send(far_tcp(v6), "and you", 7, MSG_NOSIGNAL) != 7) return false;
      const std::uint64_t back = agent().room(64);
      if (!within(milliseconds{3000}, [&] { return agent().call(SYS_read, stream, back, 64).value == 7; }))
        return false;
      const int datagrams = udp(v6);
      agent().call(SYS_write, datagrams, at, text.size());
      sockaddr_storage peer{};
      socklen_t length = sizeof peer;
      pollfd ready{witness_.udp(v6), POLLIN, 0};
      if (::poll(&ready, 1, 3000) != 1) return false;
      const ssize_t got =
          ::recvfrom(ready.fd, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&peer), &length);
      if (got != static_cast<ssize_t>(kText.size())) return false;
      ::sendto(ready.fd, "hello", 5, 0, reinterpret_cast<const sockaddr*>(&peer), length);
      if (!within(milliseconds{3000}, [&] { return agent().call(SYS_read, datagrams, back, 64).value == 5; }))
        return false;
    }
  } catch (const Gone&) {
    return false;
  } catch (const Refused&) {
    return false;
  } catch (const std::runtime_error&) {
    return false;
  }
  return true;
}

// What the broker measures or is told of the host takes a moment to be true again.
bool Scene::honest_flows() {
  return within(milliseconds{5000}, [this] { return try_honest_flows(); });
}

bool Scene::other_guest() {
  if (world_.work.empty()) return true;
  const base::Fd work{::open(world_.work.c_str(), O_RDWR | O_CLOEXEC)};
  const base::Fd done{::open(world_.done.c_str(), O_RDWR | O_CLOEXEC)};
  char answer = 'n';
  if (!work || !done || ::write(work.get(), "go\n", 3) != 3) return false;
  pollfd ready{done.get(), POLLIN, 0};
  return ::poll(&ready, 1, 20'000) == 1 && ::read(done.get(), &answer, 1) == 1 && answer == 'y';
}

bool Scene::recorded(std::string_view text) {
  return within(milliseconds{3000},
                [&] { return read_file(world_.audit, audit_at_).find(text) != std::string::npos; });
}

std::uint64_t Scene::audit_size() const { return size_of(world_.audit); }

Scene::Broker Scene::broker() const {
  Broker out;
  const std::string base = "/proc/" + std::to_string(world_.broker);
  if (DIR* const directory = ::opendir((base + "/fd").c_str())) {
    while (::readdir(directory) != nullptr) ++out.descriptors;
    ::closedir(directory);
  }
  std::istringstream status{read_file(base + "/status")};
  for (std::string word; status >> word;)
    if (word == "VmRSS:") status >> out.resident_kib;
  return out;
}

// /proc/net/sockstat: TCP and UDP say "mem", in pages.
std::size_t Scene::socket_memory() const {
  std::istringstream text{read_file("/proc/net/sockstat")};
  std::size_t pages = 0;
  for (std::string word; text >> word;)
    if (std::size_t count = 0; word == "mem" && text >> count) pages += count;
  return pages * 4096;
}

void Scene::begin() {
  witness_.forget();
  log_at_ = size_of(world_.log);
  audit_at_ = size_of(world_.audit);
}

}  // namespace cordon::rogue
