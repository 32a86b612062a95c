// The shell of the device: bytes as they come, descriptors that are never lost nor kept, mappings, and memory
// that vanishes.
#include "core/vhost/backend.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include <cstdlib>

#include "core/vhost/fault_guard.h"
#include "tests/vhost/backend_rig.h"

using namespace cordon;
using namespace cordon::vhost;
using namespace cordon::vhost::test;
using Status = Backend::Status;

TEST_CASE("vhost backend: a message may come byte by byte, and several at once") {
  BackendRig rig;
  const Bytes bytes = message_bytes(1, kPlain, none());
  for (const std::byte b : bytes) {
    CHECK(rig.answer().empty());
    rig.send({b});
    CHECK(rig.backend->serve() == Status::kOpen);
  }
  CHECK(rig.answer().size() == 20);

  const Bytes state_bytes = message_bytes(8, kNeedReply, state(0, 256));
  for (const std::byte b : state_bytes) {
    CHECK(rig.answer().empty());
    rig.send({b});
    CHECK(rig.backend->serve() == Status::kOpen);
  }
  CHECK(rig.answer().size() == 20);

  Bytes many;
  for (int i = 0; i < 100; ++i) many.insert(many.end(), bytes.begin(), bytes.end());
  rig.send(many);
  std::size_t answers = 0;
  for (int turn = 0; turn < 10; ++turn) {
    CHECK(rig.backend->serve() == Status::kOpen);
    for (Bytes got = rig.answer(); !got.empty(); got = rig.answer()) answers += got.size() / 20;
  }
  CHECK(answers == 100);
}

TEST_CASE("vhost backend: the end of the connection, wherever it comes") {
  for (const std::size_t sent : {0U, 5U, 12U, 16U}) {
    CAPTURE(sent);
    BackendRig rig;
    Bytes bytes = message_bytes(8, kPlain, state(0, 256));
    bytes.resize(sent);
    if (sent > 0) rig.send(bytes);
    CHECK(rig.backend->serve() == Status::kOpen);
    rig.front.reset();
    CHECK(rig.backend->serve() == Status::kClosed);
  }
}

