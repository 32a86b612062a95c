#include "policy/compile.h"

#include <algorithm>
#include <array>
#include <map>

#include "policy/lint.h"
#include "policy/scalars.h"
#include "policy/utf8.h"

namespace cordon::policy {
namespace {

constexpr std::size_t kMaxDescription = 1024;

// The whole grammar's keys: what is not in force yet is known, so that it is refused by its own message.
constexpr std::array<std::string_view, 8> kFileKeys{"version", "name",   "description", "mode",
                                                    "refuse",  "egress", "ingress",     "limits"};
constexpr std::array<std::string_view, 8> kLaterFileKeys{
    "expires", "dns", "tests", "host", "guests", "reload", "on_reload_error", "require_tenant_policy"};
constexpr std::array<std::string_view, 6> kRuleKeys{"name", "allow", "deny", "except", "ports", "limits"};
constexpr std::array<std::string_view, 5> kLaterRuleKeys{"tls", "resolves_to", "named", "until", "log"};
constexpr std::array<std::string_view, 4> kLimitKeys{"connections", "new", "rate", "bytes"};
constexpr std::array<std::string_view, 1> kLaterLimitKeys{"dns_pins"};

std::string_view kind_name(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::kNull: return "empty";
    case Node::Kind::kScalar: return "a single value";
    case Node::Kind::kList: return "a list";
    case Node::Kind::kMap: return "a mapping";
  }
  return "empty";
}

const Node* find(const Node& map, std::string_view key) {
  for (std::size_t i = 0; i < map.items.size(); ++i)
    if (map.keys[i].kind == Node::Kind::kScalar && map.keys[i].text == key) return &map.items[i];
  return nullptr;
}

class Compiler {
 public:
  Compiler(FileRole role, Report& report) : role_(role), report_(report) {}

  Ruleset file(const Node& root) {
    Ruleset out;
    if (!is_kind(root, Node::Kind::kMap, "a policy file")) return out;
    check_keys(root, "", kFileKeys, kLaterFileKeys);
    version(root);
    out.name = name(root, "the file", root.at);
    description(root, out);
    out.mode = choice(root, "mode", "enforce", "audit") == 1 ? Mode::kAudit : Mode::kEnforce;
    out.drop = choice(root, "refuse", "reject", "drop") == 1;
    if (const Node* egress = find(root, "egress")) rules(*egress, Direction::kEgress, out.egress);
    if (const Node* ingress = find(root, "ingress")) rules(*ingress, Direction::kIngress, out.ingress);
    if (const Node* node = find(root, "limits")) out.limits = limits(root, *node, "");
    warn_of_looser(out);
    return out;
  }

 private:
  void fail(Code code, const Node& node, std::string message) {
    report_.add(code, node.at, std::move(message));
  }

  bool is_kind(const Node& node, Node::Kind kind, std::string_view what) {
    if (node.kind == kind) return true;
    fail(Code::kWrongKind, node,
         std::string{what} + " must be " + std::string{kind_name(kind)} + ", not " +
             std::string{kind_name(node.kind)});
    return false;
  }

  void check_keys(const Node& map, const std::string& where, std::span<const std::string_view> known,
                  std::span<const std::string_view> later) {
    std::vector<std::string_view> all(known.begin(), known.end());
    all.insert(all.end(), later.begin(), later.end());
    for (const Node& key : map.keys) {
      if (key.kind != Node::Kind::kScalar || key.text == "<<") continue;  // the reader has said so
      if (std::ranges::find(known, key.text) != known.end()) continue;
      if (std::ranges::find(later, key.text) != later.end())
        fail(Code::kNotSupportedYet, key,
             "key " + quote(key.text) + where + " is not supported yet in this version");
      else
        fail(Code::kUnknownKey, key, "unknown key " + quote(key.text) + where + did_you_mean(key.text, all));
    }
  }

  void version(const Node& root) {
    const Node* node = find(root, "version");
    if (node == nullptr)
      fail(Code::kMissingKey, root, "the file has no key \"version\"; write `version: 1`");
    else if (is_kind(*node, Node::Kind::kScalar, "\"version\"") && (node->quoted || node->text != "1"))
      fail(Code::kVersion, *node,
           "version " + quote(node->text) + " is not known; this program reads `version: 1`");
  }

