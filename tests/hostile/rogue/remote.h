// The driver's end of an agent (agent.h), and the messages its victim, the broker, reads from it.
#pragma once

#include <chrono>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/fd.h"
#include "core/flow/types.h"
#include "sandbox/messages.h"
#include "tests/hostile/rogue/agent.h"

namespace cordon::rogue {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
namespace message = sandbox::message;

// The agent's process has ended; the launcher knows why.
struct Gone {};
// The broker said no.
struct Refused {
  flow::RefuseHow how;
};

// Tries again until it is true, or the time is up.
template <class Condition>
bool within(milliseconds limit, Condition condition) {
  const auto end = Clock::now() + limit;
  while (!condition()) {
    if (Clock::now() >= end) return false;
    constexpr timespec kPause{0, 2'000'000};
    ::nanosleep(&kPause, nullptr);
  }
  return true;
}

class Remote {
 public:
  // Connects until a fresh translator answers.
  explicit Remote(const std::string& socket);

  // An address in its memory, for the whole life of the agent.
  std::uint64_t put(base::Bytes bytes);
  template <class Value>
  std::uint64_t put(const Value& value) {
    return put(base::as_bytes(&value, sizeof value));
  }
  std::uint64_t room(std::size_t size);
  void write(std::uint64_t address, base::Bytes bytes);
  std::vector<std::byte> read(std::uint64_t address, std::size_t size);
  template <class Value>
  Value get(std::uint64_t address) {
    Value value;
    std::memcpy(&value, read(address, sizeof value).data(), sizeof value);
    return value;
  }
  [[nodiscard]] std::uint64_t offset_of(std::uint64_t address) const { return address - hello_.arena; }
  [[nodiscard]] const Hello& hello() const { return hello_; }

  template <class... Arguments>
  Result call(long number, Arguments... arguments) {
    return make({number, {static_cast<std::uint64_t>(arguments)...}});
  }
  Result make(const Call& call);
  void begin(const Command& command);  // and the answer later
  Tally tally();
  void other(Order order, std::uint64_t address = 0, std::uint64_t time = 0);

  // --- as the translator speaks to the broker
  struct Answer {
    std::uint16_t type = 0;
    flow::Id id;
    int fd = -1;  // a number of the agent's
    std::optional<flow::RefuseHow> how;
    std::size_t size = 0;
  };
  Result send(base::Bytes bytes);  // on the channel
  template <class Message>
  Result say(const Message& message) {
    return send(base::as_bytes(&message, sizeof message));
  }
  // The next message of the broker's.
  std::optional<Answer> hear(milliseconds limit = milliseconds{5000});
  Answer ask(const message::FlowRequest& request);
  // A number of the agent's. Throws Refused.
  int grant(flow::Protocol protocol, std::string_view remote, std::uint16_t port, std::uint16_t from = 0);
  [[nodiscard]] flow::Id last() const { return last_; }
  // The next request, not sent.
  message::FlowRequest request(flow::Protocol protocol, std::string_view remote, std::uint16_t port,
                               std::uint16_t from = 0);
  Result close_flow(flow::Id id, flow::CloseHow how = flow::CloseHow::kGraceful);

  void hang_up() { fd_.reset(); }

 private:
  [[noreturn]] void await_end();
  void transmit(const void* from, std::size_t size);
  void receive(void* into, std::size_t size);

  base::Fd fd_;
  Hello hello_;
  std::size_t used_ = 64;  // of the arena; 0 means nothing
  std::uint64_t message_ = 0;
  std::uint64_t incoming_ = 0;
  std::uint32_t next_slot_ = 0;
  flow::Id last_;
};

[[nodiscard]] message::WireTuple wire_tuple(flow::Protocol protocol, std::string_view guest,
                                            std::uint16_t guest_port, std::string_view remote,
                                            std::uint16_t remote_port);
inline constexpr int kChannel = 3;
inline constexpr int kLink = 4;

}  // namespace cordon::rogue
