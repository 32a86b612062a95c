// Any bytes as a policy file: never a crash; either errors or a policy, not both; and what loads prints to a
// text that loads to the same policy.
#include <array>
#include <cstdint>
#include <cstdlib>

#include "policy/decide.h"
#include "policy/load.h"
#include "policy/print.h"
#include "policy/yaml_reader.h"

using namespace cordon;
using namespace cordon::policy;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

// Whatever the file says.
void stays_closed(const PolicySet& policy) {
  const AddressFacts routed{.fib = FibType::kUnicast, .has_gateway = true, .oif_is_uplink = true};
  HostFacts facts{.source_assigned = true, .now = {}, .dial = routed, .embedded = routed};
  const auto may = [&](std::string_view address) {
    const flow::Tuple tuple{
        flow::Protocol::kTcp, {{}, net::Port{1}}, {*net::parse_ip(address), net::Port{1}}};
    return decide(policy, tuple, facts).allow || decide_ingress(policy, tuple, facts).allow;
  };
  require(!may("224.0.0.1"));
  require(!may("64:ff9b::127.0.0.1"));
  facts.dial.guest = GuestRelation::kOtherTenant;
  require(!may("93.184.216.34"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  const std::array sources{Source{"operator.yaml", text}, Source{"tenant.yaml", text}};
  (void)render(load(sources).diagnostics);

  const auto loaded = load(std::span{sources}.first(1));
  bool errors = false;
  for (const auto& d : loaded.diagnostics) errors = errors || !is_warning(d.code);
  require(errors != loaded.policy.has_value());
  (void)render(loaded.diagnostics);
  if (!loaded.policy) return 0;
  stays_closed(*loaded.policy);
  // The canonical text spells everything out, so that of a huge file may be too large itself.
  const std::array printed{Source{"printed.yaml", print(loaded.policy->files()[0])}};
  if (printed[0].text.size() > kMaxPolicyBytes) return 0;
  const auto again = load(printed);
  require(again.policy.has_value());
  require(again.policy->hash() == loaded.policy->hash());
  return 0;
}
