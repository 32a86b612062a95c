// Appends to a buffer of fixed size; what does not fit is refused as a whole and changes nothing.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>

#include "core/base/bytes.h"

namespace cordon::wire {

class OptionWriter {
 public:
  explicit OptionWriter(base::MutableBytes out) : out_(out) {}

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t room() const { return out_.size() - size_; }
  [[nodiscard]] base::MutableBytes written() const { return out_.first(size_); }

  // False: no room.
  bool bytes(base::Bytes data) {
    if (room() < data.size()) return false;
    std::ranges::copy(data, out_.begin() + static_cast<std::ptrdiff_t>(size_));
    size_ += data.size();
    return true;
  }
  template <std::unsigned_integral T>
  bool number(T value) {
    if (room() < sizeof(T)) return false;
    base::store_be<T>(out_.subspan(size_).first<sizeof(T)>(), value);
    size_ += sizeof(T);
    return true;
  }
  template <std::unsigned_integral T>
  void set(std::size_t at, T value) {
    base::store_be<T>(out_.subspan(at).first<sizeof(T)>(), value);
  }
  // Forgets what was written behind `size`.
  void rewind(std::size_t size) { size_ = size; }

 private:
  base::MutableBytes out_;
  std::size_t size_ = 0;
};

}  // namespace cordon::wire
