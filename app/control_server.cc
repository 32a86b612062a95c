#include "app/control_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

namespace cordon::app {
namespace {

constexpr std::size_t kReadPerTurn = 16UL * 1024;

// One line under work.
struct Work {
  std::string line;  // until its first step
  std::optional<RpcLine> requests;
  std::size_t at = 0;               // the entry under work
  std::unique_ptr<ControlJob> job;  // of that entry
  std::string answers;              // so far; of a batch without its brackets
};

// What a client waits for, or is waited for.
enum class Phase : std::uint8_t { kIdle, kReading, kWorking, kWriting };

}  // namespace

struct ControlServer::Client {
  Client(base::Fd fd, std::uint64_t number, base::Instant now)
      : socket(std::move(fd)), serial(number), since(now) {}

  [[nodiscard]] Phase state() const {
    if (sent < output.size()) return Phase::kWriting;
    if (work) return Phase::kWorking;
    return input.empty() ? Phase::kIdle : Phase::kReading;
  }
  [[nodiscard]] bool can_work(base::Instant now) const { return work_due() <= now; }
  [[nodiscard]] base::Instant work_due() const {
    if (dead || phase != Phase::kWorking) return base::Instant::never();
    return work->job ? work->job->due() : base::Instant{};
  }
  [[nodiscard]] base::Instant deadline() const {
    return phase == Phase::kReading || phase == Phase::kWriting ? since + kPatience : base::Instant::never();
  }

  void read();
  void write();
  void say(std::string text) {
    output = std::move(text);
    output += '\n';
    sent = 0;
    write();
  }
  void step(const ControlContext& context, base::Instant now);
  void answer(const RpcEntry& entry, const RpcReply& reply);

  base::Fd socket;
  std::uint64_t serial;
  LineBuffer input{kMaxLine};
  std::optional<Work> work;
  std::string output;
  std::size_t sent = 0;
  Phase phase = Phase::kIdle;
  base::Instant since;        // of the phase
  std::uint32_t watched = 0;  // epoll events
  bool ended = false;         // no more input comes
  bool last = false;          // closed when its output is written
  bool dead = false;
};

void ControlServer::Client::read() {
  std::array<char, kReadPerTurn> bytes;
  const std::size_t most = std::min(bytes.size(), input.room());
  if (most == 0 || ended) return;
  iovec part{bytes.data(), most};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const ssize_t got = ::recvmsg(socket.get(), &message, MSG_DONTWAIT);
  if (got > 0) {
    input.push({bytes.data(), static_cast<std::size_t>(got)});
  } else if (got == 0) {
    ended = true;
    input.finish();
  } else if (errno != EAGAIN && errno != EINTR) {
    dead = true;
  }
}

void ControlServer::Client::write() {
  while (sent < output.size()) {
    const ssize_t put =
        ::send(socket.get(), output.data() + sent, output.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) dead = true;
      return;
    }
    sent += static_cast<std::size_t>(put);
  }
  output.clear();
  output.shrink_to_fit();
  sent = 0;
}

void ControlServer::Client::answer(const RpcEntry& entry, const RpcReply& reply) {
  if (entry && !entry->id) return;  // a notification
  const Json id = entry ? *entry->id : Json{};
  std::string text = write_response(id, reply);
  if (work->answers.size() + text.size() > kMaxAnswer)
    text = write_response(
        id, std::unexpected(RpcError{RpcCode::kTooLarge, "the answer does not fit; ask for less at once"}));
  if (!work->answers.empty()) work->answers += ',';
  work->answers += text;
}

// One bounded piece of the line's work.
void ControlServer::Client::step(const ControlContext& context, base::Instant now) {
  if (!work->requests) work->requests = read_request(std::exchange(work->line, {}));
  const RpcEntry& entry = work->requests->entries[work->at];
  std::optional<RpcReply> reply;
  if (!entry) {
    reply = std::unexpected(entry.error());
  } else if (work->job) {
    reply = work->job->step(now);
  } else {
    auto begun = begin_request(context, *entry, now);
    if (auto* done = std::get_if<RpcReply>(&begun))
      reply = std::move(*done);
    else
      work->job = std::move(std::get<std::unique_ptr<ControlJob>>(begun));
  }
  if (!reply) return;
  work->job.reset();
  answer(entry, *reply);
  if (++work->at < work->requests->entries.size()) return;
  const bool batch = work->requests->batch;
  std::string answers = std::move(work->answers);
  work.reset();
  if (!answers.empty()) say(batch ? '[' + answers + ']' : std::move(answers));
}

