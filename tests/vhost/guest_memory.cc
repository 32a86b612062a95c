#include "tests/vhost/guest_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <system_error>

namespace cordon::vhost_client {
namespace {

std::span<std::byte> map(int fd, std::size_t size) {
  void* const map = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  return {static_cast<std::byte*>(map), size};
}

}  // namespace

GuestMemory::GuestMemory(std::size_t wanted, std::uint64_t start)
    : fd_(::memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING)), start_(start) {
  constexpr std::size_t kPage = 4096;
  const std::size_t size = (wanted + kPage - 1) / kPage * kPage;
  if (!fd_ || ::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
    throw std::system_error(errno, std::generic_category(), "memfd");
  bytes_ = map(fd_.get(), size);
}

GuestMemory::~GuestMemory() {
  ::munmap(bytes_.data(), bytes_.size());
  if (!device_.empty()) ::munmap(device_.data(), device_.size());
}

std::uint64_t GuestMemory::allocate(std::size_t size, std::size_t alignment) {
  const std::size_t at = (used_ + alignment - 1) / alignment * alignment;
  if (at > bytes_.size() || size > bytes_.size() - at) throw std::bad_alloc{};
  used_ = at + size;
  return start_ + at;
}

std::uint64_t GuestMemory::user_address(std::uint64_t guest) const {
  return reinterpret_cast<std::uintptr_t>(at(guest));
}

vhost::Region GuestMemory::region() {
  if (device_.empty()) device_ = map(fd_.get(), bytes_.size());
  return {.guest = {start_}, .user = {user_address(start_)}, .bytes = device_};
}

}  // namespace cordon::vhost_client
