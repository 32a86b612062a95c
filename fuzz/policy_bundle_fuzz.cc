// Any bytes as a bundle: an error or files, never a crash; what decodes can be made a policy of, and encodes
// to something that decodes to the same. And any bytes as one reader's answer inside a good bundle.
#include <array>
#include <cstdint>
#include <cstdlib>

#include "policy/parsed_source.h"

using namespace cordon::policy;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void take(std::string_view bundle) {
  auto files = decode_bundle(cordon::base::as_bytes(bundle.data(), bundle.size()));
  if (!files) return require(!files.error().empty());
  std::vector<EncodedFile> again;
  for (const auto& file : *files) again.push_back({file.path, encode(file)});
  const std::string bytes = encode_bundle(again);
  require(decode_bundle(cordon::base::as_bytes(bytes.data(), bytes.size())).has_value());
  const bool any = !files->empty();
  const auto loaded = assemble(std::move(*files), 1);
  (void)render(loaded.diagnostics);
  bool errors = false;
  for (const auto& d : loaded.diagnostics) errors = errors || !is_warning(d.code);
  if (any) require(errors != loaded.policy.has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(data, data + size);
  take(bytes);
  const std::array files{EncodedFile{"operator.yaml", bytes}, EncodedFile{"tenant.yaml", bytes}};
  take(encode_bundle(files));
  return 0;
}
