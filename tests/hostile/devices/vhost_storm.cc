// A front end that knows the protocol and uses it against us. Each life is a connection with a back-end and
// real links behind it. The front end mostly says what fits the state it has brought the device to, with the
// descriptors that belong there; about one message in four is changed: fields, sizes, flags, the number and
// the kind of descriptors, its place in the order. Whatever it says, guest memory holds random bytes, and the
// links take and give frames after each message.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "core/vhost/backend.h"
#include "core/vhost/vhost_link.h"
#include "tests/hostile/devices/baseline.h"
#include "tests/hostile/devices/storm.h"
#include "tests/vhost/backend_rig.h"

namespace cordon::hostile {
namespace {

using vhost::Backend;
using vhost::test::addr;
using vhost::test::Bytes;
using vhost::test::make_event;
using vhost::test::make_memfd;
using vhost::test::mem_reg;
using vhost::test::mem_table;
using vhost::test::message_bytes;
using vhost::test::number;
using vhost::test::Payload;
using vhost::test::state;

constexpr std::uint64_t kUser = 0x7f00'0000'0000;
constexpr std::size_t kSize = 0x40000;

// Descriptors that a front end may have at hand, made once.
class Drawer {
 public:
  Drawer() {
    for (int i = 0; i < 3; ++i) memory_.push_back(make_memfd(kSize));
    ::fcntl(memory_[1].get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    for (int i = 0; i < 4; ++i) events_.push_back(make_event());
    add(::eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC));
    add(::eventfd(1, EFD_CLOEXEC));
    add(::open("/", O_DIRECTORY | O_CLOEXEC));
    add(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
    add(::open("/dev/null", O_RDWR | O_CLOEXEC));
    add(::open("/", O_PATH | O_CLOEXEC));
    add(::epoll_create1(EPOLL_CLOEXEC));
    add(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    add(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    add(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    add(ends[0]);
    add(ends[1]);
    add(::memfd_create("empty", MFD_CLOEXEC));
    base::Fd sealed = make_memfd(kSize);
    ::fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_WRITE);
    odd_.push_back(std::move(sealed));
  }
  int memory(Dice& dice) { return memory_[dice.below(memory_.size())].get(); }
  int event(Dice& dice) { return events_[dice.below(events_.size())].get(); }
  int odd(Dice& dice) { return odd_[dice.below(odd_.size())].get(); }
  // Rings as a driver has them, with some frames each: at the places that Speaker names.
  void fill_rings(Dice& dice) {
    struct Descriptor {
      std::uint64_t address;
      std::uint32_t length;
      std::uint16_t flags, next;
    };
    for (const base::Fd& fd : memory_)
      for (std::uint32_t queue = 0; queue < 4; ++queue) {
        std::array<Descriptor, 32> descriptors{};
        std::array<std::uint16_t, 34> available{0, static_cast<std::uint16_t>(1 + dice.below(32))};
        for (std::uint16_t i = 0; i < descriptors.size(); ++i) {
          const auto length = static_cast<std::uint32_t>(26 + dice.below(dice.once_in(8) ? 60000 : 1500));
          descriptors.at(i) = {0x20000 + dice.below(0x10000), length,
                               static_cast<std::uint16_t>(queue % 2 == 0 ? 2 : 0), 0};
          available.at(2U + i) = i;
        }
        const off_t at = queue * 0x8000;
        static_cast<void>(!::pwrite(fd.get(), descriptors.data(), sizeof descriptors, at));
        static_cast<void>(!::pwrite(fd.get(), available.data(), sizeof available, at + 0x4000));
      }
  }
  // Fresh lies in all rings.
  void scribble(Dice& dice) {
    for (const base::Fd& fd : memory_) {
      std::array<std::uint64_t, 64> noise{};
      for (auto& value : noise) value = dice.once_in(3) ? odd_value(dice) : dice.below(kSize);
      const auto at = static_cast<off_t>(dice.below(kSize / 0x1000) * 0x1000);
      static_cast<void>(!::pwrite(fd.get(), noise.data(), sizeof noise, at));
    }
  }

 private:
  void add(int fd) {
    if (fd >= 0) odd_.emplace_back(fd);  // where the kernel has it
  }
  std::vector<base::Fd> memory_, events_, odd_;
};

struct Said {
  std::uint32_t request = 0;
  Bytes payload;
  std::vector<int> fds;
  std::uint32_t flags = vhost::test::kPlain;
  std::optional<std::uint32_t> size;  // what the header says, where that is a lie
  bool honest = true;
};

// What an honest front end says next: the usual beginning first, then anything that there is.
class Speaker {
 public:
  Speaker(Dice& dice, Drawer& drawer, unsigned pairs) : dice_(dice), drawer_(drawer), queues_(2 * pairs) {}
  Said next() {
    const unsigned step = step_++;
    if (step < 6) return opening(step);
    const unsigned in_ring = (step - 6) % 5;
    if (step < 6 + 5 * queues_) return ring((step - 6) / 5, in_ring);
    return anything();
  }

 private:
  Said opening(unsigned step) {
    switch (step) {
      case 0: return {1, {}, {}};
      case 1: return {2, number(1ULL << 32U | 1ULL << 30U | kWanted), {}};
      case 2: return {15, {}, {}};
      case 3: return {16, number(1ULL << 3U | 1U | 1ULL << 9U | 1ULL << 15U), {}};
      case 4: return {3, {}, {}};
      default: return {5, mem_table({{0, kSize, kUser, 0}}), {drawer_.memory(dice_)}};
    }
  }
  Said ring(std::uint32_t queue, unsigned step) {
    const std::uint64_t at = kUser + queue * 0x8000ULL;
    switch (step) {
      case 0: return {8, state(queue, 256), {}};
      case 1: return {10, state(queue, 0), {}};
      case 2: return {9, addr(queue, 0, at, at + 0x5000, at + 0x4000), {}};
      case 3: return {12, number(queue), {drawer_.event(dice_)}};
      default: return {18, state(queue, 1), {}};
    }
  }
  Said anything() {
    const auto queue = static_cast<std::uint32_t>(dice_.below(queues_));
    switch (dice_.below(20)) {
      case 0: return {11, state(queue, 0), {}};
      case 1: return {13, number(queue), {drawer_.event(dice_)}};
      case 2: return {14, number(queue), {drawer_.event(dice_)}};
      case 3: return {17, {}, {}};
      case 4: return {24, Payload{}.u32(0).u32(12).u32(0).zeros(12), {}};
      case 5: return {36, {}, {}};
      case 6: return {37, mem_reg({kSize, kSize, kUser + kSize, 0}), {drawer_.memory(dice_)}};
      case 7: return {38, mem_reg({kSize, kSize, kUser + kSize, 0}), {}};
      case 8: return {5, mem_table({{0, kSize, kUser, 0}}), {drawer_.memory(dice_)}};
      case 9: return {6, Payload{}.u64(0x1000).u64(0), {drawer_.memory(dice_)}};
      case 10: return {18, state(queue, static_cast<std::uint32_t>(dice_.below(2))), {}};
      case 11: return {39, number(0), {}};
      case 12: return {40, {}, {}};
      case 13: return {4, {}, {}};
      case 14: return {19, number(0x525400123456), {}};
      case 15: return opening(static_cast<unsigned>(dice_.below(5)));
      default: return ring(queue, static_cast<unsigned>(dice_.below(5)));
    }
  }

  static constexpr std::uint64_t kWanted = 1U | 1U << 1U | 1U << 15U | 1U << 28U | 1U << 29U | 1U << 11U;
  Dice& dice_;
  Drawer& drawer_;
  unsigned queues_;
  unsigned step_ = 0;
};

void change(Said& said, Dice& dice, Drawer& drawer) {
  said.honest = false;
  switch (dice.below(11)) {
    case 0:
      said.request = dice.once_in(2) ? static_cast<std::uint32_t>(dice.below(50))
                                     : static_cast<std::uint32_t>(odd_value(dice));
      break;
    case 1: said.flags = dice.once_in(2) ? said.flags ^ (1U << dice.below(32)) : dice.word(); break;
    case 2: said.size = static_cast<std::uint32_t>(odd_value(dice)); break;
    case 3: said.payload.resize(dice.below(600)); break;
    case 4: said.fds.clear(); break;
    case 5: said.fds.assign(1, drawer.odd(dice)); break;
    case 6: said.fds.assign(dice.once_in(8) ? 253 : dice.below(12), drawer.event(dice)); break;
    case 7: said.fds.push_back(dice.once_in(2) ? drawer.memory(dice) : drawer.odd(dice)); break;
    default:  // a field of four or eight bytes, or bits
      if (said.payload.empty()) {
        said.payload = number(odd_value(dice));
        break;
      }
      if (dice.once_in(4)) {
        said.payload[dice.below(said.payload.size())] ^= std::byte{1} << dice.below(8);
      } else {
        const std::uint64_t value = odd_value(dice);
        const std::size_t width = said.payload.size() >= 8 && dice.once_in(2) ? 8 : 4;
        const std::size_t at = dice.below(said.payload.size() / width) * width;
        std::memcpy(&said.payload[at], &value, width);
      }
  }
}

class Connection {
 public:
  Connection(Dice& dice, unsigned pairs) : pause_(0) {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    front_ = base::Fd{ends[0]};
    for (unsigned i = 0; i < pairs; ++i) {
      links_.push_back(std::make_unique<vhost::VhostLink>());
      paths_.push_back(links_.back().get());
    }
    vhost::DeviceOptions options;
    options.front_end = static_cast<vhost::FrontEnd>(dice.below(3));
    options.pairs = pairs;
    backend_ = std::make_unique<Backend>(base::Fd{ends[1]}, options, paths_, pause_);
  }

  // nullopt: the kernel did not take it (too many descriptors).
  bool send(const Said& said) const {
    Bytes bytes = message_bytes(said.request, said.flags, said.payload);
    if (said.size) std::memcpy(&bytes[8], &*said.size, sizeof *said.size);
    iovec part{bytes.data(), bytes.size()};
    std::vector<std::byte> control(CMSG_SPACE(said.fds.size() * sizeof(int)));
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!said.fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* const rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(said.fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(rights), said.fds.data(), said.fds.size() * sizeof(int));
    }
    return ::sendmsg(front_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) ==
           static_cast<ssize_t>(bytes.size());
  }
  Backend::Status serve() { return backend_->serve(); }
  [[nodiscard]] std::string_view complaint() const { return backend_->complaint(); }
  // Well-formed answers, as many as there are.
  unsigned answers() const {
    unsigned count = 0;
    for (;;) {
      std::array<std::uint32_t, 3> header{};
      const ssize_t got = ::recv(front_.get(), header.data(), sizeof header, MSG_DONTWAIT);
      if (got <= 0) return count;
      REQUIRE(got == sizeof header);
      REQUIRE(header[1] == 5);
      REQUIRE(header[2] <= 512);
      Bytes payload(header[2]);
      if (header[2] > 0)
        REQUIRE(::recv(front_.get(), payload.data(), payload.size(), MSG_DONTWAIT) ==
                static_cast<ssize_t>(payload.size()));
      ++count;
    }
  }
  // A turn of the workers. Whatever the rings say, frames are frames.
  void work() {
    for (const auto& link : links_) {
      std::array<link::Frame, 64> frames;
      const std::size_t count = link->receive(frames);
      for (std::size_t i = 0; i < count; ++i) {
        REQUIRE(frames[i].bytes.size() >= 14);
        REQUIRE(frames[i].bytes.size() < (68U << 10U));  // a buffer, of which a link header is taken off
        sum_ += std::to_integer<unsigned>(frames[i].bytes.back());
      }
      std::array<std::byte, 128> frame{};
      const iovec part{frame.data(), frame.size()};
      static_cast<void>(link->send({}, std::span(&part, 1)));
      link->flush();
    }
  }
  [[nodiscard]] std::uint64_t frames() const {
    std::uint64_t sum = 0;
    for (const auto& link : links_) sum += link->stats().frames_from_guest;
    return sum;
  }
  [[nodiscard]] bool link_died() const {
    return std::ranges::any_of(links_, [](const auto& link) { return link->dead(); });
  }

 private:
  unsigned sum_ = 0;
  base::Fd front_;
  vhost::Pause pause_;
  std::vector<std::unique_ptr<vhost::VhostLink>> links_;
  std::vector<vhost::DataPath*> paths_;
  std::unique_ptr<Backend> backend_;
};

}  // namespace

StormReport vhost_storm(std::uint64_t messages, std::uint64_t seed) {
  Dice dice{seed};
  static Drawer drawer;
  StormReport report;
  std::size_t baseline = *open_descriptors();
  while (messages > 0) {
    ++report.lives;
    {
      const unsigned pairs = 1 + static_cast<unsigned>(dice.below(2));
      Connection connection{dice, pairs};
      Speaker speaker{dice, drawer, pairs};
      if (!dice.once_in(4)) drawer.fill_rings(dice);
      const unsigned changed_one_in = 2 + static_cast<unsigned>(dice.below(6));
      bool open = true;
      std::optional<Said> replayed;
      for (unsigned said_here = 0; messages > 0 && open && said_here < 200; ++said_here, --messages) {
        Said said = replayed && dice.once_in(16) ? *replayed : speaker.next();
        if (dice.once_in(8)) replayed = said;
        if (dice.once_in(3)) said.flags |= 8;
        if (dice.once_in(changed_one_in)) {
          change(said, dice, drawer);
          ++report.notes["messages changed"];
        }
        if (dice.once_in(40)) drawer.scribble(dice);
        if (!connection.send(said)) {
          ++report.outcomes["the kernel does not carry"];
          continue;
        }
        const auto begin = std::chrono::steady_clock::now();
        const Backend::Status status = connection.serve();
        connection.work();
        const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
        report.slowest_ms = std::max(report.slowest_ms, took.count());
        open = status == Backend::Status::kOpen;
        REQUIRE(connection.complaint().empty() == (status != Backend::Status::kViolation));
        const unsigned answers = connection.answers();
        if (status == Backend::Status::kViolation)
          ++report.outcomes[said.honest ? "violation, by what came before" : "violation"];
        else if (!open)
          ++report.outcomes["connection ended"];
        else if (connection.link_died()) {
          ++report.outcomes["ring broken: the device ends"];
          open = false;
        } else {
          ++report
                .outcomes[answers > 0 ? "done or refused, with an answer" : "done, or waiting for the rest"];
        }
      }
      report.notes["frames from the guest"] += connection.frames();
    }
    if (report.lives % 16 == 0) REQUIRE(*open_descriptors() == baseline);
  }
  REQUIRE(*open_descriptors() == baseline);
  REQUIRE(report.notes["frames from the guest"] > 0);  // else no ring ever ran
  return report;
}

}  // namespace cordon::hostile
