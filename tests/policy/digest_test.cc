#include "policy/digest.h"

#include <doctest/doctest.h>

using cordon::policy::sha256_hex;

TEST_CASE("policy: sha256 gives the digests of RFC 6234 section 8.5") {
  struct Case {
    std::string text;
    std::string_view digest;
  };
  std::string repeated;
  for (int i = 0; i < 10; ++i) repeated += "0123456701234567012345670123456701234567012345670123456701234567";
  for (const Case& c : {
           Case{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
           Case{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
           Case{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
           Case{std::string(1000000, 'a'),
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
           Case{repeated, "594847328451bdfa85056225462cc1d867d877fb388df0ce35f25ab5562bfbb5"},
       }) {
    CAPTURE(c.text.size());
    CHECK(sha256_hex(c.text) == c.digest);
  }
}

TEST_CASE("policy: sha1 gives the digests of RFC 3174 section 7.3") {
  struct Case {
    std::string text;
    std::array<unsigned, 20> digest;
  };
  for (const Case& c : {
           Case{"abc", {0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e,
                        0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d}},
           Case{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                {0x84, 0x98, 0x3e, 0x44, 0x1c, 0x3b, 0xd2, 0x6e, 0xba, 0xae,
                 0x4a, 0xa1, 0xf9, 0x51, 0x29, 0xe5, 0xe5, 0x46, 0x70, 0xf1}},
       }) {
    CAPTURE(c.text);
    const auto digest = cordon::policy::sha1(cordon::base::as_bytes(c.text.data(), c.text.size()));
    for (std::size_t i = 0; i < digest.size(); ++i) {
      CAPTURE(i);
      CHECK(std::to_integer<unsigned>(digest[i]) == c.digest[i]);
    }
  }
}
