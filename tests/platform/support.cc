#include "tests/platform/support.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace cordon::platform {
namespace {

int skip_count = 0;

bool send_fds(int channel, std::span<const int> fds) {
  char byte = 'f';
  iovec part{.iov_base = &byte, .iov_len = 1};
  std::vector<char> control(CMSG_SPACE(fds.size_bytes()));
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  return sendmsg(channel, &message, 0) == 1;
}

std::vector<int> receive_fds(int channel, std::size_t count) {
  char byte = 0;
  iovec part{.iov_base = &byte, .iov_len = 1};
  std::vector<int> fds(count);
  std::vector<char> control(CMSG_SPACE(count * sizeof(int)) + 1);
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (recvmsg(channel, &message, 0) != 1) return {};
  if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
    std::memcpy(fds.data(), CMSG_DATA(header), count * sizeof(int));
  }
  return fds;
}

}  // namespace

void skip(std::string_view what) {
  ++skip_count;
  std::printf("SKIPPED: %s\n", std::string(what).c_str());
}
int skipped() { return skip_count; }

Holder::Holder(std::span<const int> fds, std::vector<Step> steps) : steps_(std::move(steps)) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
  channel_ = Fd(ends[0]);
  Fd far(ends[1]);
  pid_ = fork();
  if (pid_ == 0) child(std::move(far), fds.size());
  send_fds(channel_.get(), fds);
}

void Holder::child(Fd channel, std::size_t count) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Only what comes over the channel is kept: nothing here is inherited by fork.
  const int kept = fcntl(channel.get(), F_DUPFD, 1000);
  close_range(3, 999, 0);
  close_range(static_cast<unsigned>(kept) + 1, ~0U, 0);
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0) _exit(90);
  const std::vector<int> fds = receive_fds(kept, count);
  std::size_t step = 0;
  while (recv(kept, &step, sizeof step, 0) == sizeof step) {
    const long result = steps_[step](fds);
    if (send(kept, &result, sizeof result, MSG_NOSIGNAL) < 0) break;
  }
  _exit(0);
}

Holder::~Holder() { kill(); }

void Holder::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

long Holder::call(std::size_t step) {
  long result = -9999;
  if (send(channel_.get(), &step, sizeof step, MSG_NOSIGNAL) < 0) return -9999;
  if (recv(channel_.get(), &result, sizeof result, 0) != sizeof result) return -9999;
  return result;
}

long in_holder(std::span<const int> fds, Holder::Step step) { return Holder(fds, {std::move(step)}).call(0); }

Address make_address(std::string_view address, std::uint16_t port) {
  const std::string text(address);
  Address result;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&result.storage, &v4, sizeof v4);
    result.length = sizeof v4;
  } else if (inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&result.storage, &v6, sizeof v6);
    result.length = sizeof v6;
  }
  return result;
}

std::uint16_t local_port(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  sockaddr_in6 v6{};  // the port is at the same place in both families
  std::memcpy(&v6, &storage, sizeof v6);
  return ntohs(v6.sin6_port);
}

Fd make_socket(int family, int type) { return Fd(socket(family, type | SOCK_CLOEXEC, 0)); }

Fd bound_socket(int type, std::string_view address, std::uint16_t port) {
  const Address local = make_address(address, port);
  Fd fd = make_socket(local.family(), type);
  if (bind(fd.get(), local.get(), local.length) != 0) return {};
  if (type == SOCK_STREAM && listen(fd.get(), 64) != 0) return {};
  return fd;
}

bool connect_to(int fd, std::string_view address, std::uint16_t port) {
  const Address remote = make_address(address, port);
  return connect(fd, remote.get(), remote.length) == 0;
}

void disconnect(int fd) {
  const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  connect(fd, &nobody, sizeof nobody);
}

void nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

