#include "sandbox/vm_port.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>

#include "tests/sandbox/dial.h"

namespace cordon::sandbox {
namespace {

struct Folder {
  Folder() {
    std::string name = "/tmp/cordon-vm-port-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};

}  // namespace

TEST_CASE("vm port: clients come in one by one, and the socket goes with it") {
  const Folder folder;
  const std::string path = folder.path + "/vm";
  {
    auto port = VmPort::listen(path, false);
    REQUIRE(port);
    CHECK_FALSE(port->one_off());
    CHECK_FALSE(port->accept().client.valid());
    const auto first = dial(path);
    const auto second = dial(path);
    auto visit = port->accept();
    CHECK(visit.client.valid());
    CHECK(visit.who == "process " + std::to_string(::getpid()) + " of user " + std::to_string(::geteuid()));
    CHECK(visit.more);
    CHECK(port->accept().client.valid());
    CHECK_FALSE(port->accept().more);
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("vm port: a second instance is refused without being a client, a dead one is replaced") {
  const Folder folder;
  const std::string path = folder.path + "/vm";
  auto port = VmPort::listen(path, true);
  REQUIRE(port);
  const auto second = VmPort::listen(path, false);
  REQUIRE_FALSE(second);
  CHECK(base::describe(second.error()).find("already in use") != std::string::npos);
  CHECK_FALSE(port->accept().client.valid());
  // As after kill -9: the file is there, the socket is not.
  const base::Fd dead{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const std::string left = folder.path + "/left";
  {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, left.data(), left.size());
    const void* const view = &address;
    const base::Fd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    REQUIRE(::bind(socket.get(), static_cast<const sockaddr*>(view), sizeof address) == 0);
  }
  const auto again = VmPort::listen(left, false);
  REQUIRE(again);
  CHECK(dial(left).valid());
}

TEST_CASE("vm port: a connection of the caller's, whose number is free afterwards") {
  std::array<int, 2> pair{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()) == 0);
  const base::Fd far{pair[1]};
  auto port = VmPort::adopt(pair[0]);
  REQUIRE(port);
  CHECK(port->one_off());
  CHECK(port->poll_fd() == -1);
  CHECK(::fcntl(pair[0], F_GETFD) == -1);
  const auto visit = port->accept();
  REQUIRE(visit.client.valid());
  CHECK((::fcntl(visit.client.get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(::send(far.get(), "x", 1, 0) == 1);
  CHECK_FALSE(visit.more);
  CHECK_FALSE(port->accept().client.valid());
}

TEST_CASE("vm port: descriptors that cannot be a guest's connection") {
  struct Row {
    std::string_view name;
    int number;
    std::string_view says;
  };
  const base::Fd file{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  const base::Fd datagram{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  const base::Fd alone{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  for (const Row& row : {Row{"none", 999, "no such descriptor"}, Row{"a file", file.get(), "no socket"},
                         Row{"datagrams", datagram.get(), "connected stream socket"},
                         Row{"not connected", alone.get(), "connected stream socket"}}) {
    CAPTURE(row.name);
    const auto port = VmPort::adopt(row.number);
    REQUIRE_FALSE(port);
    CHECK(base::describe(port.error()).find(row.says) != std::string::npos);
  }
}

TEST_CASE("vm port: clients cost processes, so they are rationed") {
  const Folder folder;
  auto port = VmPort::listen(folder.path + "/vm", false);
  REQUIRE(port);
  const auto now = base::monotonic_now();
  int served = 0;
  while (port->may_serve(now)) ++served;
  CHECK(served == 20);
  CHECK(port->may_serve(now + std::chrono::seconds{1}));
}

}  // namespace cordon::sandbox
