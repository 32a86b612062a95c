#include "core/net/domain_name.h"

#include <doctest/doctest.h>

using cordon::net::DomainName;

TEST_CASE("domain name: what is one, and what is not") {
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
  REQUIRE(longest.size() == 253);
  for (const std::string& text :
       {std::string{"a"}, std::string{"web-1.corp.example"}, std::string{"A_b.9"}, label, longest}) {
    CAPTURE(text);
    REQUIRE(DomainName::parse(text));
    CHECK(DomainName::parse(text)->text() == text);
    CHECK(DomainName::parse(text + ".")->text() == text);
  }
  for (const std::string& text :
       {std::string{}, std::string{"."}, std::string{".a"}, std::string{"a..b"}, std::string{"a.."},
        std::string{"-a"}, std::string{"a-.b"}, std::string{"a b"}, std::string{"a/b"},
        std::string{"\xc3\xa4"}, label + "a", longest + "b", std::string{"a\0b", 3}}) {
    CAPTURE(text);
    CHECK_FALSE(DomainName::parse(text));
  }
}

TEST_CASE("domain name: labels and parent") {
  const auto name = DomainName::parse("web.corp.example");
  REQUIRE(name);
  CHECK(name->labels() == std::vector<std::string_view>{"web", "corp", "example"});
  CHECK(name->parent()->text() == "corp.example");
  CHECK_FALSE(DomainName::parse("web")->parent());
}
