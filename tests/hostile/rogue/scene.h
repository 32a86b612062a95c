// One attack and what is around it: the agent, the broker it attacks, and the state that both must be in
// afterwards.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/hostile/rogue/remote.h"
#include "tests/hostile/rogue/witness.h"

namespace cordon::rogue {

// What the script has set up, and all that there is to be told.
struct World {
  std::string cordon;   // the program, for `cordon ctl`
  std::string socket;   // the virtual machine's
  std::string control;  // socket
  std::string audit;    // file
  std::string log;      // the launcher's stderr
  std::string policy;   // file
  std::string outside;  // network namespace of the server
  std::string work;     // a pipe: each line makes the other guest try its network
  std::string done;     // a pipe: and here it says what came of it
  pid_t launcher = 0;
  pid_t broker = 0;
  pid_t other = 0;        // the other guest's translator
  bool weak = false;      // the filter has holes: leaks are expected
  bool thorough = false;  // the long form
  std::string only;       // one attack
};

class Scene {
 public:
  Scene(const World& world, Witness& witness);

  const World& world() const { return world_; }
  Witness& witness() { return witness_; }
  Remote& agent();  // a fresh one, when there is none
  void end_agent();
  // A socket of the agent's that the policy allows, made when first asked for.
  int tcp(bool v6 = false);
  int udp(bool v6 = false);
  int ping(bool v6 = false);
  // Its far end.
  int far_tcp(bool v6 = false) { return far_.at(v6).get(); }

  // Why the agent's process ended, by the launcher's word: "SIGSYS", "violation length", "left" ...
  std::string cause_of_end();
  // Runs `cordon ctl`; its output.
  std::string ctl(const std::string& arguments, int* status = nullptr) const;
  // How long the broker takes to answer; nullopt: longer than `limit`.
  std::optional<milliseconds> answer_time(milliseconds limit = milliseconds{5000}) const;
  // A later connection's flows, allowed by the policy, over a fresh agent, which the next attack then has.
  bool honest_flows();
  void only_v6_from_now() { v4_ = false; }
  // A command-line guest of the same host.
  bool other_guest();
  bool recorded(std::string_view text);  // in the audit log, since the attack began

  struct Broker {
    std::size_t descriptors = 0;
    std::size_t resident_kib = 0;
  };
  Broker broker() const;
  std::size_t socket_memory() const;  // of the whole host, bytes
  void begin();                       // of an attack
  std::uint64_t audit_size() const;

 private:
  bool try_honest_flows();

  const World& world_;
  Witness& witness_;
  std::unique_ptr<Remote> agent_;
  std::map<bool, base::Fd> far_;
  std::map<std::pair<int, bool>, int> sockets_;
  bool v4_ = true;
  std::uint64_t log_at_ = 0;
  std::uint64_t audit_at_ = 0;
};

std::string read_file(const std::string& path, std::uint64_t from = 0);
std::string name_of_errno(std::int64_t number);
// "EPERM", or "ok" for a call that was made.
std::string outcome(const Result& result);

}  // namespace cordon::rogue
