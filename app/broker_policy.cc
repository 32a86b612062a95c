#include "app/broker_policy.h"

#include "core/base/check.h"
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

policy::Carried carried(const PolicyChoice& choice) {
  return {.host = !choice.no_host, .tcp = choice.tcp, .udp = choice.udp, .icmp = choice.icmp};
}

}  // namespace

policy::Loaded read_bundle(const base::Fd& bundle, std::uint64_t generation, const std::string& layer) {
  const auto bytes = sandbox::read_memory_file(bundle.get(), policy::kMaxBundleBytes);
  if (!bytes) return nothing("the files were read, but cannot be taken over");
  if (bytes->empty()) return nothing("the files could not be read: the policy loader failed");
  auto files = policy::decode_bundle(base::as_bytes(bytes->data(), bytes->size()));
  if (!files) return nothing("the files were read, but " + files.error());
  if (!layer.empty()) {
    files->push_back(policy::parse({std::string{policy::kBuiltInPath}, layer}));
    files->back().built_in = true;
  }
  return policy::assemble(std::move(*files), generation);
}

std::string policy_layer(const RunOptions& options) {
  return options.policy.restricts() ? policy::everything_text(carried(options.policy)) : std::string{};
}

std::shared_ptr<const policy::PolicySet> builtin_policy(const RunOptions& options) {
  const bool published = !options.forwards.empty();
  if (options.policy.base == PolicyChoice::Base::kInternetOnly && !options.policy.restricts())
    return std::make_shared<const policy::PolicySet>(published ? policy::builtin_internet_only_published()
                                                               : policy::builtin_internet_only());
  const auto text =
      options.policy.base == PolicyChoice::Base::kEverything
          ? policy::everything_text(carried(options.policy))
          : std::string{published ? policy::internet_only_published_text() : policy::internet_only_text()};
  std::vector<policy::ParsedSource> files;
  files.push_back(policy::parse({std::string{policy::kBuiltInPath}, text}));
  if (options.policy.base != PolicyChoice::Base::kEverything) {
    files.push_back(policy::parse({std::string{policy::kBuiltInPath}, policy_layer(options)}));
    files.back().built_in = true;
  }
  auto loaded = policy::assemble(std::move(files), 1);
  CORDON_CHECK(loaded.policy.has_value());
  return std::make_shared<const policy::PolicySet>(std::move(*loaded.policy));
}

}  // namespace cordon::app
