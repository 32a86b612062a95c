// VU-01 to VU-03, VU-08, VU-18 to VU-20: the protocol and its descriptors.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "tests/hostile/devices/front_end_rows.h"

namespace cordon::hostile {
namespace {

using base::Fd;

constexpr std::uint32_t kVersion = 1, kReply = 4;

// QEMU's numbers.
constexpr unsigned kGetFeatures = 1, kSetFeatures = 2, kSetOwner = 3, kSetMemoryTable = 5, kSetLogBase = 6,
                   kSetRingSize = 8, kSetRingBase = 10, kGetRingBase = 11, kSetRingKick = 12,
                   kSetRingCall = 13, kSetProtocolFeatures = 16, kSetRingEnable = 18;

bool refused(const std::optional<std::uint64_t>& answer) { return answer && *answer != 0; }

// More descriptors than FrontEnd::send() carries.
void send_with(const Visit& visit, unsigned request, const std::vector<int>& fds) {
  Payload bytes = words({request, kVersion, 0});
  iovec part{bytes.data(), bytes.size()};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  static_cast<void>(!::sendmsg(visit.front->socket(), &message, MSG_NOSIGNAL));
}

FrontEndRow header(std::string_view id, std::string_view name, End end, unsigned request, std::uint32_t flags,
                   std::uint32_t size, std::size_t sent = 0) {
  return {id, name, end, [=](Visit& visit) {
            visit.raw(request, flags, size, Payload(sent));
            return true;
          }};
}

// A descriptor in the place of an eventfd, refused with an answer; and in the place of memory.
FrontEndRow wrong_kind(std::string_view name, int (*make)()) {
  return {
      "VU-03", name, End::kKept, [make](Visit& visit) {
        const Fd odd{make()};
        if (!odd) return true;  // this kernel has none
        const std::uint64_t user = visit.user(visit.memory.start());
        for (int i = 0; i < 20; ++i)
          if (!refused(visit.ask(kSetRingKick, numbers({0}), {odd.get()})) ||
              !refused(visit.ask(kSetRingCall, numbers({1}), {odd.get()})) ||
              !refused(visit.ask(kSetMemoryTable, numbers({1, 0x40000000, 0x1000, user, 0}), {odd.get()})))
            return false;
        return true;
      }};
}

bool fill(int event) {
  const std::uint64_t most = UINT64_MAX - 1;
  return ::write(event, &most, sizeof most) == sizeof most;
}

const FrontEndRow kRows[] = {
    header("VU-01", "no payload where one is due", End::kViolated, kSetFeatures, kVersion, 0),
    header("VU-01", "a payload of one byte announced for eight", End::kViolated, kSetFeatures, kVersion, 1,
           1),
    header("VU-01", "more than the longest", End::kViolated, kSetMemoryTable, kVersion, 513),
    header("VU-01", "size 2^32-1", End::kViolated, kSetMemoryTable, kVersion, ~0U),
    {"VU-01", "a header, then silence, while the rings work", End::kLeft,
     [](Visit& visit) {
       visit.raw(kSetMemoryTable, kVersion, 40, {});
       return visit.works();
     }},
    {"VU-01", "a message byte by byte", End::kKept,
     [](Visit& visit) {
       for (const std::byte byte : words({kGetFeatures, kVersion, 0}))
         if (!visit.send_bytes({byte}) || !visit.works()) return false;
       return visit.front->answer_number(Request::kGetFeatures) != 0;
     }},

    {"VU-02", "a request nobody knows, with an answer wanted", End::kKept,
     [](Visit& visit) { return refused(visit.ask(250, {})) && refused(visit.ask(~0U, {})); }},
    header("VU-02", "a request nobody knows", End::kViolated, 250, kVersion, 0),
    header("VU-02", "request 0", End::kViolated, 0, kVersion, 0),
    header("VU-02", "request 2^32-1", End::kViolated, ~0U, kVersion, 0),
    header("VU-02", "an answer nobody asked for", End::kViolated, kGetFeatures, kVersion | kReply, 0),
    header("VU-02", "version 0", End::kViolated, kGetFeatures, 0, 0),
    header("VU-02", "version 2", End::kViolated, kGetFeatures, 2, 0),
    header("VU-02", "every flag there is", End::kViolated, kGetFeatures, ~0U, 0),
    {"VU-02", "an answer wanted to everything", End::kKept,
     [](Visit& visit) {
       return visit.ask(kGetFeatures, {}).value_or(0) != 0 && visit.ask(kSetOwner, {}) == 0 &&
              visit.ask(kSetRingCall, numbers({0x100 | 1})) == 0;
     }},

    {"VU-03", "253 descriptors", End::kViolated,
     [](Visit& visit) {
       const Fd event{::eventfd(0, EFD_CLOEXEC)};
       send_with(visit, kGetFeatures, std::vector<int>(253, event.get()));
       return true;
     }},
    {"VU-03", "a descriptor where none belongs", End::kViolated,
     [](Visit& visit) {
       const Fd event{::eventfd(0, EFD_CLOEXEC)};
       send_with(visit, kSetOwner, {event.get()});
       return true;
     }},
    {"VU-03", "eight descriptors for one region", End::kViolated,
     [](Visit& visit) {
       const int fd = visit.memory.fd();
       const std::uint64_t user = visit.user(visit.memory.start());
       visit.say(kSetMemoryTable, numbers({1, 0x40000000, 0x1000, user, 0}),
                 {fd, fd, fd, fd, fd, fd, fd, fd});
       return true;
     }},
    {"VU-03", "no descriptor for a region", End::kViolated,
     [](Visit& visit) {
       visit.say(kSetMemoryTable, numbers({1, 0x40000000, 0x1000, visit.user(visit.memory.start()), 0}));
       return true;
     }},
    wrong_kind("a folder", [] { return ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }),
    wrong_kind("a path without a file", [] { return ::open("/", O_PATH | O_CLOEXEC); }),
    wrong_kind("a socket", [] { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }),
    wrong_kind("an epoll set", [] { return ::epoll_create1(EPOLL_CLOEXEC); }),
    wrong_kind("a timer", [] { return ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC); }),
    wrong_kind("a process", [] { return static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)); }),
    wrong_kind("a device", [] { return ::open("/dev/zero", O_RDWR | O_CLOEXEC); }),
    wrong_kind("a file", [] { return ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC); }),
    wrong_kind("a terminal", [] { return ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC); }),
    wrong_kind("an end of a pipe",
               [] {
                 std::array<int, 2> ends{-1, -1};
                 if (::pipe2(ends.data(), O_CLOEXEC) == 0) ::close(ends[1]);
                 return ends[0];
               }),

    {"VU-08", "sizes that no ring has", End::kKept,
     [](Visit& visit) {
       static_cast<void>(visit.front->stop(kTransmit));
       for (const std::uint32_t size : {0U, 3U, 1025U, 32769U, 65536U, 0x80000000U})
         if (!refused(visit.ask(kSetRingSize, words({kTransmit, size})))) return false;
       visit.transmit->reset();
       visit.front->start(kTransmit, *visit.transmit);
       return true;
     }},
    {"VU-08", "another size and base while the ring runs", End::kKept,
     [](Visit& visit) {
       return refused(visit.ask(kSetRingSize, words({kTransmit, 128}))) &&
              refused(visit.ask(kSetRingBase, words({kTransmit, 5}))) && visit.works();
     }},
    {"VU-08", "a base behind all of them", End::kKept,
     [](Visit& visit) {
       static_cast<void>(visit.front->stop(kTransmit));
       if (!refused(visit.ask(kSetRingBase, words({kTransmit, 65536})))) return false;
       visit.transmit->reset();
       visit.front->start(kTransmit, *visit.transmit);
       return true;
     }},
    {"VU-08",
     "enabled and kicked before it has an address",
     End::kLeft,
     [](Visit& visit) {
       const Fd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
       return visit.ask(kSetRingEnable, words({0, 1})) == 0 &&
              refused(visit.ask(kSetRingKick, numbers({0}), {event.get()}));
     },
     {.start = false}},
    {"VU-08", "the position of a ring that does not exist", End::kViolated,
     [](Visit& visit) {
       visit.say(kGetRingBase, words({77, 0}));
       return true;
     }},

    {"VU-18", "200,000 kicks without anything to do", End::kKept,
     [](Visit& visit) {
       for (int i = 0; i < 200'000; ++i) visit.front->kick(kTransmit);
       return true;
     }},
    {"VU-18", "a kick that is readable for ever", End::kKept,
     [](Visit& visit) {
       const Fd event{::eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)};
       return fill(event.get()) && visit.ask(kSetRingKick, numbers({kTransmit}), {event.get()}) == 0;
     }},
    {"VU-18", "a kick that only we had", End::kLeft,
     [](Visit& visit) {
       Fd event{::eventfd(0, EFD_CLOEXEC)};
       return visit.ask(kSetRingKick, numbers({kReceive}), {event.get()}) == 0;
     }},

    {"VU-19", "a call that is full", End::kKept,
     [](Visit& visit) {
       const Fd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
       if (!fill(event.get())) return false;
       if (visit.ask(kSetRingCall, numbers({kReceive}), {event.get()}) != 0) return false;
       return visit.ask(kSetRingCall, numbers({kTransmit}), {event.get()}) == 0 && visit.works();
     }},
    {"VU-19", "a call that is full and blocks", End::kKept,
     [](Visit& visit) {
       const Fd event{::eventfd(0, EFD_CLOEXEC)};
       if (!fill(event.get())) return false;
       if (visit.ask(kSetRingCall, numbers({kReceive}), {event.get()}) != 0) return false;
       return visit.ask(kSetRingCall, numbers({kTransmit}), {event.get()}) == 0 && visit.works();
     }},
    {"VU-19", "no call at all", End::kKept,
     [](Visit& visit) {
       return visit.ask(kSetRingCall, numbers({0x100 | kReceive})) == 0 &&
              visit.ask(kSetRingCall, numbers({0x100 | kTransmit})) == 0;
     }},

    {"VU-20", "features that were not offered", End::kViolated,
     [](Visit& visit) {
       visit.say(kSetFeatures, numbers({visit.front->features() | std::uint64_t{1} << 34U}));
       return true;
     }},
    {"VU-20", "protocol features that were not offered", End::kViolated,
     [](Visit& visit) {
       visit.say(kSetProtocolFeatures, numbers({~0ULL}));
       return true;
     }},
    {"VU-20", "inflight, postcopy, IOTLB, back-end requests, device state", End::kKept,
     [](Visit& visit) {
       for (const unsigned request : {21U, 22U, 25U, 26U, 27U, 28U, 29U, 30U, 31U, 32U})
         if (!refused(visit.ask(request, numbers({0})))) return false;
       return true;
     }},
    {"VU-20", "a log in no file of the kernel's memory", End::kKept,
     [](Visit& visit) {
       const Fd file{::open("/dev/zero", O_RDWR | O_CLOEXEC)};
       return refused(visit.ask(kSetLogBase, numbers({0x1000, 0}), {file.get()}));
     }},
    {"VU-15", "packed rings are not offered", End::kKept,
     [](Visit& visit) { return ((*visit.ask(kGetFeatures, {}) >> 34U) & 1U) == 0; }},
};

}  // namespace

std::span<const FrontEndRow> message_rows() { return kRows; }

}  // namespace cordon::hostile
