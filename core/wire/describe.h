// One line about any frame, for fuzzing and debugging: "10.0.2.15:40000 > 192.0.2.1:80 tcp SA seq 1 ack 2 win
// 64240 len 0". Whatever the bytes, it answers; guest text never appears in it.
#pragma once

#include <string>

#include "core/base/bytes.h"

namespace cordon::wire {

[[nodiscard]] std::string describe(base::Bytes frame);

}  // namespace cordon::wire
