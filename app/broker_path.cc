// BrokerJudge: does a live flow's way out still work?
#include <algorithm>

#include "app/broker_judge.h"

namespace cordon::app {

sandbox::Path BrokerJudge::path(const sandbox::PathQuery& flow, const sandbox::Verdict& now_judged) {
  using sandbox::Path;
  if (view_.is_forwarder(flow.tuple) &&
      std::ranges::none_of(resolvers_, [&](const auto& r) { return r.address == flow.dialed.address; }))
    return Path::kGone;
  if (flow.local_service) return Path::kGood;
  if (flow.interface != 0 && monitor_.state().link(flow.interface) == nullptr) return Path::kGone;
  if (flow.local && !monitor_.state().is_assigned(*flow.local)) return Path::kLost;
  if (flow.interface == 0 || flow.interface == now_judged.bind_interface) return Path::kGood;
  return monitor_.fib().reaches_by(flow.dialed.address, flow.interface) ? Path::kWorse : Path::kLost;
}

}  // namespace cordon::app