  std::string name(const Node& map, const std::string& whose, Position at) {
    const Node* node = find(map, "name");
    if (node == nullptr) {
      report_.add(Code::kMissingKey, at, whose + " has no key \"name\"; every record carries it");
    } else if (is_kind(*node, Node::Kind::kScalar, "\"name\"")) {
      if (is_policy_name(node->text)) return node->text;
      fail(Code::kBadName, *node, "name " + quote(node->text) + " must be 1 to 63 of a-z, 0-9 and -");
    }
    return {};
  }

  void description(const Node& root, Ruleset& out) {
    const Node* node = find(root, "description");
    if (node == nullptr || !is_kind(*node, Node::Kind::kScalar, "\"description\"")) return;
    if (node->text.size() > kMaxDescription || !is_utf8(node->text))
      fail(Code::kBadText, *node,
           "the description must be UTF-8 text of at most " + std::to_string(kMaxDescription) + " bytes");
    else
      out.description = node->text;
  }

  // 0 for the first (the default), 1 for the second.
  int choice(const Node& root, std::string_view key, std::string_view first, std::string_view second) {
    const Node* node = find(root, key);
    if (node == nullptr || !is_kind(*node, Node::Kind::kScalar, quote(key)) || node->text == first) return 0;
    if (node->text == second) return 1;
    const std::array options{first, second};
    fail(Code::kBadChoice, *node,
         std::string{key} + " must be " + std::string{first} + " or " + std::string{second} + ", not " +
             quote(node->text) + did_you_mean(node->text, options));
    return 0;
  }

  void rules(const Node& list, Direction direction, std::vector<Rule>& out) {
    direction_ = direction;
    const bool egress = direction == Direction::kEgress;
    if (!is_kind(list, Node::Kind::kList, egress ? "\"egress\"" : "\"ingress\"")) return;
    if (list.items.size() > kMaxRules) {
      fail(Code::kTooMany, list, "more than " + std::to_string(kMaxRules) + " rules");
      return;
    }
    for (const Node& item : list.items) {
      Rule rule = this->rule(item);
      if (!rule.name.empty())
        if (const auto [first, is_new] = names_.emplace(rule.name, item.at.line); !is_new)
          fail(Code::kDuplicateRule, *find(item, "name"),
               "rule name " + quote(rule.name) + " is already used in line " + std::to_string(first->second));
      out.push_back(std::move(rule));
    }
  }

  Rule rule(const Node& map) {
    Rule out;
    out.at = map.at;
    if (!is_kind(map, Node::Kind::kMap, "a rule")) return out;
    const Node* name_node = find(map, "name");
    const bool named = name_node != nullptr && name_node->kind == Node::Kind::kScalar;
    const std::string where = named ? " in rule " + quote(name_node->text) : " in a rule";
    check_keys(map, where, kRuleKeys, kLaterRuleKeys);
    out.name = name(map, "the rule", map.at);
    const Node* allow = find(map, "allow");
    const Node* deny = find(map, "deny");
    if ((allow == nullptr) == (deny == nullptr))
      report_.add(Code::kAllowOrDeny, map.at,
                  std::string{allow != nullptr ? "both" : "neither"} + " \"allow\" " +
                      (allow != nullptr ? "and" : "nor") + " \"deny\"" + where + "; write exactly one");
    out.action = allow != nullptr ? Action::kAllow : Action::kDeny;
    if (allow != nullptr) targets(*allow, "\"allow\"" + where, true, out.to);
    if (deny != nullptr) targets(*deny, "\"deny\"" + where, false, out.to);
    if (const Node* except = find(map, "except")) targets(*except, "\"except\"" + where, false, out.except);
    ports(find(map, "ports"), "\"ports\"" + where, out);
    if (const Node* node = find(map, "limits")) {
      out.limits = limits(map, *node, where);
      if (deny != nullptr)
        fail(Code::kNoMeaning, key_of(map, "limits"), "\"limits\"" + where + " do nothing: it denies");
    }
    return out;
  }

  // A single value or a list of them. A list that came out empty by mistake must not mean "all" or "nothing".
  template <class Visit>
  void each(const Node& node, const std::string& what, Visit&& visit) {
    if (node.kind == Node::Kind::kScalar) return visit(node);
    if (!is_kind(node, Node::Kind::kList, what)) return;
    if (node.items.empty())
      return fail(Code::kEmptyList, node, what + " is an empty list; name something or remove the rule");
    if (node.items.size() > kMaxListItems)
      return fail(Code::kTooMany, node,
                  what + " has more than " + std::to_string(kMaxListItems) + " items; split the rule");
    for (const Node& item : node.items)
      if (is_kind(item, Node::Kind::kScalar, "an item of " + what)) visit(item);
  }

