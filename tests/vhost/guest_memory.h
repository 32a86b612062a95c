// A virtual machine's memory, played: a memfd with a start in guest-physical space. It is mapped twice where
// the device lives in this process, too, so that neither side knows the other's addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/base/fd.h"
#include "core/vhost/memory.h"

namespace cordon::vhost_client {

class GuestMemory {
 public:
  // At least so many bytes, in whole pages. Throws std::system_error.
  explicit GuestMemory(std::size_t wanted, std::uint64_t start = 0x4000'0000);
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;
  ~GuestMemory();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] std::uint64_t start() const { return start_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

  // A guest-physical address; throws std::bad_alloc when the memory is used up. Nothing is ever given back.
  [[nodiscard]] std::uint64_t allocate(std::size_t size, std::size_t alignment = 64);
  // Where we have it mapped.
  [[nodiscard]] std::byte* at(std::uint64_t guest) const { return bytes_.data() + (guest - start_); }
  [[nodiscard]] std::uint64_t user_address(std::uint64_t guest) const;

  // As a device sees it; `mapping` is made at the first call.
  [[nodiscard]] vhost::Region region();

 private:
  base::Fd fd_;
  std::uint64_t start_;
  std::span<std::byte> bytes_;
  std::span<std::byte> device_;
  std::size_t used_ = 0;
};

}  // namespace cordon::vhost_client
