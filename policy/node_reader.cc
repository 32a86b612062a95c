#include "policy/node_reader.h"

#include <algorithm>
#include <array>
#include <vector>

#include "policy/scalars.h"

namespace cordon::policy {
namespace {

std::string_view kind_name(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::kNull: return "empty";
    case Node::Kind::kScalar: return "a single value";
    case Node::Kind::kList: return "a list";
    case Node::Kind::kMap: return "a mapping";
  }
  return "empty";
}

bool has(std::span<const std::string_view> keys, std::string_view key) {
  return std::ranges::find(keys, key) != keys.end();
}

// "a", "a or b", "a, b or c"
std::string one_of(std::span<const std::string_view> options) {
  std::string out;
  for (std::size_t i = 0; i < options.size(); ++i)
    out += (i == 0 ? "" : i + 1 == options.size() ? " or " : ", ") + std::string{options[i]};
  return out;
}

struct Home {
  const Grammar& grammar;
  std::string_view where;
};
constexpr std::array kHomes = std::to_array<Home>({{grammar::kRule, "a rule of \"egress\" or \"ingress\""},
                                                   {grammar::kFile, "the file's own keys"},
                                                   {grammar::kLimits, "\"limits\""},
                                                   {grammar::kHost, "\"host\""},
                                                   {grammar::kGuests, "\"guests\""},
                                                   {grammar::kTest, "an item of \"tests\""}});

// Of a key that is right elsewhere.
std::string belongs(std::string_view key) {
  const auto home = std::ranges::find_if(kHomes, [&](const Home& one) { return has(one.grammar.keys, key); });
  return home == kHomes.end() ? "" : "; it belongs into " + std::string{home->where};
}

}  // namespace

const Node* NodeReader::find(const Node& map, std::string_view key) {
  for (std::size_t i = 0; i < map.items.size(); ++i)
    if (map.keys[i].kind == Node::Kind::kScalar && map.keys[i].text == key) return &map.items[i];
  return nullptr;
}

const Node& NodeReader::key_of(const Node& map, std::string_view key) {
  const auto found = std::ranges::find_if(map.keys, [&](const Node& node) { return node.text == key; });
  return found == map.keys.end() ? map : *found;
}

bool NodeReader::is_kind(const Node& node, Node::Kind kind, std::string_view what) {
  if (node.kind == kind) return true;
  fail(Code::kWrongKind, node,
       std::string{what} + " must be " + std::string{kind_name(kind)} + ", not " +
           std::string{kind_name(node.kind)});
  return false;
}

const Node* NodeReader::scalar(const Node& map, std::string_view key) {
  const Node* node = find(map, key);
  return node != nullptr && is_kind(*node, Node::Kind::kScalar, quote(key)) ? node : nullptr;
}

void NodeReader::check_keys(const Node& map, const std::string& where, const Grammar& grammar) {
  for (const Node& key : map.keys) {
    if (key.kind != Node::Kind::kScalar || key.text == "<<") continue;  // the reader has said so
    if (is_full()) return;                                              // a hundred errors: enough
    if (has(grammar.keys, key.text)) {
      if (role_ == FileRole::kTenant && has(grammar.operators, key.text))
        fail(Code::kOperatorOnly, key,
             "only the first (the operator's) file may have the key " + quote(key.text));
    } else if (has(grammar.later, key.text)) {
      fail(Code::kNotSupportedYet, key,
           "key " + quote(key.text) + where + " comes with rules by name, which this version does not have");
    } else {
      std::vector<std::string_view> all(grammar.keys.begin(), grammar.keys.end());
      all.insert(all.end(), grammar.later.begin(), grammar.later.end());
      auto hint = did_you_mean(key.text, all);
      if (hint.empty()) hint = belongs(key.text);
      fail(Code::kUnknownKey, key, "unknown key " + quote(key.text) + where + hint);
    }
  }
}

std::string NodeReader::name(const Node& map, const std::string& whose, Position at) {
  if (find(map, "name") == nullptr) {
    fail(Code::kMissingKey, at, whose + " has no key \"name\"; every record carries it");
  } else if (const Node* node = scalar(map, "name")) {
    if (is_policy_name(node->text)) return node->text;
    fail(Code::kBadName, *node, "name " + quote(node->text) + " must be 1 to 63 of a-z, 0-9 and -");
  }
  return {};
}

std::size_t NodeReader::choice(const Node& map, std::string_view key,
                               std::span<const std::string_view> options) {
  const Node* node = scalar(map, key);
  if (node == nullptr) return 0;
  const auto found = std::ranges::find(options, node->text);
  if (found != options.end()) return static_cast<std::size_t>(found - options.begin());
  fail(Code::kBadChoice, *node,
       std::string{key} + " must be " + one_of(options) + ", not " + quote(node->text) +
           did_you_mean(node->text, options));
  return 0;
}

}  // namespace cordon::policy