  void targets(const Node& node, const std::string& what, bool opens, Targets& out) {
    each(node, what, [&](const Node& item) {
      const auto value = parse_destination(item.text);
      if (!value) return fail(value.error().code, item, value.error().message);
      if (const auto* prefix = std::get_if<net::Prefix>(&*value)) {
        out.prefixes.push_back(*prefix);
        const auto why = direction_ == Direction::kEgress ? never_reached(*prefix)
                         : opens                          ? never_comes(*prefix)
                                                          : "";
        if (!why.empty()) fail(Code::kNeverReached, item, net::to_string(*prefix) + " is " + why);
        return;
      }
      const auto words = std::get<WordSet>(*value);
      if (direction_ == Direction::kIngress) {
        if (const auto why = no_source(words); !why.empty())
          return fail(words.contains(Word::kGuests) ? Code::kNotSupportedYet : Code::kNoMeaning, item,
                      quote(item.text) + why);
      } else if (role_ == FileRole::kTenant && is_guarded(words))
        return fail(Code::kOperatorOnly, item,
                    "only the first (the operator's) file may name " + quote(item.text));
      out.words.add(words);
    });
  }

  static std::string no_source(WordSet words) {
    if (words.contains(Word::kGuests)) return " in ingress is not supported yet in this version";
    if (words.contains(Word::kDns) || words.contains(Word::kMetadata))
      return " starts no connections; in ingress write host, onlink, private, internet, any or addresses";
    return {};
  }

  static bool is_guarded(WordSet words) {
    return words.contains(Word::kHost) || words.contains(Word::kGuests) || words.contains(Word::kMetadata);
  }

  void ports(const Node* node, const std::string& what, Rule& out) {
    if (node == nullptr) {
      out.ports = {{.protocol = flow::Protocol::kTcp}, {.protocol = flow::Protocol::kUdp}};
      return;
    }
    each(*node, what, [&](const Node& item) {
      const auto range = parse_ports(item.text);
      if (!range) return fail(range.error().code, item, range.error().message);
      if (direction_ == Direction::kIngress && range->protocol == flow::Protocol::kIcmpEcho)
        return fail(Code::kNoMeaning, item, "\"icmp/echo\" has no port to publish; write tcp or udp");
      out.ports.push_back(*range);
    });
  }

  static const Node& key_of(const Node& map, std::string_view key) {
    for (const Node& node : map.keys)
      if (node.text == key) return node;
    return map;
  }

  Limits limits(const Node& owner, const Node& map, const std::string& where) {
    Limits out;
    out.at = key_of(owner, "limits").at;
    if (!is_kind(map, Node::Kind::kMap, "\"limits\"" + where)) return out;
    check_keys(map, " in \"limits\"" + where, kLimitKeys, kLaterLimitKeys);
    if (map.items.empty())
      fail(Code::kEmptyList, map, "\"limits\"" + where + " is empty; name a limit or remove the key");
    limit(map, "connections", parse_connections, out.connections);
    limit(map, "new", parse_new_flows, out.fresh);
    limit(map, "rate", parse_rate, out.rate);
    limit(map, "bytes", parse_volume, out.bytes);
    return out;
  }

  template <class Value, class Parse>
  void limit(const Node& map, std::string_view key, Parse&& parse, Value& out) {
    const Node* node = find(map, key);
    if (node == nullptr || !is_kind(*node, Node::Kind::kScalar, quote(key))) return;
    if (const auto value = parse(node->text))
      out = *value;
    else
      fail(value.error().code, *node, value.error().message);
  }

  // What the whole guest may not reach, no rule can.
  void warn_of_looser(const Ruleset& file) {
    for (const auto* rules : {&file.egress, &file.ingress})
      for (const Rule& rule : *rules)
        if (const auto which = looser(rule.limits, file.limits); !which.empty())
          report_.add(Code::kLooserLimit, rule.limits.at,
                      quote(which) + " of rule " + quote(rule.name) +
                          " is never reached: the file's own in line " + std::to_string(file.limits.at.line) +
                          " is lower");
  }

  FileRole role_;
  Report& report_;
  Direction direction_ = Direction::kEgress;    // of the list being read
  std::map<std::string, std::uint32_t> names_;  // of rules, with their lines
};

}  // namespace

std::optional<Ruleset> compile(const Node& document, const std::string& path, FileRole role, Report& report) {
  Ruleset out = Compiler{role, report}.file(document);
  out.path = path;
  if (report.has_errors()) return std::nullopt;
  report_shadowed(out, report);
  return out;
}

}  // namespace cordon::policy