bool set_option(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

Pair tcp_pair(int receive_buffer) {
  const Fd listener = bound_socket(SOCK_STREAM, "127.0.0.1");
  if (receive_buffer != 0) set_option(listener.get(), SOL_SOCKET, SO_RCVBUF, receive_buffer);
  Pair pair{.client = make_socket(AF_INET, SOCK_STREAM), .server = {}};
  if (!connect_to(pair.client.get(), "127.0.0.1", local_port(listener.get()))) return {};
  pair.server = Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return pair;
}

bool drop_everything(int fd) {
  sock_filter nothing{.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0};
  const sock_fprog program{.len = 1, .filter = &nothing};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

bool readable(int fd, int milliseconds) {
  pollfd watched{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&watched, 1, milliseconds) == 1 && (watched.revents & POLLIN) != 0;
}

std::string receive_text(int fd, int milliseconds) {
  std::array<char, 256> buffer{};
  if (!readable(fd, milliseconds)) return {};
  const ssize_t got = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  return got > 0 ? std::string(buffer.data(), static_cast<std::size_t>(got)) : std::string();
}

bool send_text(int fd, std::string_view text) {
  return send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

bool send_text_to(int fd, std::string_view text, std::string_view address, std::uint16_t port) {
  const Address remote = make_address(address, port);
  return sendto(fd, text.data(), text.size(), MSG_NOSIGNAL, remote.get(), remote.length) ==
         static_cast<ssize_t>(text.size());
}

Tun::Tun(short flags) : fd_(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK)) {
  ifreq request{};
  request.ifr_flags = flags;
  if (ioctl(fd_.get(), TUNSETIFF, &request) != 0) {
    fd_.reset();
    return;
  }
  name_ = request.ifr_name;
  index_ = static_cast<int>(if_nametoindex(name_.c_str()));
  link_up(name_);
}

std::vector<std::uint8_t> Tun::next_packet(unsigned version, int milliseconds) {
  std::vector<std::uint8_t> packet(65536);
  // Router solicitations and the like come by: look at a bounded number of packets.
  for (int i = 0; i < 50 && readable(fd_.get(), milliseconds); ++i) {
    const ssize_t got = read(fd_.get(), packet.data(), packet.size());
    if (got <= 0 || packet[0] >> 4 != version) continue;
    packet.resize(static_cast<std::size_t>(got));
    return packet;
  }
  return {};
}

bool change_address(bool add, std::string_view address, unsigned prefix_length, int index) {
  struct {
    nlmsghdr header;
    ifaddrmsg body;
    std::array<std::uint8_t, 64> attributes;
  } request{};
  const std::string text(address);
  std::array<std::uint8_t, 16> raw{};
  const bool v4 = inet_pton(AF_INET, text.c_str(), raw.data()) == 1;
  if (!v4 && inet_pton(AF_INET6, text.c_str(), raw.data()) != 1) return false;
  const std::size_t size = v4 ? 4 : 16;
  request.body = {.ifa_family = static_cast<std::uint8_t>(v4 ? AF_INET : AF_INET6),
                  .ifa_prefixlen = static_cast<std::uint8_t>(prefix_length),
                  .ifa_flags = static_cast<std::uint8_t>(v4 ? 0 : IFA_F_NODAD),
                  .ifa_scope = 0,
                  .ifa_index = static_cast<std::uint32_t>(index)};
  std::size_t used = 0;
  for (const std::uint16_t type : {IFA_LOCAL, IFA_ADDRESS}) {
    const rtattr attribute{.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(size)), .rta_type = type};
    std::memcpy(request.attributes.data() + used, &attribute, sizeof attribute);
    std::memcpy(request.attributes.data() + used + sizeof attribute, raw.data(), size);
    used += RTA_SPACE(size);
  }
  request.header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_LENGTH(sizeof request.body) + used);
  request.header.nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
  request.header.nlmsg_flags =
      static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0));
  const Fd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (send(fd.get(), &request, request.header.nlmsg_len, 0) < 0) return false;
  struct {
    nlmsghdr header;
    nlmsgerr error;
    std::array<char, 512> rest;
  } answer{};
  if (recv(fd.get(), &answer, sizeof answer, 0) < 0) return false;
  errno = -answer.error.error;
  return answer.error.error == 0;
}

bool wait_until_local(std::string_view address) {
  const int family = make_address(address, 0).family();
  const Fd listener = bound_socket(SOCK_DGRAM, family == AF_INET ? "0.0.0.0" : "::");
  const Fd probe = make_socket(family, SOCK_DGRAM);
  for (int i = 0; i < 400; ++i) {
    send_text_to(probe.get(), "probe", address, local_port(listener.get()));
    if (receive_text(listener.get(), 5) == "probe") return true;
  }
  return false;
}

int loopback_index() { return static_cast<int>(if_nametoindex("lo")); }

bool link_up(const std::string& name) {
  const Fd fd = make_socket(AF_INET, SOCK_DGRAM);
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  if (ioctl(fd.get(), SIOCGIFFLAGS, &request) != 0) return false;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  return ioctl(fd.get(), SIOCSIFFLAGS, &request) == 0;
}

}  // namespace cordon::platform
