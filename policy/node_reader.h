// What the parts of the compiler have in common: looking into nodes, and complaining about them where they
// stand.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "policy/compile.h"
#include "policy/grammar.h"

namespace cordon::policy {

class NodeReader {
 public:
  NodeReader(FileRole role, base::WallTime now, Report& report) : role_(role), now_(now), report_(report) {}

  [[nodiscard]] FileRole role() const { return role_; }
  [[nodiscard]] base::WallTime now() const { return now_; }
  [[nodiscard]] bool is_full() const { return report_.is_full(); }

  // The value of a key; nullptr.
  [[nodiscard]] static const Node* find(const Node& map, std::string_view key);
  // The key itself; the mapping when it has none.
  [[nodiscard]] static const Node& key_of(const Node& map, std::string_view key);

  void fail(Code code, Position at, std::string message) { report_.add(code, at, std::move(message)); }
  void fail(Code code, const Node& node, std::string message) { fail(code, node.at, std::move(message)); }
  bool is_kind(const Node& node, Node::Kind kind, std::string_view what);
  // The single value of a key; nullptr also when it is something else, which is then reported.
  const Node* scalar(const Node& map, std::string_view key);
  // `where` follows the key's name in messages: "", or ` in rule "web"`.
  void check_keys(const Node& map, const std::string& where, const Grammar& grammar);
  // The key `name`; "" when it has none, which is then reported. `whose`: "the file".
  std::string name(const Node& map, const std::string& whose, Position at);
  // Index of the value in `options`; 0, the default, without the key or when it is none of them.
  std::size_t choice(const Node& map, std::string_view key, std::span<const std::string_view> options);

  // A single value or a list of them. A list that came out empty by mistake must not mean "all" or "nothing".
  template <class Visit>
  void each(const Node& node, const std::string& what, Visit&& visit) {
    if (node.kind == Node::Kind::kScalar) return visit(node);
    if (!is_kind(node, Node::Kind::kList, what)) return;
    if (node.items.empty())
      return fail(Code::kEmptyList, node, what + " is an empty list; name something or remove the key");
    if (node.items.size() > kMaxListItems)
      return fail(Code::kTooMany, node,
                  what + " has more than " + std::to_string(kMaxListItems) + " items; split the rule");
    for (const Node& item : node.items)
      if (is_kind(item, Node::Kind::kScalar, "an item of " + what)) visit(item);
  }

  // A value with a parser of its own (policy/scalars.h, policy/times.h).
  template <class Value, class Parse>
  bool value(const Node& map, std::string_view key, Parse&& parse, Value& out) {
    const Node* node = scalar(map, key);
    if (node == nullptr) return false;
    auto parsed = parse(node->text);
    if (!parsed) {
      fail(parsed.error().code, *node, parsed.error().message);
      return false;
    }
    out = *parsed;
    return true;
  }

 private:
  FileRole role_;
  base::WallTime now_;
  Report& report_;
};

}  // namespace cordon::policy
