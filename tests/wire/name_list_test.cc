#include "core/wire/name_list.h"

#include <doctest/doctest.h>

#include "tests/wire/packets.h"

using namespace cordon;
using test::Buffer;
using test::hex;

namespace {

std::vector<net::DomainName> domains(std::initializer_list<std::string_view> texts) {
  std::vector<net::DomainName> all;
  for (const auto text : texts) all.push_back(*net::DomainName::parse(text));
  return all;
}

struct Written {
  bool complete;
  Buffer bytes;
};
template <class Put>
Written write(Put put, std::initializer_list<std::string_view> texts, std::size_t room = 512) {
  Buffer buffer(room);
  wire::OptionWriter out{buffer};
  const bool complete = put(out, domains(texts));
  return {complete, {out.written().begin(), out.written().end()}};
}

}  // namespace

TEST_CASE("names: the example of RFC 3397 section 2") {
  const auto written = write(wire::put_names_compressed, {"eng.apple.com", "marketing.apple.com"});
  CHECK(written.complete);
  CHECK(written.bytes == hex("03 656e67 05 6170706c65 03 636f6d 00 09 6d61726b6574696e67 c004"));
}

TEST_CASE("names: pointers lead to whole ends, at any depth, and never forward") {
  struct Case {
    std::string_view name;
    std::initializer_list<std::string_view> texts;
    std::string_view expected;
  };
  for (const Case& c : {
           Case{"the same name again", {"a.b", "a.b"}, "01 61 01 62 00 c000"},
           Case{"an end of it", {"a.b", "b"}, "01 61 01 62 00 c002"},
           Case{"a name behind a pointer",
                {"a.b", "c.a.b", "d.c.a.b"},
                "01 61 01 62 00 01 63 c000 01 64 c005"},
           Case{"a beginning is no end", {"a.b", "a"}, "01 61 01 62 00 01 61 00"},
           Case{"nothing in common", {"a.b", "c.d"}, "01 61 01 62 00 01 63 01 64 00"},
           Case{"a label that is part of another", {"ab.c", "b.c"}, "02 6162 01 63 00 01 62 c003"},
       }) {
    CAPTURE(c.name);
    CHECK(write(wire::put_names_compressed, c.texts).bytes == hex(c.expected));
  }
}

TEST_CASE("names: what does not fit is left out as a whole name") {
  for (std::size_t room = 0; room < 10; ++room) {
    CAPTURE(room);
    for (const bool compressed : {false, true}) {
      const auto written = compressed ? write(wire::put_names_compressed, {"a.b", "c.d"}, room)
                                      : write(wire::put_names, {"a.b", "c.d"}, room);
      CHECK_FALSE(written.complete);
      CHECK(written.bytes == (room < 5 ? Buffer{} : hex("01 61 01 62 00")));
    }
  }
}
