// The Internet checksum (RFC 1071) over pieces.
//
// ChecksumSum adds bytes, integers and pseudo headers in any order of pieces; a piece may have an odd length.
// The sum is kept in the machine's byte order (RFC 1071 section 2 B: the sum commutes with byte swapping) and
// wide, so the inner loop has no carry to handle.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "core/base/bytes.h"
#include "core/net/ip_address.h"

namespace cordon::wire {

class ChecksumSum {
 public:
  void add(base::Bytes bytes);
  void add(std::span<const iovec> pieces);
  // One 16-bit word; must stand at an even offset of the summed stream.
  void add_word(std::uint16_t value);
  void add_address(const net::IpAddress& address);
  // Source, destination, protocol and length (RFC 9293 section 3.1, RFC 8200 section 8.1).
  void add_pseudo_header(const net::IpAddress& source, const net::IpAddress& destination,
                         std::uint8_t protocol, std::uint32_t l4_length);
  // The folded sum, not complemented: what a partial (offloaded) checksum field holds for the pseudo header.
  [[nodiscard]] std::uint16_t folded() const;
  // The checksum field's value.
  [[nodiscard]] std::uint16_t finish() const { return static_cast<std::uint16_t>(~folded()); }
  // Over data that includes its checksum field.
  [[nodiscard]] bool is_valid() const { return folded() == 0xffff; }

 private:
  std::uint64_t sum_ = 0;  // of 16-bit words in machine order
  bool odd_ = false;       // an odd number of bytes was added so far
};

[[nodiscard]] std::uint16_t checksum(base::Bytes bytes);

}  // namespace cordon::wire
