// The world around the broker of broker_fuzz.cc: services that a guest may reach, and the books that a
// translator keeps of one channel.
#pragma once

#include <netinet/in.h>

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "fuzz/input.h"
#include "tests/sandbox/broker_rig.h"

namespace cordon::fuzz {

namespace rig = cordon::sandbox::test;

// What lives as long as the process: the network and the services in it.
struct Outside {
  Outside() {
    rig::World::get();
    interface = ::if_nametoindex("up0");
    tcp4 = rig::serve_far(SOCK_STREAM, "198.51.100.1", 80);
    tcp6 = rig::serve_far(SOCK_STREAM, "2001:db8:1::1", 80);
    udp = rig::serve_far(SOCK_DGRAM, "198.51.100.1", 53);
  }
  static Outside& get() {
    static Outside outside;
    return outside;
  }
  static void abort_connection(int fd) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  // Nothing of an input stays for the next one.
  void clear() const {
    for (const base::Fd* listener : {&tcp4, &tcp6})
      while (const base::Fd one{::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)})
        abort_connection(one.get());
    std::array<char, 2048> drop{};
    while (::recv(udp.get(), drop.data(), drop.size(), MSG_DONTWAIT) >= 0) {
    }
  }
  std::uint32_t interface = 0;
  base::Fd tcp4, tcp6, udp;
  base::Fd nothing{::open("/dev/null", O_RDWR | O_CLOEXEC)};  // to pass where a descriptor is due
};

// The translator's books of one channel.
class Books final : public flow::GateEvents {
 public:
  Books(const rig::FakeJudge& judge, const bool& reads) : judge_(judge), paused_(!reads) {}

  void note(const sandbox::FromTranslator& sent) {
    if (const auto* request = std::get_if<sandbox::FlowRequest>(&sent)) {
      ++asked_[request->id];
      remotes_[request->id] = request->tuple.remote.address;
      possible_[request->id] = sandbox::ports_can_exist(request->tuple);
    }
    if (const auto* claim = std::get_if<sandbox::FlowClaim>(&sent)) ++claimed_[claim->id];
    if (const auto* close = std::get_if<sandbox::FlowClose>(&sent)) closed_[close->id] = true;
  }
  // Nobody waits any more: each request that was not taken back has its answer.
  void require_answered() const {
    for (const auto& [id, times] : asked_)
      if (!closed_.contains(id)) require(answers_.contains(id) && answers_.at(id) == times);
  }
  [[nodiscard]] std::optional<std::uint32_t> offer() {
    if (offers_.empty()) return std::nullopt;
    const std::uint32_t number = offers_.front();
    offers_.pop_front();
    return number;
  }

  void on_grant(flow::Grant grant) override {
    answered(grant.id);
    require(grant.socket.valid() && possible_.at(grant.id));
    if (!paused_) require(!judge_.host.contains(remotes_.at(grant.id)));
    if (sockets_.size() < 8) sockets_.push_back(std::move(grant.socket));
  }
  void on_refuse(flow::Id id, flow::RefuseHow /*how*/) override { answered(id); }
  void on_revoke(flow::Id id, flow::RefuseHow /*how*/) override { require_known(id); }
  void on_reshape(flow::Id id, const flow::Shaping& /*shaping*/) override { require_known(id); }
  void on_inbound(flow::Inbound inbound) override {
    require(inbound.socket.valid());
    require(inbound.tuple.guest.address == rig::ip("10.0.2.15") ||
            inbound.tuple.guest.address == rig::ip("fd00:c0:2d::15"));
    offers_.push_back(inbound.offer);
    if (sockets_.size() < 8) sockets_.push_back(std::move(inbound.socket));
  }
  void on_late_datagram(const flow::LateDatagram& late) override { require(claimed_.contains(late.id)); }
  void on_gate_writable() override {}
  void pause() { paused_ = true; }
  // What a captured translator can do with a socket.
  void use_sockets(std::uint8_t how) {
    for (const base::Fd& socket : sockets_) {
      if ((how & 1U) != 0) static_cast<void>(::send(socket.get(), "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
      if ((how & 2U) != 0) ::shutdown(socket.get(), SHUT_WR);
    }
    if ((how & 4U) != 0) sockets_.clear();
  }

 private:
  void answered(flow::Id id) {
    require(asked_.contains(id));
    require(++answers_[id] <= asked_.at(id));
  }
  void require_known(flow::Id id) const { require(asked_.contains(id) || claimed_.contains(id)); }

  const rig::FakeJudge& judge_;
  bool paused_;  // for a while: what comes then was granted some time ago
  std::map<flow::Id, int> asked_, answers_, claimed_;
  std::map<flow::Id, net::IpAddress> remotes_;
  std::map<flow::Id, bool> possible_, closed_;
  std::deque<std::uint32_t> offers_;
  std::vector<base::Fd> sockets_;
};

}  // namespace cordon::fuzz
