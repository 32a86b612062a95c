#include "policy/digest.h"

#include <sha1.h>
#include <sha2.h>

#include <bit>
#include <cstdint>

namespace cordon::policy {
namespace {

const std::uint8_t* octets(const void* data) { return static_cast<const std::uint8_t*>(data); }

}  // namespace

std::string sha256_hex(std::string_view text) {
  std::array<char, SHA256_DIGEST_STRING_LENGTH> hex{};
  SHA256Data(octets(text.data()), text.size(), hex.data());
  return hex.data();
}

std::array<std::byte, 20> sha1(base::Bytes message) {
  SHA1_CTX context;
  std::array<std::uint8_t, SHA1_DIGEST_LENGTH> digest{};
  SHA1Init(&context);
  SHA1Update(&context, octets(message.data()), message.size());
  SHA1Final(digest.data(), &context);
  return std::bit_cast<std::array<std::byte, 20>>(digest);
}

}  // namespace cordon::policy
