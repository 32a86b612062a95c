// Who would notice: canary services on every address of the host and of the outside, and a wire-tap on each
// of the host's interfaces.
//
// The tap is the oracle that needs no idea of the attack: whatever leaves the host, or stays on its loopback,
// and is not between the host and an address that the policy allows, is a leak.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/fd.h"

namespace cordon::rogue {

inline constexpr const char* kServer4 = "192.0.2.10";
inline constexpr const char* kServer6 = "2001:db8::10";
inline constexpr std::uint16_t kAllowed = 7777;  // by the policy, at these two addresses
inline constexpr std::uint16_t kCanary = 7070;   // by nobody

// A socket made in another network namespace.
base::Fd socket_in(const std::string& netns, int family, int type, int protocol);

class Witness {
 public:
  // In the host's namespace; `outside` is the server's.
  explicit Witness(const std::string& outside);

  // The far ends of what the policy allows.
  base::Fd accept(bool v6, int limit_ms = 3000);
  [[nodiscard]] int udp(bool v6) const { return v6 ? udp6_.get() : udp4_.get(); }

  // At the same address, and another port.
  [[nodiscard]] base::Fd stranger(bool v6) const;

  // All that has been seen since the last time, one line each; empty: nothing has leaked.
  std::vector<std::string> leaks();
  // What has happened so far does not count.
  void forget();
  // Nothing waits at the far ends any more.
  void clear();

 private:
  struct Canary {
    std::string name;
    base::Fd tcp;
    base::Fd udp;
  };
  struct Tap {
    std::string name;
    base::Fd fd;
    bool loopback = false;
  };
  void add_canary(const std::string& netns, std::string name, std::uint16_t port);
  void add_tap(const char* interface, bool loopback);
  void read_canary(const Canary& canary, std::vector<std::string>& seen) const;
  void read_tap(const Tap& tap, std::vector<std::string>& seen) const;

  std::string outside_;
  base::Fd tcp4_, tcp6_, udp4_, udp6_;
  std::vector<Canary> canaries_;
  std::vector<Tap> taps_;
};

}  // namespace cordon::rogue
