#include "sandbox/resolver_watch.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <climits>
#include <cstdlib>

namespace cordon::sandbox {
namespace {

constexpr std::size_t kMaxFile = std::size_t{64} << 10U;
constexpr std::string_view kBlank = " \t\r";

std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
  const auto word = line.substr(0, line.find_first_of(kBlank));
  line.remove_prefix(word.size());
  return word;
}

// "fe80::1%eth0" or "%3".
std::uint32_t scope_of(std::string_view zone) {
  std::uint32_t index = 0;
  const auto [end, error] = std::from_chars(zone.data(), zone.data() + zone.size(), index);
  if (error == std::errc{} && end == zone.data() + zone.size()) return index;
  return ::if_nametoindex(std::string{zone}.c_str());
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

control::Resolvers parse_resolv_conf(std::string_view text) {
  control::Resolvers resolvers;
  while (!text.empty() && resolvers.servers.size() < control::kMaxResolvers) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (next_word(line) != "nameserver") continue;
    const auto word = next_word(line);
    const auto percent = word.find('%');
    const auto address = net::parse_ip(word.substr(0, percent));
    if (!address) continue;
    const bool scoped = percent != std::string_view::npos && net::is_link_local(*address);
    resolvers.servers.push_back({*address, scoped ? scope_of(word.substr(percent + 1)) : 0});
  }
  return resolvers;
}

base::Result<void> ResolverWatch::start() {
  inotify_ = base::Fd{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
  if (!inotify_) return base::fail_errno("inotify", "changes of " + path_ + " will not be noticed");
  place_watches();
  return {};
}

control::Resolvers ResolverWatch::read() const {
  const base::Fd file{::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!file) return {};
  std::string text(kMaxFile, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  return parse_resolv_conf(std::string_view{text}.substr(0, size));
}

bool ResolverWatch::changed() {
  alignas(inotify_event) std::array<char, 4096> events;
  bool any = false;
  // Bounded: a busy folder must not keep the launcher here; what is left wakes it again.
  for (int i = 0; i < 16 && ::read(inotify_.get(), events.data(), events.size()) > 0; ++i) any = true;
  if (any) place_watches();
  return any;
}

void ResolverWatch::place_watches() {
  // Adding a watch again is harmless. The folder sees renames; the target's folder those behind a symbolic
  // link; the file itself changes in place, also where it is a bind mount.
  constexpr std::uint32_t kFolder = IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_CLOSE_WRITE | IN_ONLYDIR;
  ::inotify_add_watch(inotify_.get(), folder_of(path_).c_str(), kFolder);
  std::array<char, PATH_MAX> target{};
  if (::realpath(path_.c_str(), target.data()) == nullptr) return;
  ::inotify_add_watch(inotify_.get(), folder_of(target.data()).c_str(), kFolder);
  ::inotify_add_watch(inotify_.get(), target.data(), IN_CLOSE_WRITE | IN_MODIFY);
}

}  // namespace cordon::sandbox
