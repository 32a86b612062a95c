// Options of `cordon vm` alone.
#pragma once

#include <expected>
#include <span>
#include <string>

#include "app/options.h"

namespace cordon::app {

// Text as typed.
struct RawVm {
  std::string socket, fd, queues, front_end;
  bool one_off = false;
  bool vhost_user = false;

  // text(name, into): the last one counts; flag(name, into).
  template <class Text, class Flag>
  void declare(Text text, Flag flag) {
    text("--socket", socket);
    text("--fd", fd);
    flag("--one-off", one_off);
    flag("--vhost-user", vhost_user);
    text("--queues", queues);
    text("--front-end", front_end);
  }
  // The first of them that was given, for other commands to refuse; nullptr: none.
  [[nodiscard]] const char* given() const;
};

// `operands`: the words that are not options.
[[nodiscard]] std::expected<VmOptions, UsageError> vm_options(const RawVm& raw,
                                                              std::span<const std::string> operands);

}  // namespace cordon::app
