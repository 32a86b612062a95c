#include "app/broker_policy.h"

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

}  // namespace cordon::app
