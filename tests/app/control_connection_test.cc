#include "app/control_connection.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <thread>

#include "app/control_server.h"
#include "tests/app/control_fake.h"

using namespace cordon;
using namespace cordon::app;
using namespace std::chrono_literals;

namespace {

// A socket to connect to, and a thread that does to the first client what the test says.
class Host {
 public:
  explicit Host(std::function<void(base::Fd)> treat) {
    REQUIRE(::mkdtemp(folder_.data()) != nullptr);
    path_ = std::string{folder_.data()} + "/a.sock";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path_, static_cast<char*>(address.sun_path));
    listener_ = base::Fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const auto* const plain = static_cast<const void*>(&address);
    REQUIRE(::bind(listener_.get(), static_cast<const sockaddr*>(plain), sizeof address) == 0);
    REQUIRE(::listen(listener_.get(), 4) == 0);
    thread_ = std::thread([this, treat = std::move(treat)] {
      base::Fd client{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
      if (client) treat(std::move(client));
    });
  }
  ~Host() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    ::unlink(path_.c_str());
    ::rmdir(folder_.data());
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::array<char, 40> folder_{"/tmp/cordon-control-XXXXXX"};
  std::string path_;
  base::Fd listener_;
  std::thread thread_;
};

void wait_readable(const base::Fd& client) {
  pollfd waiting{.fd = client.get(), .events = POLLIN, .revents = 0};
  ::poll(&waiting, 1, 30'000);
}
// Bounded: the client gives up first.
void wait_hangup(const base::Fd& client) {
  pollfd waiting{.fd = client.get(), .events = POLLRDHUP, .revents = 0};
  ::poll(&waiting, 1, 30'000);
}
void put(const base::Fd& client, std::string_view text) {
  CHECK(::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
}
constexpr std::string_view kVersion = "{\"jsonrpc\":\"2.0\",\"result\":{\"protocol\":1},\"id\":1}\n";

// The real server until its client leaves.
void serve(FakeSource& source, base::Fd client) {
  auto server = ControlServer::make(source);
  if (!server) return;
  (*server)->adopt(std::move(client), base::monotonic_now());
  while ((*server)->clients() != 0) {
    pollfd waiting{.fd = (*server)->poll_fd(), .events = POLLIN, .revents = 0};
    ::poll(&waiting, 1, (*server)->due() <= base::monotonic_now() ? 0 : 10);
    (*server)->serve(base::monotonic_now());
    if (source.asked > source.outcome.count) source.loaded(true);
  }
}

// Only a host that stays silent is waited for until `patience` ends: it is not a time limit for a busy
// machine.
std::string error_of(const std::string& path, std::string_view method = {},
                     std::chrono::milliseconds patience = 30s) {
  auto connection = ControlConnection::open(path, patience);
  if (!connection) return connection.error();
  const auto answer = connection->call(method, {}, patience);
  return answer ? "answered" : answer.error();
}

}  // namespace

TEST_CASE("control connection: with the real server") {
  FakeSource source;
  source.flow_count = 3'000;
  Host host{[&](base::Fd client) { serve(source, std::move(client)); }};
  auto connection = ControlConnection::open(host.path());
  REQUIRE(connection);
  const auto status = connection->call("status");
  REQUIRE(status);
  REQUIRE(*status);
  CHECK((*status)->text_at("guest") == "vm-1");
  const auto page = connection->call("flows", Json::Object{{"limit", 256}});
  REQUIRE(page);
  REQUIRE(*page);
  CHECK((*page)->natural_at("next") == 256);
  const auto reload = connection->call("reload");
  REQUIRE(reload);
  REQUIRE(*reload);
  CHECK((*reload)->natural_at("generation") == 2);
  const auto refused = connection->call("kill", Json::Object{{"port", "x"}});
  REQUIRE(refused);
  REQUIRE_FALSE(*refused);
  CHECK(refused->error().code == RpcCode::kInvalidParams);
}

TEST_CASE("control connection: what can go wrong is one clear line") {
  struct Case {
    std::string_view name;
    std::function<void(base::Fd)> treat;
    std::string_view says;
    std::chrono::milliseconds patience = 30s;
  };
  const Case cases[] = {
      {"closed at once", [](base::Fd client) { client.reset(); }, "only the user who started it"},
      {"silent", [](base::Fd client) { wait_readable(client), wait_hangup(client); }, "does not answer",
       200ms},
      {"no JSON-RPC", [](base::Fd client) { wait_readable(client), put(client, "SSH-2.0-x\n"); },
       "no JSON-RPC answer"},
      {"another version",
       [](base::Fd client) {
         wait_readable(client);
         put(client, "{\"jsonrpc\":\"2.0\",\"result\":{\"protocol\":2},\"id\":1}\n");
       },
       "version 2"},
      {"too many",
       [](base::Fd client) {
         put(client,
             "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32001,\"message\":\"too many "
             "clients\"},\"id\":null}\n");
       },
       "too many clients"},
      {"gone in mid-answer",
       [](base::Fd client) {
         wait_readable(client);
         std::array<char, 4096> bytes{};
         // Before the answer: after it the next request may be there as well.
         REQUIRE(::read(client.get(), bytes.data(), bytes.size()) > 0);
         put(client, kVersion);
         wait_readable(client);
         put(client, "{\"jsonrpc\":\"2.0\",\"resu");
       },
       "ended before it had answered"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.name);
    Host host{c.treat};
    const auto error = error_of(host.path(), "status", c.patience);
    CAPTURE(error);
    CHECK(error.find(c.says) != std::string::npos);
    CHECK(error.find('\n') == std::string::npos);
  }
  CHECK(error_of("/tmp/cordon-control-none/x.sock").find("does it run?") != std::string::npos);
  CHECK(error_of(std::string(200, 'x')).find("107 bytes") != std::string::npos);
  CHECK(error_of("").find("bytes") != std::string::npos);
}

TEST_CASE("control connection: a socket that nobody listens at any more") {
  std::string path;
  {
    Host host{[](base::Fd) {}};
    path = host.path();
    // Another name for it outlives it.
    REQUIRE(::link(path.c_str(), (path + ".left").c_str()) == 0);
    path += ".left";
    CHECK(error_of(host.path()).find("only the user") != std::string::npos);
    const std::string away = "/tmp/cordon-control-left-" + std::to_string(::getpid());
    REQUIRE(::rename(path.c_str(), away.c_str()) == 0);
    path = away;
  }
  CHECK(error_of(path).find("nobody listens") != std::string::npos);
  ::unlink(path.c_str());
}

TEST_CASE("control connection: whoever listens from inside of a guest is not asked") {
  std::array<char, 40> folder{"/tmp/cordon-control-XXXXXX"};
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const std::string path = std::string{folder.data()} + "/a.sock";
  std::array<int, 2> told{};
  REQUIRE(::pipe(told.data()) == 0);
  const pid_t guest = ::fork();
  if (guest == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path, static_cast<char*>(address.sun_path));
    const auto* const plain = static_cast<const void*>(&address);
    const bool done = ::unshare(CLONE_NEWUSER) == 0 &&
                      ::bind(listener, static_cast<const sockaddr*>(plain), sizeof address) == 0 &&
                      ::listen(listener, 4) == 0;
    if (::write(told[1], done ? "y" : "n", 1) != 1 || !done) ::_exit(1);
    const int client = ::accept(listener, nullptr, nullptr);
    if (::send(client, kVersion.data(), kVersion.size(), MSG_NOSIGNAL) < 0) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char answer = 'n';
  REQUIRE(::read(told[0], &answer, 1) == 1);
  if (answer == 'y') {
    const auto connection = ControlConnection::open(path);
    REQUIRE_FALSE(connection);
    CHECK(connection.error().find("inside of another user namespace") != std::string::npos);
  } else {
    MESSAGE("no user namespaces here");
  }
  ::kill(guest, SIGKILL);
  ::waitpid(guest, nullptr, 0);
  for (const int fd : told) ::close(fd);
  ::unlink(path.c_str());
  ::rmdir(folder.data());
}
