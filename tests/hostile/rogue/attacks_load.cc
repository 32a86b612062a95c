#include "tests/hostile/rogue/attack.h"
namespace cordon::rogue {
std::span<const Attack> load_attacks() { return {}; }
}  // namespace cordon::rogue
