#include "app/control_client.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include "app/control_connection.h"
#include "app/control_place.h"
#include "app/control_print.h"

namespace cordon::app {
namespace {

constexpr int kDone = 0;
constexpr int kRefused = 1;
constexpr int kNobody = 2;
// Longer than the instance itself waits for its launcher.
constexpr base::Duration kReloadPatience = std::chrono::seconds{25};
constexpr base::Duration kLookPatience = std::chrono::seconds{1};

int fail(int status, std::string_view what) {
  const std::string line = "cordon ctl: " + printable(what) + '\n';
  std::fputs(line.c_str(), stderr);
  return status;
}

// To stdout. A reader that has left (`| head`) has seen enough: that is no failure.
class Output {
 public:
  void put(std::string_view text) {
    if (open_) open_ = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
    if (!open_) error_ = errno;
  }
  void line(std::string_view text) {
    put(text);
    put("\n");
  }
  [[nodiscard]] bool open() const { return open_; }
  [[nodiscard]] int finish(int status) {
    if (open_ && std::fflush(stdout) != 0) open_ = false, error_ = errno;
    if (open_ || error_ == EPIPE) return status;
    return fail(kRefused, std::string{"standard output: "} + std::strerror(error_));
  }

 private:
  bool open_ = true;
  int error_ = 0;
};

using Called = std::expected<RpcReply, std::string>;

// The answer, or the exit status.
std::expected<Json, int> settled(const Called& called) {
  if (!called) return std::unexpected(fail(kNobody, called.error()));
  if (!*called) return std::unexpected(fail(kRefused, called->error().message));
  return **called;
}

int status(ControlConnection& connection, const CtlOptions& options, Output& out) {
  const auto answer = settled(connection.call("status"));
  if (!answer) return answer.error();
  out.put(options.json ? answer->dump() + '\n' : status_text(*answer));
  return kDone;
}

int flows(ControlConnection& connection, const CtlOptions& options, Output& out) {
  constexpr std::uint64_t kPage = 256;
  std::uint64_t cursor = 0;
  TextTable table{flow_head()};
  while (out.open()) {
    const auto page = settled(connection.call("flows", Json::Object{{"cursor", cursor}, {"limit", kPage}}));
    if (!page) return page.error();
    const Json* list = page->find("flows");
    if (list == nullptr || list->array() == nullptr) return fail(kNobody, "the answer has no flows in it");
    for (const Json& flow : *list->array())
      if (options.json)
        out.line(flow.dump());
      else
        table.add(flow_row(flow));
    const Json* next = page->find("next");
    if (next == nullptr || next->natural() == nullptr) break;
    if (*next->natural() <= cursor) return fail(kNobody, "the pages of flows do not end");
    cursor = *next->natural();
  }
  if (!options.json) out.put(table.text());
  return kDone;
}

Json filter_of(const CtlOptions& options) {
  if (options.all) return Json::Object{{"all", true}};
  Json filter;
  if (!options.remote.empty()) filter.add("remote", options.remote);
  if (options.port != 0) filter.add("port", options.port);
  if (!options.protocol.empty()) filter.add("protocol", options.protocol);
  if (!options.rule.empty()) filter.add("rule", options.rule);
  return filter;
}

int kill_flows(ControlConnection& connection, const CtlOptions& options, Output& out) {
  std::vector<Json> choices;
  for (const auto& id : options.flow_ids) choices.emplace_back(Json::Object{{"flow", id}});
  if (choices.empty()) choices.push_back(filter_of(options));
  std::uint64_t killed = 0;
  for (const Json& choice : choices) {
    const auto answer = settled(connection.call("kill", choice));
    if (!answer) return answer.error();
    killed += answer->natural_at("killed");
  }
  if (options.json)
    out.line(Json{Json::Object{{"killed", killed}}}.dump());
  else
    out.line("killed " + std::to_string(killed) + (killed == 1 ? " flow" : " flows"));
  return killed == 0 ? kRefused : kDone;
}

int reload(ControlConnection& connection, const CtlOptions& options, Output& out) {
  const auto called = connection.call("reload", {}, kReloadPatience);
  if (!called) return fail(kNobody, called.error());
  const bool good = called->has_value();
  if (!good && called->error().code != RpcCode::kPolicyRejected)
    return fail(kRefused, called->error().message);
  const Json& data = good ? **called : called->error().data;
  if (options.json) {
    out.line(data.dump());
    return good ? kDone : kRefused;
  }
  if (const Json* diagnostics = data.find("diagnostics"))
    std::fputs(diagnostics_text(*diagnostics).c_str(), stderr);
  const std::string now =
      "policy generation " + std::to_string(data.natural_at("generation")) + ", " + data.text_at("hash");
  if (!good) return fail(kRefused, called->error().message + "; in force: " + now);
  const Json* changed = data.find("changed");
  const bool same = changed != nullptr && changed->boolean() != nullptr && !*changed->boolean();
  out.line((same ? "unchanged: " : "in force: ") + now);
  return kDone;
}

int metrics(ControlConnection& connection, const CtlOptions& options, Output& out) {
  const auto answer = settled(connection.call("metrics"));
  if (!answer) return answer.error();
  out.put(options.json ? answer->dump() + '\n' : answer->text_at("text"));
  return kDone;
}

int list(const CtlOptions& options, Output& out) {
  const auto directory = control_directory();
  if (!directory) return fail(kNobody, "XDG_RUNTIME_DIR is not set: no place to look");
  TextTable table{{"NAME", "UP", "FLOWS", "POLICY", "SOCKET"}};
  for (const auto& place : control_places(*directory)) {
    auto connection = ControlConnection::open(place.path, kLookPatience);
    const auto answer = connection ? connection->call("status", {}, kLookPatience)
                                   : Called{std::unexpected(connection.error())};
    const bool runs = answer && *answer;
    const Json status = runs ? **answer : Json{};
    if (options.json) {
      out.line(Json{Json::Object{{"name", place.name}, {"socket", place.path}, {"status", status}}}.dump());
      continue;
    }
    const Json* live = status.find("flows");
    const Json* policy = status.find("policy");
    table.add({place.name, runs ? duration_text(status.natural_at("uptime_ms")) : "gone",
               live != nullptr ? std::to_string(live->natural_at("live")) : "",
               policy != nullptr ? "generation " + std::to_string(policy->natural_at("generation")) : "",
               place.path});
  }
  if (!options.json) out.put(table.text());
  return kDone;
}

// The only instance that answers.
std::expected<ControlConnection, std::string> find_instance() {
  const auto directory = control_directory();
  if (!directory) return std::unexpected("XDG_RUNTIME_DIR is not set; say which instance by --socket PATH");
  std::optional<ControlConnection> found;
  std::string names;
  std::string why;
  std::size_t running = 0;
  for (const auto& place : control_places(*directory)) {
    auto connection = ControlConnection::open(place.path);
    if (!connection) {
      why = connection.error();
      continue;
    }
    ++running;
    names += (names.empty() ? "" : ", ") + place.name;
    found = std::move(*connection);
  }
  if (running == 1) return std::move(*found);
  if (running > 1) return std::unexpected("several run; choose one by --name: " + names);
  return std::unexpected(why.empty() ? "none of yours runs with a control socket in " + *directory : why);
}

std::expected<ControlConnection, std::string> connect(const CtlOptions& options) {
  if (!options.socket.empty()) return ControlConnection::open(options.socket);
  if (options.name.empty()) return find_instance();
  const auto directory = control_directory();
  if (!directory) return std::unexpected("XDG_RUNTIME_DIR is not set; say which instance by --socket PATH");
  return ControlConnection::open(control_path(*directory, options.name));
}

int act(const CtlOptions& options, Output& out) {
  if (options.action == CtlOptions::Action::kList) return list(options, out);
  auto connection = connect(options);
  if (!connection) return fail(kNobody, connection.error());
  switch (options.action) {
    case CtlOptions::Action::kStatus: return status(*connection, options, out);
    case CtlOptions::Action::kFlows: return flows(*connection, options, out);
    case CtlOptions::Action::kKill: return kill_flows(*connection, options, out);
    case CtlOptions::Action::kReload: return reload(*connection, options, out);
    case CtlOptions::Action::kMetrics: return metrics(*connection, options, out);
    case CtlOptions::Action::kList: break;
  }
  return kDone;
}

}  // namespace

int run_ctl(const CtlOptions& options) {
  ::signal(SIGPIPE, SIG_IGN);
  Output out;
  return out.finish(act(options, out));
}

}  // namespace cordon::app
