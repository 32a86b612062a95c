// The real broker with the real judge (policy, netlink, audit) in a private world, between a translator's end
// of the channel and a launcher's of the control socket, where one call of a run can be made to fail. The far
// end and everything else here uses calls that are not counted.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "app/broker_judge.h"
#include "policy/load.h"
#include "tests/app/guest_plan.h"
#include "tests/hostile/faults/interpose.h"
#include "tests/sandbox/broker_rig.h"
#include "tests/sandbox/guest_links.h"

namespace cordon::faults {

using namespace std::chrono_literals;
using sandbox::test::Inbox;
using sandbox::test::tuple;
using test::World;

inline constexpr auto kTcp = flow::Protocol::kTcp;
inline constexpr auto kUdp = flow::Protocol::kUdp;
inline constexpr auto kEcho = flow::Protocol::kIcmpEcho;
inline constexpr std::string_view kFar4 = "198.51.100.1";
inline constexpr std::string_view kFar6 = "2001:db8:1::1";
inline constexpr unsigned kPublished = 8080;

// Services beyond the veth pair: TCP connections are accepted and read, datagrams answered. One for the
// process.
class FarEnd {
 public:
  static FarEnd& get() {
    static FarEnd one;
    return one;
  }
  unsigned tcp_port = 0;
  unsigned udp_port = 0;
  std::string heard;  // on all connections
  std::vector<base::Fd> links;

  void pump();
  void forget() {
    links.clear();
    heard.clear();
  }

 private:
  FarEnd();
  std::vector<base::Fd> tcp_;
  std::vector<base::Fd> udp_;
};

struct BenchOptions {
  std::string policy;
  bool published = false;
  std::uint64_t socket_memory = 0;
};

class Bench {
 public:
  explicit Bench(const BenchOptions& options);

  // One armed turn of the broker, then everybody else's.
  void turn(int wait_ms = 2);
  // False: it never happened, or there is nobody left for whom it could.
  bool until(const std::function<bool()>& done, base::Duration limit = 2s);
  flow::Id request(const flow::Tuple& tuple);
  // nullopt: refused, or nobody answers any more.
  std::optional<flow::Id> ask(const flow::Tuple& tuple);
  void close(flow::Id id, flow::CloseHow how = flow::CloseHow::kGraceful);
  bool load(const std::string& policy);
  [[nodiscard]] int socket_of(flow::Id id) { return inbox.grants.at(id).socket.get(); }
  // The translator at the end of the channel was, or will be, killed: what it held is gone.
  [[nodiscard]] bool killed() const { return kill_told || open_revocation; }
  [[nodiscard]] bool serving() const { return !ended && gate.has_value(); }
  // After the fault: a further flow works (with a new translator where the old one is lost), everything
  // closes, no descriptor is left, every grant has its record.
  void settle();

  std::string ending;  // why the broker ended by itself
  bool ended = false;
  bool kill_told = false;
  bool open_revocation = false;
  int turns = 0;
  int baseline = 0;
  Inbox inbox;
  std::map<flow::Id, flow::Tuple> asked;
  std::optional<sandbox::control::LauncherControl> launcher;
  std::optional<app::BrokerJudge> judge;
  std::optional<sandbox::Broker> broker;
  std::optional<sandbox::ChannelGate> gate;

 private:
  void new_translator();
  void look_at_grants();
  void listen_to_broker();
  void check_audit();
  [[nodiscard]] static int open_descriptors();

  base::Fd audit_read_;
  base::Fd audit_write_;
  std::string audit_;
  std::uint32_t next_slot_ = 0;
  std::set<flow::Id> seen_;
  std::uint64_t handed_over_ = 0;
};

// Runs `scenario` once to count its calls, then once for each call and each errno that it may say.
void each_call_fails_once(std::string_view name, const BenchOptions& options,
                          const std::function<void(Bench&)>& scenario);

}  // namespace cordon::faults
