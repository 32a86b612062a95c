// The real judge with one policy file that changes; for the tests of reloads.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "app/broker_judge.h"
#include "app/broker_token.h"
#include "policy/load.h"
#include "policy/parsed_source.h"
#include "tests/app/guest_plan.h"
#include "tests/support/world.h"

namespace cordon::app::reload {

using sandbox::PolicyLoad;
using sandbox::control::LoadCause;
using namespace std::chrono_literals;

// A file whose rule list is in its lines from 4 on.
inline std::string file(const std::string& rules, const std::string& head = "description: x") {
  return "version: 1\nname: x\n" + head + "\negress:\n" + rules;
}
inline const std::string kFar = "  - {name: far, allow: [198.51.100.0/24]}\n";
inline const std::string kOther = "  - {name: other, allow: [203.0.113.0/24]}\n";

inline flow::Tuple to(std::string_view remote, std::uint16_t port = 80,
                      flow::Protocol protocol = flow::Protocol::kTcp) {
  return {
      protocol, {*net::parse_ip("10.0.2.15"), net::Port{40000}}, {*net::parse_ip(remote), net::Port{port}}};
}

struct Rig {
  explicit Rig(const std::string& text) {
    test::World::get();
    REQUIRE(::pipe2(pipe, O_CLOEXEC | O_NONBLOCK) == 0);
    auto monitor = netlink::Monitor::open(now);
    REQUIRE(monitor);
    judge.emplace(ipv4_plan(), nullptr, std::move(*monitor), pipe[1]);
    judge->drain(now);
    if (!text.empty()) REQUIRE(load(text) == PolicyLoad::kInForce);
  }
  ~Rig() {
    ::close(pipe[0]);
    ::close(pipe[1]);
  }
  PolicyLoad load(const std::string& text, LoadCause cause = LoadCause::kSignal) {
    const policy::Source source{"x.yaml", text};
    return judge->take_policy(policy::load(std::span(&source, 1), judge->next_generation()), cause, now);
  }
  // A date is written by the second, and tests do not wait for one.
  PolicyLoad load_ending(const std::string& text, base::WallTime expires, base::WallTime until) {
    const policy::Source source{"x.yaml", text};
    auto loaded = policy::load(std::span(&source, 1));
    REQUIRE(loaded.policy);
    std::vector<policy::Ruleset> files(loaded.policy->files().begin(), loaded.policy->files().end());
    files[0].expires = expires;
    if (!files[0].egress.empty()) files[0].egress[0].until = until;
    loaded.policy.emplace(std::move(files), judge->next_generation());
    return judge->take_policy(std::move(loaded), LoadCause::kSignal, now);
  }
  sandbox::Verdict ask(const flow::Tuple& tuple) { return judge->judge(tuple, now); }
  sandbox::Verdict again(const flow::Tuple& tuple, std::uint64_t token) {
    return judge->judge_again({tuple, tuple.remote, token, now}, false, now);
  }
  std::string audit() {
    std::string text(65536, '\0');
    const ssize_t n = ::read(pipe[0], text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }
  std::string cut(const flow::Tuple& tuple, std::uint64_t token, const sandbox::Verdict& verdict,
                  sandbox::Cut why = sandbox::Cut::kVerdict) {
    (void)audit();
    judge->on_cut({tuple, tuple.remote, token, now}, verdict, why, true, false, now);
    return audit();
  }
  base::Instant now = base::monotonic_now();
  int pipe[2] = {-1, -1};
  std::optional<BrokerJudge> judge;
};

inline bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}
inline policy::Reason reason_of(const sandbox::Verdict& verdict) { return unpack(verdict.token).reason; }

}  // namespace cordon::app::reload
