#include "tests/hostile/rogue/attack.h"
namespace cordon::rogue {
std::span<const Attack> revocation_attacks() { return {}; }
}  // namespace cordon::rogue
