// Platform tests: every kernel behaviour the design leans on, proved on the kernel that runs.
//
// main() puts the whole program into a private user and network namespace before the first test, so tests may
// change addresses and the traffic never leaves. "Broker" below is the test process; a Holder is a second
// process in namespaces of its own, without any right over the first, that got its descriptors by SCM_RIGHTS:
// what the translator is, without its seccomp filter. What a Holder can do is what the filter has to stop.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/fd.h"

namespace cordon::platform {

using base::Fd;

// Prints and counts a missing kernel feature; main() reports the number at the end.
void skip(std::string_view what);
int skipped();

class Holder {
 public:
  // A step runs in the holder with the received descriptors and returns any number, by custom -errno.
  using Step = std::function<long(std::span<const int>)>;

  Holder(std::span<const int> fds, std::vector<Step> steps);
  ~Holder();
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  long call(std::size_t step);
  void kill();

 private:
  [[noreturn]] void child(Fd channel, std::size_t count);

  std::vector<Step> steps_;
  Fd channel_;
  int pid_ = -1;
};

// One step in a fresh holder.
long in_holder(std::span<const int> fds, Holder::Step step);
inline long result_of(long value) { return value < 0 ? -static_cast<long>(errno) : value; }

// Addresses. `address` is numeric, v4 or v6; the port of an ephemeral bind is found with local_port().
struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] int family() const { return storage.ss_family; }
};
Address make_address(std::string_view address, std::uint16_t port);
std::uint16_t local_port(int fd);

Fd make_socket(int family, int type);
Fd bound_socket(int type, std::string_view address, std::uint16_t port = 0);  // TCP: listening
bool connect_to(int fd, std::string_view address, std::uint16_t port);
void disconnect(int fd);  // connect(AF_UNSPEC)
void nonblocking(int fd);
bool set_option(int fd, int level, int name, int value);
// A TCP connection over loopback: client end, server end.
struct Pair {
  Fd client;
  Fd server;
};
Pair tcp_pair(int receive_buffer = 0);
bool drop_everything(int fd);  // SO_ATTACH_FILTER: ret 0
bool readable(int fd, int milliseconds);
std::string receive_text(int fd, int milliseconds = 200);  // "" when nothing came
bool send_text(int fd, std::string_view text);
bool send_text_to(int fd, std::string_view text, std::string_view address, std::uint16_t port);

// A network device whose packets the test reads: stands for the uplink.
class Tun {
 public:
  explicit Tun(short flags);
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] int index() const { return index_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  // Next IP packet of this version, or empty after the time.
  std::vector<std::uint8_t> next_packet(unsigned version, int milliseconds);

 private:
  Fd fd_;
  std::string name_;
  int index_ = 0;
};
bool change_address(bool add, std::string_view address, unsigned prefix_length, int index);
// IPv6 routes to a new address appear a moment after the address: waits until the kernel routes it as local.
bool wait_until_local(std::string_view address);
int loopback_index();
bool link_up(const std::string& name);

// From main(), before the namespace: a userfaultfd that also serves faults of the kernel, where permitted.
int privileged_userfaultfd();

}  // namespace cordon::platform