ControlServer::ControlServer(ControlSource& source, base::Fd epoll)
    : source_(source), epoll_(std::move(epoll)), reloads_(source) {}
ControlServer::~ControlServer() = default;

base::Result<std::unique_ptr<ControlServer>> ControlServer::make(ControlSource& source) {
  base::Fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  if (!epoll) return base::fail_errno("epoll_create1", "control socket");
  return std::unique_ptr<ControlServer>(new ControlServer(source, std::move(epoll)));
}

void ControlServer::adopt(base::Fd socket, base::Instant now) {
  auto client = std::make_unique<Client>(std::move(socket), ++serial_, now);
  if (clients_.size() >= kMaxClients && !make_room()) {
    client->say(write_response(
        Json{}, std::unexpected(RpcError{RpcCode::kBusy, "too many clients; try again later"})));
    return;
  }
  epoll_event event{};
  event.events = client->watched = EPOLLIN;
  event.data.u64 = client->serial;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client->socket.get(), &event) != 0) return;
  clients_.push_back(std::move(client));
}

bool ControlServer::make_room() {
  Client* oldest = nullptr;
  for (const auto& client : clients_)
    if (client->phase == Phase::kIdle && (oldest == nullptr || client->since < oldest->since))
      oldest = client.get();
  if (oldest == nullptr) return false;
  oldest->dead = true;
  drop_dead();
  return true;
}

void ControlServer::serve(base::Instant now) {
  take_events(now);
  work(now);
  close_overdue(now);
  drop_dead();
}

void ControlServer::take_events(base::Instant now) {
  std::array<epoll_event, kMaxClients> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), kMaxClients, 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const auto found = std::ranges::find(clients_, event.data.u64, [](const auto& c) { return c->serial; });
    if (found == clients_.end()) continue;
    Client& client = **found;
    if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) client.read();
    if ((event.events & EPOLLOUT) != 0) client.write();
    if ((event.events & (EPOLLHUP | EPOLLERR)) != 0) {
      // Nobody is there any more. What was asked is still done, but nothing else is read.
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, client.socket.get(), nullptr);
      client.watched = 0;
      client.ended = true;
      client.input.finish();
    }
    look_again(client, now);
  }
}

void ControlServer::work(base::Instant now) {
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    Client& client = *clients_[(turn_ + i) % clients_.size()];
    if (!client.can_work(now)) continue;
    turn_ = (turn_ + i + 1) % clients_.size();
    client.step({source_, reloads_}, now);
    look_again(client, now);
    return;
  }
}

// After anything that may have changed what the client is about.
void ControlServer::look_again(Client& client, base::Instant now) {
  if (client.dead) return;
  bool fresh = false;
  if (!client.last && !client.work && client.output.empty()) {
    if (auto line = client.input.next()) {
      client.work.emplace().line = std::move(*line);
      fresh = true;
    } else if (client.input.overlong()) {
      client.last = true;
      client.say(write_response(Json{}, std::unexpected(RpcError{RpcCode::kInvalidRequest,
                                                                 "Invalid Request: a line of more than " +
                                                                     std::to_string(kMaxLine) + " bytes"})));
    }
  }
  const Phase phase = client.state();
  if (phase != client.phase || fresh) client.since = now;
  client.phase = phase;
  if (client.output.empty() && !client.work && (client.last || client.ended)) client.dead = true;
  if (client.dead || (client.ended && client.watched == 0 && phase != Phase::kWriting)) return;
  std::uint32_t wanted = 0;
  if (phase == Phase::kWriting)
    wanted = EPOLLOUT;
  else if (!client.ended && phase != Phase::kWorking)
    wanted = EPOLLIN;
  if (wanted == client.watched) return;
  epoll_event event{};
  event.events = wanted;
  event.data.u64 = client.serial;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, client.socket.get(), &event) != 0) client.dead = true;
  client.watched = wanted;
}

void ControlServer::close_overdue(base::Instant now) {
  for (const auto& client : clients_)
    if (client->deadline() <= now) client->dead = true;
}

void ControlServer::drop_dead() {
  std::erase_if(clients_, [](const auto& client) { return client->dead; });
  if (turn_ >= clients_.size()) turn_ = 0;
}

base::Instant ControlServer::due() const {
  base::Instant due = base::Instant::never();
  for (const auto& client : clients_) due = std::min({due, client->work_due(), client->deadline()});
  return due;
}

}  // namespace cordon::app
