#include "core/base/error.h"

#include <cstring>

namespace cordon::base {

std::string describe(const Error& error) {
  std::string text{error.op};
  if (!error.context.empty()) text += (text.empty() ? "" : " ") + error.context;
  if (error.sys_errno != 0) {
    text += ": ";
    text += std::strerror(error.sys_errno);
  }
  return text;
}

}  // namespace cordon::base
