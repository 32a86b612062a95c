// Any bytes as a policy file: never a crash; either errors or a policy, not both; and what loads prints to a
// text that loads to the same policy.
#include <array>
#include <cstdint>
#include <cstdlib>

#include "policy/load.h"
#include "policy/print.h"

using namespace cordon::policy;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
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
  const std::array printed{Source{"printed.yaml", print(loaded.policy->files()[0])}};
  const auto again = load(printed);
  require(again.policy.has_value());
  require(again.policy->hash() == loaded.policy->hash());
  return 0;
}
