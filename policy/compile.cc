#include "policy/compile.h"

#include <algorithm>
#include <array>
#include <map>

#include "policy/compile_parts.h"
#include "policy/lint.h"
#include "policy/scalars.h"
#include "policy/times.h"
#include "policy/utf8.h"

namespace cordon::policy {
namespace {

constexpr std::size_t kMaxDescription = 1024;
constexpr std::array<std::string_view, 2> kModes{"enforce", "audit"};
constexpr std::array<std::string_view, 2> kRefusals{"reject", "drop"};
constexpr std::array<std::string_view, 2> kOnReloadError{"keep", "deny"};
constexpr std::array<std::string_view, 2> kFalseOrTrue{"false", "true"};

class Compiler {
 public:
  Compiler(FileRole role, base::WallTime now, Report& report) : reader_(role, now, report), report_(report) {}

  Ruleset file(const Node& root) {
    Ruleset out;
    if (!reader_.is_kind(root, Node::Kind::kMap, "a policy file")) return out;
    reader_.check_keys(root, "", grammar::kFile);
    version(root);
    out.name = reader_.name(root, "the file", root.at);
    description(root, out);
    out.mode = static_cast<Mode>(reader_.choice(root, "mode", kModes));
    out.drop = reader_.choice(root, "refuse", kRefusals) == 1;
    out.expires = compile_end(reader_, root, "expires", "the file denies everything");
    rules(root, "egress", Direction::kEgress, out.egress);
    rules(root, "ingress", Direction::kIngress, out.ingress);
    if (const Node* node = NodeReader::find(root, "limits"))
      out.limits = compile_limits(reader_, root, *node, "");
    operators(root, out);
    if (const Node* node = NodeReader::find(root, "tests")) compile_tests(reader_, *node, out);
    warn_of_looser(out);
    warn_of_aliases(out);
    return out;
  }

 private:
  void version(const Node& root) {
    if (NodeReader::find(root, "version") == nullptr) {
      reader_.fail(Code::kMissingKey, root, "the file has no key \"version\"; write `version: 1`");
      return;
    }
    const Node* node = reader_.scalar(root, "version");
    if (node != nullptr && (node->quoted || node->text != "1"))
      reader_.fail(Code::kVersion, *node,
                   "version " + quote(node->text) + " is not known; this program reads `version: 1`");
  }

  void description(const Node& root, Ruleset& out) {
    const Node* node = reader_.scalar(root, "description");
    if (node == nullptr) return;
    if (node->text.size() > kMaxDescription || !is_utf8(node->text))
      reader_.fail(
          Code::kBadText, *node,
          "the description must be UTF-8 text of at most " + std::to_string(kMaxDescription) + " bytes");
    else
      out.description = node->text;
  }

  void rules(const Node& root, std::string_view key, Direction direction, std::vector<Rule>& out) {
    const Node* list = NodeReader::find(root, key);
    if (list == nullptr || !reader_.is_kind(*list, Node::Kind::kList, quote(key))) return;
    rule_count_ += list->items.size();
    if (rule_count_ > kMaxRules) {
      reader_.fail(Code::kTooMany, *list, "more than " + std::to_string(kMaxRules) + " rules in the file");
      return;
    }
    out.reserve(list->items.size());
    for (const Node& item : list->items) {
      Rule rule = compile_rule(reader_, item, direction);
      if (!rule.name.empty())
        if (const auto [first, is_new] = names_.emplace(rule.name, item.at.line); !is_new)
          reader_.fail(
              Code::kDuplicateRule, *NodeReader::find(item, "name"),
              "rule name " + quote(rule.name) + " is already used in line " + std::to_string(first->second));
      out.push_back(std::move(rule));
    }
  }

  // What only the first file may say; check_keys() has refused it in others.
  void operators(const Node& root, Ruleset& out) {
    if (reader_.role() != FileRole::kOperator) return;
    if (const Node* node = NodeReader::find(root, "host")) out.host = compile_host(reader_, *node);
    if (const Node* node = NodeReader::find(root, "guests")) out.tenant = tenant(*node);
    reader_.value(root, "reload", parse_drain, out.reload.drain);
    out.reload.deny_on_error = reader_.choice(root, "on_reload_error", kOnReloadError) == 1;
    out.require_tenant_policy = reader_.choice(root, "require_tenant_policy", kFalseOrTrue) == 1;
    if (const Node* node = NodeReader::find(root, "require_tenant_policy"); node != nullptr && node->quoted)
      reader_.fail(Code::kBadChoice, *node, "require_tenant_policy must be false or true without quotes");
  }

  std::string tenant(const Node& map) {
    if (!reader_.is_kind(map, Node::Kind::kMap, "\"guests\"")) return {};
    reader_.check_keys(map, " in \"guests\"", grammar::kGuests);
    const Node* node = reader_.scalar(map, "tenant");
    if (node != nullptr && is_policy_name(node->text)) return node->text;
    if (node != nullptr)
      reader_.fail(Code::kBadName, *node,
                   "tenant " + quote(node->text) + " must be 1 to 63 of a-z, 0-9 and -");
    else if (NodeReader::find(map, "tenant") == nullptr)
      reader_.fail(Code::kMissingKey, map, "\"guests\" has no key \"tenant\"; it says whose guest this is");
    return {};
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

  // An alias is the host, which no address opens.
  void warn_of_aliases(const Ruleset& file) {
    for (const Rule& rule : file.egress) {
      if (rule.action == Action::kDeny) continue;
      for (const net::Prefix& alias : file.host.aliases)
        if (std::ranges::any_of(rule.to.prefixes, [&](const auto& p) { return alias.contains(p); }))
          report_.add(Code::kNeverReached, rule.at,
                      net::to_string(alias) + " is an alias of this host, which rule " + quote(rule.name) +
                          " names by address; only the word `host` opens it");
    }
  }

  NodeReader reader_;
  Report& report_;
  std::size_t rule_count_ = 0;
  std::map<std::string, std::uint32_t> names_;  // of rules, with their lines
};

}  // namespace

std::optional<Ruleset> compile(const Node& document, const std::string& path, FileRole role, Report& report,
                               base::WallTime now) {
  Ruleset out = Compiler{role, now, report}.file(document);
  out.path = path;
  if (report.has_errors()) return std::nullopt;
  report_shadowed(out, report);
  return out;
}

}  // namespace cordon::policy
