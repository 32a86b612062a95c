// Reserved<T>: address space for `count` values, mapped once and zero; the kernel commits a page when it is
// first touched. So tables can be sized for the worst case, cost what is used, and need no mmap after the
// lockdown.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <span>
#include <utility>

namespace cordon::base {

template <class T>
class Reserved {
 public:
  Reserved() = default;
  explicit Reserved(std::size_t count) : count_(count) {
    if (count == 0) return;
    void* const map = ::mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) throw std::bad_alloc{};
    // Huge pages would commit 2 MiB for the first byte.
    ::madvise(map, count * sizeof(T), MADV_NOHUGEPAGE);
    data_ = static_cast<T*>(map);
  }
  Reserved(Reserved&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  Reserved& operator=(Reserved&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  Reserved(const Reserved&) = delete;
  Reserved& operator=(const Reserved&) = delete;
  ~Reserved() {
    if (data_ != nullptr) ::munmap(data_, count_ * sizeof(T));
  }

  // Unchecked like a pointer: indices are our own.
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  [[nodiscard]] T* data() { return data_; }
  [[nodiscard]] const T* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return count_; }
  // Drops the pages wholly inside [first, first + n): they read as zero afterwards.
  void discard(std::size_t first, std::size_t n) { ::madvise(data_ + first, n * sizeof(T), MADV_DONTNEED); }

 private:
  T* data_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace cordon::base
