#include "app/broker_policy.h"

#include <cstdio>

#include "app/broker_judge.h"
#include "policy/builtin.h"
#include "policy/parsed_source.h"
#include "sandbox/memory_file.h"

namespace cordon::app {
namespace {

policy::Loaded nothing(std::string why) {
  policy::Loaded loaded;
  loaded.diagnostics.push_back({policy::Code::kUnreadable, "policy", {}, std::move(why), {}});
  return loaded;
}

}  // namespace

policy::Loaded read_bundle(const base::Fd& bundle, std::uint64_t generation) {
  const auto bytes = sandbox::read_memory_file(bundle.get(), policy::kMaxBundleBytes);
  if (!bytes) return nothing("the files were read, but cannot be taken over");
  if (bytes->empty()) return nothing("the files could not be read: the policy loader failed");
  auto files = policy::decode_bundle(base::as_bytes(bytes->data(), bytes->size()));
  if (!files) return nothing("the files were read, but " + files.error());
  return policy::assemble(std::move(*files), generation);
}

std::shared_ptr<const policy::PolicySet> builtin_policy(const RunOptions& options) {
  return std::make_shared<const policy::PolicySet>(
      options.forwards.empty() ? policy::builtin_internet_only() : policy::builtin_internet_only_published());
}

sandbox::PolicyLoad BrokerJudge::load_policy(base::Fd bundle, sandbox::control::LoadCause cause,
                                             base::Instant now) {
  policy::Loaded loaded = read_bundle(bundle, policy_->generation() + (has_policy_ ? 1 : 0));
  if (!loaded.policy || !quiet_) std::fputs(policy::render(loaded.diagnostics).c_str(), stderr);
  if (!loaded.policy) {
    if (has_policy_)
      std::fputs("cordon: the policy was not reloaded: the one before stays in force\n", stderr);
    note_policy_rejected(cause, loaded.diagnostics.empty() ? "" : loaded.diagnostics.front().message, now);
    return sandbox::PolicyLoad::kRejected;
  }
  policy_ = std::make_shared<const policy::PolicySet>(std::move(*loaded.policy));
  audit_.set_policy(policy_);
  limits_ = FlowLimits{*policy_};
  has_policy_ = true;
  ++epoch_;
  note_policy_loaded(cause, now);
  return sandbox::PolicyLoad::kInForce;
}

}  // namespace cordon::app
