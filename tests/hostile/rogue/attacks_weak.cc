#include "tests/hostile/rogue/attack.h"
namespace cordon::rogue {
std::span<const Attack> weak_attacks() { return {}; }
}  // namespace cordon::rogue