TEST_CASE("vhost backend: a complaint names the message") {
  struct Case {
    Bytes bytes;
    std::string_view complaint;
  };
  const Case cases[] = {
      {message_bytes(8, kPlain, state(0, 256)), ""},  // just right
      {message_bytes(8, kPlain, state(0, 3)),
       "SET_VRING_NUM has a size that is not a power of two up to 1024"},
      {message_bytes(8, kPlain, none()), "SET_VRING_NUM has the wrong size"},
      {message_bytes(77, kPlain, none()), "an unknown request is not offered"},
      {message_bytes(32, kPlain, none()), "SET_INFLIGHT_FD is not offered"},
      {message_bytes(2, kPlain, number(1ULL << 63U)), "SET_FEATURES has features that were not offered"},
      {message_bytes(5, 2, none()), "SET_MEM_TABLE has another protocol version"},
      {Bytes(Payload{}.u32(5).u32(1).u32(100'000)), "SET_MEM_TABLE is too long"},
      {message_bytes(12, kPlain, number(0)), "SET_VRING_KICK has the wrong number of descriptors"},
      {message_bytes(11, kPlain, state(9, 0)), "GET_VRING_BASE is about a queue that does not exist"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.complaint);
    BackendRig rig;
    rig.send(c.bytes);
    CHECK(rig.backend->serve() == (c.complaint.empty() ? Status::kOpen : Status::kViolation));
    CHECK(rig.complaint() == c.complaint);
  }
}

TEST_CASE("vhost backend: a front end that reads no answers is not waited for") {
  BackendRig rig;
  const Bytes bytes = message_bytes(1, kPlain, none());
  Status status = Status::kOpen;
  for (int i = 0; i < 100'000 && status == Status::kOpen; ++i) {
    rig.send(bytes);
    status = rig.backend->serve();
  }
  CHECK(status == Status::kViolation);
  CHECK(rig.complaint() == "GET_FEATURES is answered, but nobody reads the answers");
}

TEST_CASE("vhost backend: no message keeps or loses a descriptor that it must not have") {
  // Any number of descriptors with any request: what is open afterwards is what was open before.
  const base::Fd spare = make_event();
  for (std::uint32_t request = 0; request <= 46; ++request) {
    for (const std::size_t count : {0U, 1U, 2U, 7U, 8U, 9U, 64U, 253U}) {
      for (const std::size_t size : {0U, 8U, 16U, 40U}) {
        CAPTURE(request);
        CAPTURE(count);
        CAPTURE(size);
        const std::size_t before = open_fds();
        {
          BackendRig rig;
          rig.send(message_bytes(request, kNeedReply, Payload{}.zeros(size)),
                   std::vector<int>(count, spare.get()));
          const Status status = rig.backend->serve();
          if (count > 8) CHECK(status == Status::kViolation);
        }
        CHECK(open_fds() == before);
      }
    }
  }
}

TEST_CASE("vhost backend: descriptors that come with a half-read message are given back") {
  const base::Fd spare = make_event();
  const std::size_t before = open_fds();
  {
    BackendRig rig;
    Bytes bytes = message_bytes(12, kPlain, number(0));
    bytes.resize(3);
    rig.send(bytes, {spare.get()});
    CHECK(rig.backend->serve() == Status::kOpen);
    rig.send({std::byte{0}}, std::vector<int>(7, spare.get()));
    CHECK(rig.backend->serve() == Status::kOpen);
    rig.send({std::byte{0}}, {spare.get()});  // the ninth
    CHECK(rig.backend->serve() == Status::kViolation);
    CHECK(rig.complaint() == "a message comes with too many descriptors");
  }
  CHECK(open_fds() == before);
}

TEST_CASE("vhost backend: only eventfds kick and call") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const base::Fd pipe_in{ends[0]};
  const base::Fd pipe_out{ends[1]};
  const base::Fd folder{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  const base::Fd path{::open("/dev/null", O_PATH | O_CLOEXEC)};
  const base::Fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  const base::Fd socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  const base::Fd memfd = make_memfd(4096);
  // Of one inode with eventfds, on most kernels.
  const base::Fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  const base::Fd timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
  sigset_t no_signals;
  ::sigemptyset(&no_signals);
  const base::Fd signals{::signalfd(-1, &no_signals, SFD_CLOEXEC)};
  const base::Fd event = make_event();
  BackendRig rig;
  rig.negotiate();
  rig.give_memory();
  REQUIRE(rig.ask(8, state(0, 256)) == 0);
  REQUIRE(rig.ask(9, addr(0, 0, BackendRig::kUser, BackendRig::kUser + 0x5000, BackendRig::kUser + 0x4000)) ==
          0);
  for (const std::uint32_t request : {12U, 13U}) {
    for (const base::Fd* const fd :
         {&pipe_in, &pipe_out, &folder, &path, &null, &socket, &memfd, &epoll, &timer, &signals}) {
      REQUIRE(fd->valid());
      CHECK(rig.ask(request, number(0), {fd->get()}) == 1);
    }
    CHECK(rig.ask(request, number(0), {event.get()}) == 0);
  }
  std::uint64_t count = 0;
  CHECK(::read(event.get(), &count, sizeof count) < 0);  // nobody was kicked or called by the question
  BackendRig strict;
  CHECK(strict.say(13, number(0), {null.get()}) == Status::kViolation);
  CHECK(strict.complaint() == "SET_VRING_CALL has no eventfd");
}

TEST_CASE("vhost backend: rings reach the data path with what they need, and lose it at the stop") {
  const base::Fd kick = make_event();
  const base::Fd call = make_event();
  const std::size_t before = open_fds();
  {
    BackendRig rig({.pairs = 2});
    rig.negotiate();
    rig.give_memory();
    FakePath& path = rig.paths[1];
    CHECK(rig.ask(13, number(2), {call.get()}) == 0);
    rig.start(2, kick.get());
    REQUIRE(path.state.receive.ring);
    CHECK_FALSE(path.state.transmit.ring);
    CHECK_FALSE(rig.paths[0].state.receive.ring);
    CHECK(path.state.receive.kick >= 0);
    CHECK(path.state.receive.call >= 0);
    CHECK(path.state.transmit.kick == -1);
    CHECK(path.state.features.merge_buffers == false);
    CHECK(path.state.memory->regions().size() == 1);
    // The call descriptor is ours, and is the one that was sent.
    const std::uint64_t one = 1;
    CHECK(::write(path.state.receive.call, &one, sizeof one) == 8);
    std::uint64_t count = 0;
    CHECK(::read(call.get(), &count, sizeof count) == 8);
    // Masked by another one, then by none.
    const base::Fd other = make_event();
    CHECK(rig.ask(13, number(2), {other.get()}) == 0);
    CHECK(::write(path.state.receive.call, &one, sizeof one) == 8);
    CHECK(::read(other.get(), &count, sizeof count) == 8);
    CHECK(rig.ask(13, number(0x102)) == 0);
    CHECK(path.state.receive.call == -1);

    path.positions = {77, 0};
    REQUIRE(rig.say(11, state(2, 0)) == Status::kOpen);
    CHECK(rig.answer() == message_bytes(11, 5, state(2, 77)));
    CHECK_FALSE(path.state.receive.ring);
    CHECK(path.state.receive.kick == -1);
    // What we hold now: two sockets, the guest's memory, `other`, the model of the judge is closed.
    CHECK(open_fds() <= before + 6);
  }
  CHECK(open_fds() == before);
}

TEST_CASE("vhost backend: the destructor takes everything back") {
  const base::Fd kick = make_event();
  std::vector<FakePath> kept;
  BackendRig rig;
  rig.negotiate();
  rig.give_memory();
  rig.start(0, kick.get());
  REQUIRE(rig.paths[0].state.receive.ring);
  rig.backend.reset();
  CHECK_FALSE(rig.paths[0].state.receive.ring);
  CHECK(rig.paths[0].state.memory == nullptr);
}

TEST_CASE("vhost backend: 2,000 starts and stops, table replaced in between") {
  const base::Fd kick = make_event();
  const std::size_t before = open_fds();
  {
    BackendRig rig;
    rig.negotiate();
    rig.give_memory();
    for (int i = 0; i < 2000; ++i) {
      rig.start(0, kick.get());
      if (i % 2 == 0) rig.give_memory();
      REQUIRE(rig.paths[0].state.receive.ring);
      REQUIRE(rig.say(11, state(0, 0)) == Status::kOpen);
      REQUIRE(rig.answer().size() == 20);
    }
  }
  CHECK(open_fds() == before);
}
