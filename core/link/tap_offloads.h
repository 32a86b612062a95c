// Asks a tap's kernel side for offloads, best first, and says what it took. Any holder of the descriptor may
// do this; the translator does it before lockdown, because it is who must know the answer, also after a
// restart on a kept tap.
#pragma once

#include "core/base/error.h"
#include "core/link/link.h"

namespace cordon::link {

// Nothing beyond `wanted` is enabled. Super-frames need partial checksums (virtio 1.2, 5.1.3.1), so without
// `wanted.checksum` there is nothing to enable.
[[nodiscard]] base::Result<Capabilities> set_tap_offloads(int tap, const Capabilities& wanted);

}  // namespace cordon::link
