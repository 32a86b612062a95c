// What the loader says of policies, for the test that holds the JSON Schema against it. Standard input has
// one policy a line (JSON is YAML); standard output gets its codes, "P103 P205", or "ok".
#include <array>
#include <iostream>
#include <string>

#include "policy/load.h"

int main() {
  using namespace cordon::policy;
  for (std::string line; std::getline(std::cin, line);) {
    const std::array sources{Source{"p.yaml", line}};
    const auto loaded = load(sources);
    std::string codes;
    for (const auto& d : loaded.diagnostics)
      if (!is_warning(d.code))
        codes += (codes.empty() ? "P" : " P") + std::to_string(static_cast<unsigned>(d.code));
    std::cout << (codes.empty() ? "ok" : codes) << '\n';
  }
  return 0;
}
