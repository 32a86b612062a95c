// The budget over the kernel's socket memory (broker_budget.h): looking, limiting, and sockets that are
// leaving.
//
// One look: the kernel's total for the machine is read first, one small file; while that, or what it has
// grown by since the sockets were asked, leaves us below half of the budget, nobody is asked. Otherwise each
// socket is asked what it holds (SO_MEMINFO takes no lock). Limits are put on or taken off in the same pass;
// that takes the socket's lock, which a captured translator may hold, so the launcher's clock runs around it.
//
// The translator may keep a descriptor of a flow that ended, so what the socket received is given back then.
//
// A flow that ended with bytes still queued leaves a socket that the kernel keeps until the peer has taken
// them, or for minutes when it does not: memory that no flow stands for. So the broker keeps its duplicate of
// such a socket, counts it, and lets go of it when its queue is empty; one that makes no progress, or is in
// the way of the budget, is reset.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "sandbox/broker.h"

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

namespace cordon::sandbox {
namespace {

using State = BrokerFlow::State;

constexpr std::uint32_t kLooksPerTurn = 1024;
constexpr std::size_t kMostLeaving = 4096;
constexpr base::Duration kLeavingLook = std::chrono::milliseconds{100};
constexpr base::Duration kNoProgress = std::chrono::seconds{60};

std::string read_text(const char* path) {
  const base::Fd fd{::open(path, O_RDONLY | O_CLOEXEC)};
  std::array<char, 1024> buffer;
  const ssize_t n = fd ? ::read(fd.get(), buffer.data(), buffer.size()) : -1;
  return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string{};
}

bool set(int fd, int option, int value) {
  return ::setsockopt(fd, SOL_SOCKET, option, &value, sizeof value) == 0;
}

// Half for each direction, and the kernel doubles what it is told (socket(7)).
void limit_buffers(int fd, std::uint32_t share) {
  set(fd, SO_RCVBUF, static_cast<int>(share / 4));
  set(fd, SO_SNDBUF, static_cast<int>(share / 4));
}
void free_buffers(int fd, bool stream) {
  // Autotuning again; before Linux 5.14 a TCP socket keeps the largest fixed size instead.
  if (stream && set(fd, SO_BUF_LOCK, 0)) return;
  set(fd, SO_RCVBUF, kDatagramBuffer);
  set(fd, SO_SNDBUF, kDatagramBuffer);
}

}  // namespace

KernelMemory read_kernel_memory() {
  KernelMemory out;
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  out.tcp_pressure = number_at(read_text("/proc/sys/net/ipv4/tcp_mem"), 1).value_or(0) * page;
  struct sysinfo machine{};
  if (::sysinfo(&machine) == 0) out.ram = std::uint64_t{machine.totalram} * machine.mem_unit;
  const auto receive = number_at(read_text("/proc/sys/net/ipv4/tcp_rmem"), 2);
  const auto send = number_at(read_text("/proc/sys/net/ipv4/tcp_wmem"), 2);
  if (receive && send) out.socket_most = *receive + *send;
  return out;
}

void Broker::prepare_memory() {
  const KernelMemory kernel = read_kernel_memory();
  const std::uint64_t bytes =
      options_.socket_memory != 0 ? options_.socket_memory : default_socket_memory(kernel);
  // A datagram socket's two buffers, doubled by the kernel, can be more than a stream's.
  budget_ =
      SocketBudget{bytes, std::max<std::uint64_t>(kernel.socket_most, 4U * std::uint64_t{kDatagramBuffer})};
  sockstat_ = base::Fd{::open("/proc/net/sockstat", O_RDONLY | O_CLOEXEC)};
}

// Pages of the whole machine; nullopt: not known.
std::optional<std::uint64_t> Broker::machine_socket_memory() const {
  std::array<char, 1024> buffer;
  const ssize_t n = sockstat_ ? ::pread(sockstat_.get(), buffer.data(), buffer.size(), 0) : -1;
  if (n <= 0) return std::nullopt;
  const auto pages = pages_in_use({buffer.data(), static_cast<std::size_t>(n)});
  if (!pages) return std::nullopt;
  return *pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void Broker::limit_memory(BrokerFlow& flow) {
  const std::uint32_t wanted = budget_.tight() ? budget_.share(sockets()) : 0;
  if (flow.memory_share == wanted || !flow.socket.valid()) return;
  flow.memory_share = wanted;
  if (wanted != 0)
    limit_buffers(flow.socket.get(), wanted);
  else
    free_buffers(flow.socket.get(), flow.tuple.protocol == flow::Protocol::kTcp);
}

void Broker::watch_memory(base::Instant now) {
  const bool matters = budget_.matters(sockets());
  if (matters || budget_.tight() || memory_limited_) {
    if (memory_due_ == base::Instant::never()) memory_due_ = now;
  } else if (memory_left_ == 0) {
    memory_due_ = base::Instant::never();
  }
  if (now >= memory_due_) look_at_memory(now);
  if (now >= leaving_due_) see_off(now);
}

void Broker::look_at_memory(base::Instant now) {
  const bool fresh = memory_left_ == 0;
  if (fresh) {
    const auto machine = machine_socket_memory();
    if (machine && !budget_.tight() && !memory_limited_) {
      // Ours is at most all there is. What the total grew by says nothing: others may give back what we take.
      if (*machine < budget_.bytes() / 2) {
        budget_.observe(*machine, now);
        memory_due_ = now + budget_.period();
        return;
      }
    }
    memory_left_ = table_.size();
    memory_seen_ = 0;
    for (const Leaving& socket : leaving_) memory_seen_ += memory_of(socket.fd.get()).all;
  }
  const std::uint32_t serial = ++revoke_serial_;
  if (control_.send(control::RevokeBegin{serial}) != SendStatus::kSent) stop_ = true;
  if (fresh && inbound_) {
    for (auto& [number, offer] : inbound_->offers) {
      memory_seen_ += memory_of(offer.flow.socket.get()).all;
      limit_memory(offer.flow);
    }
  }
  for (std::uint32_t i = 0; i < kLooksPerTurn && memory_left_ > 0; ++i) {
    memory_left_ = std::min(memory_left_, table_.size());
    if (memory_left_ == 0) break;
    BrokerFlow& flow = *table_.at(table_.live()[--memory_left_]);
    if (!flow.socket.valid()) continue;
    memory_seen_ += memory_of(flow.socket.get()).all;
    limit_memory(flow);
  }
  if (control_.send(control::RevokeEnd{serial}) != SendStatus::kSent) stop_ = true;
  memory_due_ = now;
  if (memory_left_ > 0) return;  // goes on in the next turn
  const bool before = budget_.tight();
  memory_limited_ = before;  // this pass has put the limits on, or taken them off
  budget_.observe(memory_seen_, now);
  // Limits are put on in a pass of their own, at once.
  if (before == budget_.tight()) memory_due_ = now + budget_.period();
}

void Broker::end_granted(Ended& ended) {
  const bool graceful = ended.protocol == flow::Protocol::kTcp && ended.how == flow::CloseHow::kGraceful;
  const std::uint32_t queued = graceful ? memory_of(ended.socket.get()).queued : 0;
  // Nobody stands for what a flow leaves behind: with the budget used up it leaves nothing.
  const bool room = leaving_.size() < kMostLeaving && budget_.used() <= budget_.bytes();
  if (!end_socket(ended.socket.get(), ended.protocol, ended.family,
                  queued == 0 || room ? ended.how : flow::CloseHow::kReset))
    uncut_ = true;
  base::Fd socket = std::move(ended.socket);
  if (queued == 0 && (!graceful || memory_of(socket.get()).received == 0)) return;
  if (!room) {
    cut(socket.get(), ended.protocol);
    return;
  }
  const base::Instant now = base::monotonic_now();
  leaving_.push_back({std::move(socket), queued, now});
  leaving_due_ = std::min(leaving_due_, now + kLeavingLook);
}

void Broker::see_off(base::Instant now) {
  const bool over = budget_.used() > budget_.bytes();
  std::erase_if(leaving_, [&](Leaving& socket) {
    const std::uint32_t queued = memory_of(socket.fd.get()).queued;
    if (queued == 0) {
      if (!empty_socket(socket.fd.get(), flow::Protocol::kTcp)) uncut_ = true;
      return true;
    }
    if (queued != socket.queued) {
      socket.queued = queued;
      socket.since = now;
    }
    if (!over && now - socket.since < kNoProgress) return false;
    cut(socket.fd.get(), flow::Protocol::kTcp);
    return true;
  });
  leaving_due_ = leaving_.empty() ? base::Instant::never() : now + kLeavingLook;
}

}  // namespace cordon::sandbox
