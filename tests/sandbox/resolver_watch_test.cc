#include "sandbox/resolver_watch.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "sandbox/diagnostics.h"

namespace cordon::sandbox {

TEST_CASE("resolvers: what resolv.conf says") {
  struct Case {
    std::string_view name;
    std::string_view text;
    std::string_view expected;
  };
  const Case cases[] = {
      {"empty", "", ""},
      {"one", "nameserver 192.0.2.1\n", "192.0.2.1"},
      {"no newline at the end", "nameserver 192.0.2.1", "192.0.2.1"},
      {"tabs, blanks and DOS lines", "\tnameserver \t 192.0.2.1  # here\r\nnameserver 192.0.2.2\r\n",
       "192.0.2.1 192.0.2.2"},
      {"both families, in order", "nameserver 2001:db8::1\nnameserver 192.0.2.1\n", "2001:db8::1 192.0.2.1"},
      {"other lines", "# nameserver 192.0.2.9\nsearch example.net\noptions ndots:1\nnameserver 192.0.2.1\n",
       "192.0.2.1"},
      {"a word that only begins so", "nameservers 192.0.2.1\n", ""},
      {"what is no address", "nameserver 192.0.2\nnameserver\nnameserver 192.0.2.1\n", "192.0.2.1"},
      {"nine of them",
       "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
       "nameserver 192.0.2.5\nnameserver 192.0.2.6\nnameserver 192.0.2.7\nnameserver 192.0.2.8\n"
       "nameserver 192.0.2.9\n",
       "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6 192.0.2.7 192.0.2.8"},
  };
  for (const Case& row : cases) {
    CAPTURE(row.name);
    std::string text;
    for (const auto& server : parse_resolv_conf(row.text).servers)
      text += (text.empty() ? "" : " ") + net::to_string(server.address);
    CHECK(text == row.expected);
  }
}

TEST_CASE("resolvers: a zone counts for link-local servers only") {
  const auto list =
      parse_resolv_conf("nameserver fe80::1%lo\nnameserver fe80::2%7\nnameserver 2001:db8::1%lo\n");
  REQUIRE(list.servers.size() == 3);
  CHECK(list.servers[0].scope_id == 1);  // lo is always the first interface
  CHECK(list.servers[1].scope_id == 7);
  CHECK(list.servers[2].scope_id == 0);
}

TEST_CASE("diagnostics: only printable ASCII, tab and newline pass") {
  CHECK(printable("plain\ttext\n") == "plain\ttext\n");
  CHECK(printable("\x1b[2J\x07\x7f\x80\xff\r") == "?[2J?????");
  CHECK(printable({"a\0b", 3}) == "a?b");
}

}  // namespace cordon::sandbox
