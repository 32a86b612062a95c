// The guest's resolv.conf, without leaving a file anywhere: a tmpfs is mounted over /etc for a moment, the
// file is written into it, bound onto the real place (which stays reachable through a descriptor opened
// before), and the tmpfs is detached again. When there is no real place to bind to (resolv.conf is missing,
// a folder, or a symlink that leads nowhere), the tmpfs stays and shows the machine's /etc through symlinks.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <sstream>
#include <vector>

#include "app/guest_namespace.h"

namespace cordon::app {
namespace {

constexpr std::size_t kMostOfMachineFile = 4096;

std::string descriptor_path(const base::Fd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); }

// Follows symlinks to the end. A folder is no place: nothing but a folder can be bound to it.
base::Fd open_place(const char* path) {
  base::Fd place{::open(path, O_PATH | O_CLOEXEC)};
  struct stat info{};
  if (place && ::fstat(place.get(), &info) == 0 && S_ISDIR(info.st_mode)) place.reset();
  return place;
}

// Never waits, whatever stands there.
std::string read_start(const char* path) {
  const base::Fd file{::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  std::string text(kMostOfMachineFile, '\0');
  const ssize_t got = file ? ::read(file.get(), text.data(), text.size()) : 0;
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

base::Result<void> write_file(const char* path, const std::string& text) {
  const base::Fd file{::open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
  if (!file) return base::fail_errno("create", path);
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return base::fail_errno("write", path);
  ::fchmod(file.get(), 0644);  // whatever the umask says: the command may change its user
  return {};
}

base::Result<void> bind(const std::string& source, const std::string& target, const char* name) {
  if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0)
    return base::fail_errno("bind mount", name);
  return {};
}

// The machine's /etc, entry by entry, behind the tmpfs that now covers it.
base::Result<void> show_machine_etc(const base::Fd& machine_etc) {
  if (!machine_etc) return base::fail("show the machine's /etc", "this kernel cannot clone a mount tree");
  constexpr const char* kBehind = "/etc/.machine";
  if (::mkdir(kBehind, 0755) != 0) return base::fail_errno("mkdir", kBehind);
  if (::move_mount(machine_etc.get(), "", AT_FDCWD, kBehind, MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return base::fail_errno("move mount", kBehind);
  const std::unique_ptr<DIR, int (*)(DIR*)> directory{::opendir(kBehind), ::closedir};
  if (!directory) return base::fail_errno("opendir", kBehind);
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || name == "resolv.conf" || name == ".machine") continue;
    if (::symlink((".machine/" + name).c_str(), ("/etc/" + name).c_str()) != 0)
      return base::fail_errno("symlink", "/etc/" + name);
  }
  return {};
}

}  // namespace

std::string guest_resolv_conf(const GuestPlan& plan, const std::string& machine_file) {
  std::string text = "# Made by cordon for this command; queries are forwarded to the machine's resolvers.\n";
  for (const auto& family : plan.families()) text += "nameserver " + net::to_string(family.dns) + "\n";
  const auto& search = plan.services.search;
  if (!search.empty()) {
    text += "search";
    for (const auto& domain : search) text += " " + domain.text();
    text += "\n";
  }
  const bool own_search = !search.empty() || plan.search_none;
  std::istringstream lines{machine_file};
  for (std::string line; std::getline(lines, line);) {
    const auto word = line.substr(0, line.find_first_of(" \t"));
    if (word == "options" || (!own_search && (word == "search" || word == "domain"))) text += line + "\n";
  }
  return text;
}

base::Result<void> replace_name_service(const GuestPlan& plan) {
  // Nothing we mount may travel back to the machine.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return base::fail_errno("make mounts private", "/");
  const std::string text = guest_resolv_conf(plan, read_start("/etc/resolv.conf"));
  // A copy of the tree as it is before anything covers it.
  const base::Fd machine_etc{::open_tree(
      AT_FDCWD, "/etc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | static_cast<unsigned>(AT_RECURSIVE))};
  const base::Fd place = open_place("/etc/resolv.conf");
  constexpr std::array kSockets{"/run/systemd/resolve/io.systemd.Resolve",
                                "/run/systemd/resolve/io.systemd.Resolve.Monitor", "/run/nscd/socket",
                                "/run/avahi-daemon/socket"};
  std::vector<base::Fd> sockets;
  for (const char* path : kSockets)
    if (base::Fd socket = open_place(path)) sockets.push_back(std::move(socket));

  if (::mount("cordon", "/etc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=256k") != 0)
    return base::fail_errno("mount tmpfs", "for resolv.conf");
  CORDON_TRY(write_file("/etc/resolv.conf", text));
  CORDON_TRY(write_file("/etc/.empty", ""));
  for (const auto& socket : sockets)
    CORDON_TRY(bind("/etc/.empty", descriptor_path(socket), "a resolver's socket"));
  if (!place) return show_machine_etc(machine_etc);
  CORDON_TRY(bind("/etc/resolv.conf", descriptor_path(place), "/etc/resolv.conf"));
  if (::umount2("/etc", MNT_DETACH) != 0) return base::fail_errno("umount", "/etc");
  return {};
}

}  // namespace cordon::app
