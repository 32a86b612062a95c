// Every key the loader reads is in the JSON Schema, and every key of the schema is read by the loader.
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "policy/compile.h"
#include "policy/grammar.h"
#include "tests/policy/testing.h"

using namespace cordon::policy;
using nlohmann::json;

namespace {

json schema() {
  std::ifstream stream{std::string{CORDON_SOURCE_DIR} + "/policies/policy.schema.json"};
  REQUIRE(stream.good());
  return json::parse(stream);
}

}  // namespace

TEST_CASE("policy: the schema for editors and the loader know the same keys") {
  const json whole = schema();
  struct Mapping {
    std::string_view place;
    Grammar grammar;
  };
  std::size_t mappings = 0;
  for (const Mapping& m : {
           Mapping{"", grammar::kFile},
           Mapping{"/properties/host", grammar::kHost},
           Mapping{"/properties/guests", grammar::kGuests},
           Mapping{"/definitions/egressRule", grammar::kRule},
           Mapping{"/definitions/ingressRule", grammar::kRule},
           Mapping{"/definitions/limits", grammar::kLimits},
           Mapping{"/definitions/test", grammar::kTest},
       }) {
    CAPTURE(m.place);
    const json& mapping = whole.at(json::json_pointer{std::string{m.place}});
    CHECK(mapping.at("additionalProperties") == false);
    std::set<std::string> in_schema;
    for (const auto& [key, value] : mapping.at("properties").items()) in_schema.insert(key);
    CHECK(in_schema == std::set<std::string>(m.grammar.keys.begin(), m.grammar.keys.end()));
    ++mappings;
  }
  // None is left out: each object in the schema is one of those above.
  std::size_t objects = 0;
  const auto count = [&](const auto& self, const json& node) -> void {
    if (node.is_object() && node.value("type", json{}) == "object") ++objects;
    if (!node.is_structured()) return;
    for (const auto& child : node) self(self, child);
  };
  count(count, whole);
  CHECK(objects == mappings);
}

TEST_CASE("policy: the schema says which keys are the operator's, and how many items there may be") {
  const json whole = schema();
  for (const auto& [key, value] : whole.at("properties").items()) {
    CAPTURE(key);
    const auto& operators = grammar::kFile.operators;
    const bool says = value.value("description", "").starts_with("Operator's (first) file only.");
    CHECK(says == (std::ranges::find(operators, key) != operators.end()));
  }
  CHECK(whole.at("/properties/egress/maxItems"_json_pointer) == kMaxRules);
  CHECK(whole.at("/properties/ingress/maxItems"_json_pointer) == kMaxRules);
  CHECK(whole.at("/properties/tests/maxItems"_json_pointer) == kMaxTests);
  CHECK(whole.at("/definitions/ports/anyOf/1/maxItems"_json_pointer) == kMaxListItems);
}
