// A set of prefixes in nested order. Prefixes are nested or apart, never crossed: those that contain an
// address are the longest of them and its parents, and the longest is found by one binary search.
#pragma once

#include <cstdint>
#include <vector>

#include "core/net/prefix.h"
#include "policy/address_key.h"

namespace cordon::policy {

class PrefixNest {
 public:
  // Prefixes are numbered from 0; parents have lower numbers.
  using Number = std::uint32_t;
  static constexpr Number kNone = UINT32_MAX;

  PrefixNest() = default;
  explicit PrefixNest(std::vector<net::Prefix> prefixes);  // in any order, repetitions too

  [[nodiscard]] std::size_t size() const { return parents_.size(); }
  // The longest prefix that contains `address`.
  [[nodiscard]] Number longest(const net::IpAddress& address) const;
  // The longest that contains all of `prefix`; `prefix` itself when it is in the set.
  [[nodiscard]] Number longest(const net::Prefix& prefix) const;
  // The longest of the others that contains this one.
  [[nodiscard]] Number parent(Number number) const { return parents_[number]; }
  [[nodiscard]] std::size_t bytes() const {
    return keys_.capacity() * sizeof(AddressKey) + parents_.capacity() * sizeof(Number) + lengths_.capacity();
  }

 private:
  [[nodiscard]] bool contains(Number number, const AddressKey& key, unsigned length) const;
  [[nodiscard]] Number search(net::Family family, const AddressKey& key, unsigned length) const;

  std::vector<AddressKey>
      keys_;  // all of IPv4, then all of IPv6; ascending, the shorter of two equal ones first
  std::vector<Number> parents_;
  std::vector<std::uint8_t> lengths_;
  Number first_v6_ = 0;
};

}  // namespace cordon::policy
