#include "policy/host_facts.h"

namespace cordon::policy {

std::string_view to_string(FibType fib) {
  switch (fib) {
    case FibType::kNone: return "none";
    case FibType::kUnicast: return "unicast";
    case FibType::kLocal: return "local";
    case FibType::kBroadcast: return "broadcast";
    case FibType::kAnycast: return "anycast";
    case FibType::kMulticast: return "multicast";
    case FibType::kUnreachable: return "unreachable";
    case FibType::kProhibit: return "prohibit";
    case FibType::kBlackhole: return "blackhole";
    case FibType::kOther: return "other";
  }
  return "other";
}

}  // namespace cordon::policy
