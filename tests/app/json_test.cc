#include "app/json.h"

#include <doctest/doctest.h>

#include <limits>

using namespace cordon::app;

namespace {

Json::Fault fault_of(std::string_view text, std::size_t depth = 8) {
  const auto value = Json::parse(text, depth);
  REQUIRE_FALSE(value);
  return value.error().fault;
}

}  // namespace

TEST_CASE("json: what is read is written as it was") {
  for (const std::string_view text :
       {"null", "true", "false", "0", "-1", "18446744073709551615", "-9223372036854775808", "1.5", "1.0",
        R"("")", R"("a\"b\\c")", "[]", "{}", "[[],{}]", R"({"b":1,"a":[true,null,"x"]})", R"("\u00e4\u20ac")",
        R"("\ud83d\ude00")", R"("\u0000\u001f\u007f\n\t")"}) {
    CAPTURE(text);
    const auto value = Json::parse(text, 8);
    REQUIRE(value);
    CHECK(value->dump() == text);
  }
}

TEST_CASE("json: bytes that are no UTF-8 are not read, and written as replacement characters") {
  for (const std::string_view text :
       {"\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xe2\x82\"", "\xff"}) {
    CAPTURE(text);
    CHECK(fault_of(text) == Json::Fault::kSyntax);
  }
  CHECK(Json{"a\xff\xe2\x82z"}.dump() == R"("a\ufffd\ufffd\ufffdz")");
  CHECK(Json{"\xe2\x82\xac\xf0\x9f\x98\x80"}.dump() == R"("\u20ac\ud83d\ude00")");
}

TEST_CASE("json: what is not JSON is an error and nothing else") {
  for (const std::string_view text : {"", " ", "{", "[1,]", "{\"a\":}", "01", "1e999", "nul", "\"a", "1 2",
                                      "// x\n1", "{\"a\":1,}", "'a'", "\"\x01\"", "NaN", "\"\\ud800\""}) {
    CAPTURE(text);
    CHECK(fault_of(text) == Json::Fault::kSyntax);
  }
}

TEST_CASE("json: depth and duplicate keys") {
  CHECK(Json::parse("[[[1]]]", 3).has_value());
  CHECK(fault_of("[[[[1]]]]", 3) == Json::Fault::kTooDeep);
  CHECK(fault_of(R"({"a":{"b":1,"b":2}})") == Json::Fault::kDuplicate);
  CHECK(Json::parse(R"({"a":{"b":1},"c":{"b":2}})", 3).has_value());
  CHECK(fault_of(std::string(60'000, '[')) == Json::Fault::kTooDeep);
}

TEST_CASE("json: values of numbers and members") {
  CHECK(Json{-5}.dump() == "-5");
  CHECK(Json{std::numeric_limits<double>::infinity()}.dump() == "null");
  Json object;
  object.add("n", 7);
  object.add("t", "x");
  CHECK(object.natural_at("n") == 7);
  CHECK(object.text_at("t") == "x");
  CHECK(object.natural_at("t") == 0);
  CHECK(object.find("none") == nullptr);
  CHECK(Json{7}.find("n") == nullptr);
  CHECK(object == *Json::parse(R"({"n":7,"t":"x"})", 1));
}
