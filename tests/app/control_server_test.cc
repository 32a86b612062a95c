#include "app/control_server.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>

#include "tests/app/control_fake.h"

using namespace cordon;
using namespace cordon::app;
using namespace std::chrono_literals;

namespace {

std::string request(std::string_view method, std::string_view params = {}, std::string_view id = "1") {
  return R"({"jsonrpc":"2.0","method":")" + std::string{method} + '"' +
         (params.empty() ? "" : R"(,"params":)" + std::string{params}) +
         (id.empty() ? "" : R"(,"id":)" + std::string{id}) + "}\n";
}

struct Rig {
  Rig() {
    auto made = ControlServer::make(source);
    REQUIRE(made);
    server = std::move(*made);
  }
  base::Fd connect(int send_buffer = 0) {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
    if (send_buffer != 0)
      REQUIRE(::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer) == 0);
    server->adopt(base::Fd{ends[0]}, now);
    return base::Fd{ends[1]};
  }
  // As the broker does: serves when the set is readable or it is due.
  bool turn() {
    pollfd waiting{.fd = server->poll_fd(), .events = POLLIN, .revents = 0};
    const bool readable = ::poll(&waiting, 1, 0) == 1;
    if (!readable && server->due() > now) return false;
    server->serve(now);
    return true;
  }
  unsigned settle() {
    unsigned turns = 0;
    while (turn()) {
      ++turns;
      REQUIRE(turns < 100'000);  // it must come to rest
    }
    return turns;
  }
  void send(const base::Fd& client, std::string_view text) {
    while (!text.empty()) {
      const ssize_t put = ::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (put > 0) text.remove_prefix(static_cast<std::size_t>(put));
      if (put < 0) REQUIRE(errno == EAGAIN);
      settle();
    }
  }
  std::string receive(const base::Fd& client) {
    settle();
    std::string all;
    std::array<char, 4096> bytes{};
    while (true) {
      const ssize_t got = ::read(client.get(), bytes.data(), bytes.size());
      if (got == 0) return all + "<end>";
      if (got < 0) return all + (errno == EAGAIN ? "" : "<reset>");
      all.append(bytes.data(), static_cast<std::size_t>(got));
      settle();
    }
  }
  std::string ask(const base::Fd& client, std::string_view text) {
    send(client, text);
    return receive(client);
  }

  FakeSource source;
  std::unique_ptr<ControlServer> server;
  base::Instant now = base::Instant::from_nanos(1'000'000'000'000);
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("control server: answers what is asked") {
  Rig rig;
  const auto client = rig.connect();
  CHECK(rig.ask(client, request("status")) ==
        "{\"jsonrpc\":\"2.0\",\"result\":{\"guest\":\"vm-1\"},\"id\":1}\n");
  CHECK(has(rig.ask(client, request("version", {}, "\"a\"")), R"("protocol":1)"));
  CHECK(has(rig.ask(client, request("metrics")), R"(cordon_flows_active 0\n)"));
  CHECK(rig.server->due() == base::Instant::never());  // an idle client costs nothing
}

TEST_CASE("control server: errors by the book") {
  struct Case {
    std::string_view name;
    std::string line;
    std::string_view error;
    std::string_view id;
  };
  const Case cases[] = {
      {"no JSON", "{]\n", "-32700", "null"},
      {"no request", "{}\n", "-32600", "null"},
      {"unknown method", request("nothing"), "-32601", "1"},
      {"reserved method", request("rpc.discover"), "-32601", "1"},
      {"params by position", request("flows", "[1]"), "-32602", "1"},
      {"unknown param", request("flows", R"({"curser":1})"), "-32602", "1"},
      {"param where none is", request("status", R"({"a":1})"), "-32602", "1"},
      {"cursor out of range", request("flows", R"({"cursor":4294967296})"), "-32602", "1"},
      {"limit of nothing", request("flows", R"({"limit":0})"), "-32602", "1"},
      {"limit too large", request("flows", R"({"limit":257})"), "-32602", "1"},
      {"limit as text", request("flows", R"({"limit":"5"})"), "-32602", "1"},
      {"kill without a choice", request("kill"), "-32602", "1"},
      {"kill with an empty choice", request("kill", "{}"), "-32602", "1"},
      {"kill not all", request("kill", R"({"all":false})"), "-32602", "1"},
      {"kill all of some", request("kill", R"({"all":true,"port":1})"), "-32602", "1"},
      {"kill host bits", request("kill", R"({"remote":"192.0.2.1/24"})"), "-32602", "1"},
      {"kill a name", request("kill", R"({"remote":"example.com"})"), "-32602", "1"},
      {"kill port 0", request("kill", R"({"port":0})"), "-32602", "1"},
      {"kill protocol", request("kill", R"({"protocol":"sctp"})"), "-32602", "1"},
      {"kill no flow", request("kill", R"({"flow":"17"})"), "-32602", "1"},
      {"kill rule of no name", request("kill", R"({"rule":""})"), "-32602", "1"},
      {"null id", request("nothing", {}, "null"), "-32601", "null"},
  };
  Rig rig;
  const auto client = rig.connect();
  for (const auto& c : cases) {
    CAPTURE(c.name);
    const auto answer = rig.ask(client, c.line);
    CAPTURE(answer);
    CHECK(has(answer, R"("error":{"code":)" + std::string{c.error} + ','));
    CHECK(has(answer, R"("id":)" + std::string{c.id} + "}\n"));
  }
  CHECK(rig.source.filters.empty());
}

TEST_CASE("control server: an empty array of params is no params") {
  Rig rig;
  const auto client = rig.connect();
  CHECK(has(rig.ask(client, request("status", "[]")), "vm-1"));
}

TEST_CASE("control server: notifications are done and not answered") {
  Rig rig;
  const auto client = rig.connect();
  CHECK(rig.ask(client, request("kill", R"({"all":true})", {})).empty());
  CHECK(rig.source.filters.size() == 1);
  CHECK(rig.ask(client, request("nothing", {}, {})).empty());
  CHECK(has(rig.ask(client, request("status")), "vm-1"));
}

TEST_CASE("control server: batches") {
  Rig rig;
  const auto client = rig.connect();
  const auto one = [](std::string_view method, std::string_view id) {
    auto text = request(method, {}, id);
    text.pop_back();
    return text;
  };
  CHECK(
      rig.ask(client, '[' + one("status", "1") + ",7," + one("status", {}) + ',' + one("no", "2") + "]\n") ==
      "[{\"jsonrpc\":\"2.0\",\"result\":{\"guest\":\"vm-1\"},\"id\":1},"
      "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":\"Invalid Request: not an "
      "object\"},\"id\":null},"
      "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32601,\"message\":\"Method not found: "
      "\\\"no\\\"\"},\"id\":2}]\n");
  CHECK(rig.ask(client, '[' + one("status", {}) + "]\n").empty());
  CHECK(has(rig.ask(client, "[]\n"), "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600"));
}

TEST_CASE("control server: one byte at a time, and many lines at once") {
  Rig rig;
  const auto client = rig.connect();
  std::string answer;
  for (const char c : request("status")) answer += rig.ask(client, {&c, 1});
  CHECK(has(answer, "vm-1"));

  std::string many;
  for (int i = 0; i < 500; ++i) many += request("status", {}, std::to_string(i));
  rig.send(client, many);
  const auto answers = rig.receive(client);
  CHECK(std::ranges::count(answers, '\n') == 500);
  CHECK(answers.find("\"id\":0}") < answers.find("\"id\":499}"));
}

TEST_CASE("control server: a half-closed client gets its answer, the last line needs no newline") {
  Rig rig;
  const auto client = rig.connect();
  auto line = request("status");
  line.pop_back();
  rig.send(client, line);
  CHECK(rig.receive(client).empty());
  REQUIRE(::shutdown(client.get(), SHUT_WR) == 0);
  const auto answer = rig.receive(client);
  CHECK(has(answer, "vm-1"));
  CHECK(has(answer, "<end>"));
  CHECK(rig.server->clients() == 0);
}

TEST_CASE("control server: half a request at the end is an error") {
  Rig rig;
  const auto client = rig.connect();
  rig.send(client, R"({"jsonrpc":"2.0",)");
  REQUIRE(::shutdown(client.get(), SHUT_WR) == 0);
  const auto answer = rig.receive(client);
  CHECK(has(answer, "-32700"));
  CHECK(has(answer, "<end>"));
}

TEST_CASE("control server: who asks and leaves at once is obeyed") {
  Rig rig;
  rig.source.kill_steps = 5;
  {
    const auto client = rig.connect();
    const auto text = request("kill", R"({"all":true})");
    REQUIRE(::send(client.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
  rig.settle();
  CHECK(rig.source.filters.size() == 5);
  CHECK(rig.server->clients() == 0);
}

TEST_CASE("control server: a huge line ends the connection with an error") {
  Rig rig;
  const auto client = rig.connect();
  const std::string line = R"({"jsonrpc":"2.0","method":")" + std::string(100'000, 'x') + "\"}\n";
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t put = ::send(client.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (put > 0) rest.remove_prefix(static_cast<std::size_t>(put));
    rig.settle();
    if (put < 0 && errno != EAGAIN) break;
  }
  const auto answer = rig.receive(client);
  CHECK(has(answer, "-32600"));
  CHECK(has(answer, "65536"));
  CHECK(rig.server->clients() == 0);

  // The longest one that is allowed.
  const auto other = rig.connect();
  auto longest = request("status");
  longest.insert(longest.begin(), kMaxLine - longest.size(), ' ');
  CHECK(has(rig.ask(other, longest), "vm-1"));
}

TEST_CASE("control server: a request that does not come to its end") {
  Rig rig;
  const auto client = rig.connect();
  rig.send(client, "{\"jsonrpc\"");
  rig.now = rig.now + 29s;
  rig.send(client, ":");  // a byte now and then does not help
  rig.settle();
  CHECK(rig.server->clients() == 1);
  CHECK(rig.server->due() == rig.now + 1s);
  rig.now = rig.now + 1s;
  rig.settle();
  CHECK(rig.server->clients() == 0);
  CHECK(rig.receive(client) == "<end>");
}

TEST_CASE("control server: a client that never reads") {
  Rig rig;
  rig.source.flow_count = 10'000;
  const auto client = rig.connect(4096);
  const auto other = rig.connect();
  for (int i = 0; i < 100; ++i) {
    const auto text = request("flows", R"({"limit":256})");
    (void)::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);
    rig.settle();
  }
  // Its first answer waits, and nothing more is made for it.
  CHECK(rig.source.pages == 1);
  CHECK(rig.source.most_asked == 256);
  CHECK(has(rig.ask(other, request("status")), "vm-1"));
  rig.now = rig.now + 30s;
  rig.settle();
  CHECK(rig.server->clients() == 1);
  CHECK(has(rig.ask(other, request("status")), "vm-1"));
}

TEST_CASE("control server: 10,000 flows in pages") {
  Rig rig;
  rig.source.flow_count = 10'000;
  const auto client = rig.connect(4096);
  std::uint64_t cursor = 0;
  std::size_t seen = 0;
  while (true) {
    const auto answer = rig.ask(client, request("flows", R"({"cursor":)" + std::to_string(cursor) + "}"));
    const auto read = read_response(std::string_view{answer}.substr(0, answer.size() - 1), 1);
    REQUIRE(read);
    REQUIRE(*read);
    seen += (*read)->find("flows")->array()->size();
    if ((*read)->find("next")->is_null()) break;
    cursor = (*read)->natural_at("next");
  }
  CHECK(seen == 10'000);
}

TEST_CASE("control server: seventeen clients") {
  Rig rig;
  std::vector<base::Fd> clients;
  for (int i = 0; i < 16; ++i) {
    clients.push_back(rig.connect());
    rig.now = rig.now + 1ms;
  }
  // The first was silent longest, unless it says something.
  CHECK(has(rig.ask(clients[0], request("status")), "vm-1"));
  const auto seventeenth = rig.connect();
  CHECK(rig.server->clients() == 16);
  CHECK(has(rig.ask(seventeenth, request("status")), "vm-1"));
  CHECK(rig.receive(clients[1]) == "<end>");
  CHECK(has(rig.ask(clients[0], request("status")), "vm-1"));
}

TEST_CASE("control server: seventeen clients who are all about something") {
  Rig rig;
  std::vector<base::Fd> clients;
  for (int i = 0; i < 16; ++i) {
    clients.push_back(rig.connect());
    rig.send(clients.back(), "{");
  }
  const auto seventeenth = rig.connect();
  const auto answer = rig.receive(seventeenth);
  CHECK(has(answer, "-32001"));
  CHECK(has(answer, "<end>"));
  CHECK(rig.server->clients() == 16);
}

TEST_CASE("control server: work is one step a turn, in turns") {
  Rig rig;
  rig.source.kill_steps = 50;
  const auto one = rig.connect();
  const auto two = rig.connect();
  const auto kill = request("kill", R"({"all":true})");
  REQUIRE(::send(one.get(), kill.data(), kill.size(), 0) > 0);
  REQUIRE(rig.turn());
  const auto status = request("status");
  REQUIRE(::send(two.get(), status.data(), status.size(), 0) > 0);
  for (int i = 0; i < 4; ++i) REQUIRE(rig.turn());
  std::array<char, 256> bytes{};
  CHECK(::read(two.get(), bytes.data(), bytes.size()) > 0);  // while the kill goes on
  CHECK(rig.source.filters.size() < 10);
  CHECK(has(rig.receive(one), R"({"killed":500})"));
}

TEST_CASE("control server: what kill may choose by") {
  Rig rig;
  const auto client = rig.connect();
  CHECK(
      has(rig.ask(client,
                  request("kill", R"({"remote":"192.0.2.0/24","port":443,"protocol":"tcp","rule":"a/web"})")),
          R"("killed":10)"));
  REQUIRE(rig.source.filters.size() == 1);
  const FlowFilter& filter = rig.source.filters[0];
  CHECK(filter.remote == *net::parse_prefix("192.0.2.0/24"));
  CHECK(filter.port == net::Port{443});
  CHECK(filter.protocol == flow::Protocol::kTcp);
  CHECK(filter.rule == "a/web");
  CHECK_FALSE(filter.id.has_value());
  CHECK(has(rig.ask(client, request("kill", R"({"flow":"17.3"})")), R"("killed":10)"));
  CHECK(rig.source.filters[1].id == flow::Id{17, 3});
}

TEST_CASE("control server: reload answers when the launcher has") {
  Rig rig;
  const auto client = rig.connect();
  CHECK(rig.ask(client, request("reload")).empty());
  CHECK(rig.source.asked == 1);
  rig.now = rig.now + 5s;
  CHECK(rig.receive(client).empty());
  rig.source.loaded(true);
  CHECK(rig.server->due() <= rig.now);
  const auto good = rig.receive(client);
  CHECK(has(good, R"("generation":2)"));
  CHECK(has(good, R"("changed":true)"));
  CHECK(has(good, R"("hash":"sha256:00")"));

  CHECK(rig.ask(client, request("reload")).empty());
  rig.source.outcome.diagnostics = Json::Array{Json::Object{{"code", "P103"}}};
  rig.source.loaded(false);
  const auto bad = rig.receive(client);
  CHECK(has(bad, "-32011"));
  CHECK(has(bad, R"("diagnostics":[{"code":"P103"}])"));
}

TEST_CASE("control server: a reload that nobody answers") {
  Rig rig;
  const auto client = rig.connect();
  CHECK(rig.ask(client, request("reload")).empty());
  rig.now = rig.now + 20s;
  CHECK(has(rig.receive(client), "-32012"));
  // The next one is asked for anew.
  CHECK(rig.ask(client, request("reload")).empty());
  CHECK(rig.source.asked == 2);
  rig.source.loaded(true);
  CHECK(has(rig.receive(client), R"("generation":2)"));
}

TEST_CASE("control server: who asks during a reload gets the one after it") {
  Rig rig;
  const auto one = rig.connect();
  const auto two = rig.connect();
  const auto three = rig.connect();
  CHECK(rig.ask(one, request("reload")).empty());
  CHECK(rig.ask(two, request("reload")).empty());
  CHECK(rig.ask(three, request("reload")).empty());
  CHECK(rig.source.asked == 1);
  rig.source.loaded(false);
  CHECK(has(rig.receive(one), "-32011"));
  CHECK(rig.source.asked == 2);
  CHECK(rig.receive(two).empty());
  rig.source.loaded(true);
  CHECK(has(rig.receive(two), R"("generation":2)"));
  CHECK(has(rig.receive(three), R"("generation":2)"));
  CHECK(rig.source.asked == 2);
}

TEST_CASE("control server: a reload goes on when its client has left") {
  Rig rig;
  {
    const auto client = rig.connect();
    CHECK(rig.ask(client, request("reload")).empty());
  }
  rig.settle();
  rig.source.loaded(true);
  rig.settle();
  CHECK(rig.server->clients() == 0);
  const auto other = rig.connect();
  CHECK(rig.ask(other, request("reload")).empty());
  CHECK(rig.source.asked == 2);
}

TEST_CASE("control server: nothing to reload") {
  Rig rig;
  const auto client = rig.connect();
  // Only the launcher knows: a file may have appeared since.
  CHECK(rig.ask(client, request("reload")).empty());
  CHECK(rig.source.asked == 1);
  ++rig.source.outcome.count;
  rig.source.outcome.nothing = true;
  CHECK(has(rig.receive(client), "-32010"));
  CHECK(rig.ask(client, request("reload")).empty());
  rig.source.loaded(true);
  CHECK(has(rig.receive(client), R"("generation":2)"));
}
