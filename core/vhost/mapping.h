// A piece of a front end's file in our address space, and what descriptors of a front end have to be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "core/base/fd.h"

namespace cordon::vhost {

class Mapping {
 public:
  Mapping() = default;
  // `size` bytes of the file from `offset` on; both end within it. The file must be memory of the kernel's
  // (memfd, tmpfs, hugetlbfs): a page fault in a file that another process serves could hold us for ever.
  // The error is a literal.
  [[nodiscard]] static std::expected<Mapping, std::string_view> of(int fd, std::uint64_t offset,
                                                                   std::uint64_t size);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
  void reset();

 private:
  std::span<std::byte> mapped_;  // in whole pages of the file
  std::span<std::byte> bytes_;
};

// Tells eventfds from everything else: all anonymous files of this kernel share one inode, which no socket,
// pipe or real file has, and of those with it only eventfds take eight bytes of zero.
class EventfdJudge {
 public:
  EventfdJudge();
  [[nodiscard]] bool accepts(int fd) const;

 private:
  std::uint64_t device_ = 0;
  std::uint64_t inode_ = 0;
};

}  // namespace cordon::vhost
