#include "tests/hostile/devices/visit.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace cordon::hostile {
namespace {

constexpr std::size_t kMemory = std::size_t{4} << 20U;
constexpr std::size_t kScratch = std::size_t{256} << 10U;
constexpr std::chrono::seconds kPatience{10};

template <class T>
Payload packed(std::initializer_list<T> values) {
  Payload out(values.size() * sizeof(T));
  std::memcpy(out.data(), std::data(values), out.size());
  return out;
}

template <class Done>
bool within(Done done) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds{200});
  }
  return true;
}

}  // namespace

Payload words(std::initializer_list<std::uint32_t> values) { return packed(values); }
Payload numbers(std::initializer_list<std::uint64_t> values) { return packed(values); }

Visit::Visit(const std::string& socket, const Options& options) : memory(kMemory), by_head_(1024) {
  scratch = memory.allocate(kScratch, 4096);
  out_ = memory.allocate(4096);
  front.emplace(socket, memory);
  front->negotiate(options.features);
  const vhost_client::RingOptions ring{
      .size = 256,
      .event_index = vhost_client::has(front->features(), vhost_client::feature::kEventIndex),
      .indirect = false};
  receive = std::make_unique<DriverRing>(memory, ring);
  transmit = std::make_unique<DriverRing>(memory, ring);
  for (int i = 0; i < 64; ++i) buffers_.push_back(memory.allocate(kBuffer));
  front->set_features();
  front->set_memory();
  if (!options.start) return;
  restart();
  post_buffers(kBuffer);
}

void Visit::restart() {
  receive->reset();
  transmit->reset();
  front->start(kReceive, *receive);
  front->start(kTransmit, *transmit);
  front->enable(kReceive, true);
  front->enable(kTransmit, true);
}

void Visit::restart_receive() {
  static_cast<void>(front->stop(kReceive));
  receive->reset();
  front->start(kReceive, *receive);
}

void Visit::post_buffers(std::uint32_t size) {
  for (const std::uint64_t at : buffers_) {
    const Buffer buffer{at, size};
    const auto head = receive->add(std::span(&buffer, 1), true);
    if (!head) break;
    by_head_[*head] = at;
  }
  receive->publish();
  front->kick(kReceive);
}

// Who has 10.0.2.2, behind an empty header.
std::vector<std::byte> Visit::question() const {
  std::vector<std::uint8_t> frame(12);
  frame.resize(18, 0xff);
  frame.insert(frame.end(), kMac.begin(), kMac.end());
  frame.insert(frame.end(), {8, 6, 0, 1, 8, 0, 6, 4, 0, 1});
  frame.insert(frame.end(), kMac.begin(), kMac.end());
  frame.insert(frame.end(), {10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2});
  frame.resize(12 + 60);
  std::vector<std::byte> out(frame.size());
  std::memcpy(out.data(), frame.data(), frame.size());
  return out;
}

std::uint16_t Visit::put(const std::vector<std::byte>& bytes) {
  std::memcpy(memory.at(out_), bytes.data(), bytes.size());
  const Buffer buffer{out_, static_cast<std::uint32_t>(bytes.size())};
  const auto head = transmit->add(std::span(&buffer, 1), false);
  if (!head) throw std::runtime_error("the transmit ring is full");
  offer();
  return *head;
}

void Visit::offer() {
  transmit->publish();
  front->kick(kTransmit);
}

bool Visit::given_back() {
  return within([this] {
    while (transmit->take_used()) {
    }
    return transmit->in_flight() == 0;
  });
}

void Visit::ask_and_leave() { put(question()); }

bool Visit::works() {
  // Kicks and messages come on different descriptors: a question that overtakes the message by which the
  // receive ring starts is answered to nobody.
  constexpr std::chrono::milliseconds kAskAgain{100};
  auto due = std::chrono::steady_clock::now();
  bool answered = false;
  const bool in_time = within([&] {
    if (std::chrono::steady_clock::now() >= due && transmit->in_flight() == 0) {
      put(question());
      due = std::chrono::steady_clock::now() + kAskAgain;
    }
    while (transmit->take_used()) {
    }
    while (const auto used = receive->take_used()) {
      const std::uint64_t place = by_head_[used->head];
      const std::byte* const at = memory.at(place);
      // An ARP reply to us, well-formed to the byte.
      constexpr std::array<std::uint8_t, 10> kReply{8, 6, 0, 1, 8, 0, 6, 4, 0, 2};
      if (used->length >= 12 + 42 && std::memcmp(at + 12, kMac.data(), 6) == 0 &&
          std::memcmp(at + 24, kReply.data(), kReply.size()) == 0)
        answered = true;
      const Buffer buffer{place, kBuffer};
      if (const auto head = receive->add(std::span(&buffer, 1), true)) by_head_[*head] = place;
      receive->publish();
    }
    return answered;
  });
  return in_time && given_back();
}

bool Visit::closed() {
  std::array<std::byte, 512> drop{};
  return within([&] {
    const ssize_t got = ::recv(front->socket(), drop.data(), drop.size(), MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  });
}

void Visit::say(unsigned request, const Payload& payload, const std::vector<int>& fds,
                std::uint32_t flags) const {
  const_cast<FrontEnd&>(*front).send(static_cast<Request>(request), payload, fds, flags);
}

std::optional<std::uint64_t> Visit::ask(unsigned request, const Payload& payload,
                                        const std::vector<int>& fds) {
  try {
    say(request, payload, fds, FrontEnd::kNeedReply);
    return front->answer_number(static_cast<Request>(request));
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

void Visit::raw(unsigned request, std::uint32_t flags, std::uint32_t size, const Payload& payload) const {
  Payload bytes = words({request, flags, size});
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  static_cast<void>(send_bytes(bytes));
}

bool Visit::send_bytes(const Payload& bytes) const {
  return ::send(front->socket(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

}  // namespace cordon::hostile
