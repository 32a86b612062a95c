#include "policy/sha256.h"

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
