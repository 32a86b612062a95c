// One rule of `egress` or `ingress`, and `limits`.
#include <algorithm>
#include <array>

#include "policy/compile_parts.h"
#include "policy/lint.h"
#include "policy/print.h"
#include "policy/scalars.h"
#include "policy/times.h"

namespace cordon::policy {
namespace {

constexpr std::array<std::string_view, 3> kLogModes{"none", "new", "all"};

bool is_guarded(WordSet words) {
  return words.contains(Word::kHost) || words.contains(Word::kGuests) || words.contains(Word::kMetadata);
}

std::string no_source(WordSet words) {
  if (words.contains(Word::kGuests))
    return " in ingress is not supported: no other guest can reach a published port, whatever a file says";
  if (words.contains(Word::kDns) || words.contains(Word::kMetadata))
    return " starts no connections; in ingress write host, onlink, private, internet, any or addresses";
  return {};
}

class RuleCompiler {
 public:
  RuleCompiler(NodeReader& reader, Direction direction) : reader_(reader), direction_(direction) {}

  Rule rule(const Node& map) {
    Rule out;
    out.at = map.at;
    if (!reader_.is_kind(map, Node::Kind::kMap, "a rule")) return out;
    const Node* name = NodeReader::find(map, "name");
    const bool named = name != nullptr && name->kind == Node::Kind::kScalar;
    const std::string where = named ? " in rule " + quote(name->text) : " in a rule";
    reader_.check_keys(map, where, grammar::kRule);
    out.name = reader_.name(map, "the rule", map.at);
    action(map, where, out);
    if (const Node* except = NodeReader::find(map, "except")) {
      targets(*except, "\"except\"" + where, false, out.except);
      warn_of_idle(*except, out);
    }
    ports(NodeReader::find(map, "ports"), "\"ports\"" + where, out);
    out.until = compile_end(reader_, map, "until", "the rule matches nothing");
    out.log = static_cast<LogMode>(reader_.choice(map, "log", kLogModes));
    if (const Node* node = NodeReader::find(map, "limits"))
      out.limits = compile_limits(reader_, map, *node, where);
    if (out.action == Action::kDeny) refuse_meaningless(map, where);
    if (const auto why = why_never(out, direction_); !why.empty() && !out.to.empty() && !out.ports.empty())
      reader_.fail(Code::kNothingLeft, map, "rule " + quote(out.name) + " can never match: " + why);
    return out;
  }

 private:
  void action(const Node& map, const std::string& where, Rule& out) {
    const Node* allow = NodeReader::find(map, "allow");
    const Node* deny = NodeReader::find(map, "deny");
    if ((allow == nullptr) == (deny == nullptr))
      reader_.fail(Code::kAllowOrDeny, map.at,
                   std::string{allow != nullptr ? "both" : "neither"} + " \"allow\" " +
                       (allow != nullptr ? "and" : "nor") + " \"deny\"" + where + "; write exactly one");
    out.action = deny != nullptr || allow == nullptr ? Action::kDeny : Action::kAllow;
    if (allow != nullptr) targets(*allow, "\"allow\"" + where, true, out.to);
    Targets second;  // in a rule that has both
    if (deny != nullptr) targets(*deny, "\"deny\"" + where, false, allow == nullptr ? out.to : second);
  }

  void warn_of_idle(const Node& except, const Rule& rule) {
    if (rule.to.empty()) return;  // a mistake that has been reported
    const auto look = [&](const Node& item) {
      const auto value = parse_destination(item.text);
      if (value && std::visit([&](const auto& what) { return has_no_effect(rule, what); }, *value))
        reader_.fail(Code::kNothingLeft, item,
                     quote(item.text) + " takes nothing away: it is no part of what rule " +
                         quote(rule.name) + " names");
    };
    if (except.kind == Node::Kind::kScalar) look(except);
    for (const Node& item : except.items) look(item);
  }

  void refuse_meaningless(const Node& map, const std::string& where) {
    if (NodeReader::find(map, "deny") == nullptr) return;
    if (NodeReader::find(map, "limits") != nullptr)
      reader_.fail(Code::kNoMeaning, NodeReader::key_of(map, "limits"),
                   "\"limits\"" + where + " do nothing: it denies");
    if (NodeReader::find(map, "log") != nullptr)
      reader_.fail(Code::kNoMeaning, NodeReader::key_of(map, "log"),
                   "\"log\"" + where + " does nothing: what is denied is always recorded");
  }

  void targets(const Node& node, const std::string& what, bool opens, Targets& out) {
    reader_.each(node, what, [&](const Node& item) {
      const auto value = parse_destination(item.text);
      if (!value) return reader_.fail(value.error().code, item, value.error().message);
      if (const auto* prefix = std::get_if<net::Prefix>(&*value)) {
        if (const auto* wider = covering(out.prefixes, *prefix)) repeated(item, net::to_string(*wider));
        out.prefixes.push_back(*prefix);
        const auto why = direction_ == Direction::kEgress ? never_reached(*prefix)
                         : opens                          ? never_comes(*prefix)
                                                          : "";
        if (!why.empty()) reader_.fail(Code::kNeverReached, item, net::to_string(*prefix) + " is " + why);
        return;
      }
      word(item, std::get<WordSet>(*value), out);
    });
  }

  void word(const Node& item, WordSet words, Targets& out) {
    if (direction_ == Direction::kIngress) {
      if (const auto why = no_source(words); !why.empty())
        return reader_.fail(Code::kNoMeaning, item, quote(item.text) + why);
    } else if (reader_.role() == FileRole::kTenant && is_guarded(words)) {
      return reader_.fail(Code::kOperatorOnly, item,
                          "only the first (the operator's) file may name " + quote(item.text));
    }
    if (out.words.contains(words)) repeated(item, "what stands before it");
    out.words.add(words);
  }

  // Only what stands earlier is looked at: the narrow one first is a mistake too, but a harmless one.
  template <class Item>
  static const Item* covering(const std::vector<Item>& earlier, const Item& item) {
    const auto found = std::ranges::find_if(earlier, [&](const Item& one) { return contains(one, item); });
    return found == earlier.end() ? nullptr : &*found;
  }
  static bool contains(const net::Prefix& outer, const net::Prefix& inner) { return outer.contains(inner); }
  static bool contains(const PortRange& outer, const PortRange& inner) {
    return outer.protocol == inner.protocol && outer.first <= inner.first && inner.last <= outer.last;
  }

  void repeated(const Node& item, const std::string& wider) {
    reader_.fail(Code::kRepeated, item, quote(item.text) + " is part of " + wider + " in the same list");
  }

  void ports(const Node* node, const std::string& what, Rule& out) {
    if (node == nullptr) {
      out.ports = {{.protocol = flow::Protocol::kTcp}, {.protocol = flow::Protocol::kUdp}};
      return;
    }
    reader_.each(*node, what, [&](const Node& item) {
      const auto range = parse_ports(item.text);
      if (!range) return reader_.fail(range.error().code, item, range.error().message);
      if (direction_ == Direction::kIngress && range->protocol == flow::Protocol::kIcmpEcho)
        return reader_.fail(Code::kNoMeaning, item, "\"icmp/echo\" has no port to publish; write tcp or udp");
      if (const auto* wider = covering(out.ports, *range)) repeated(item, quote(to_string(*wider)));
      out.ports.push_back(*range);
    });
  }

  NodeReader& reader_;
  Direction direction_;
};

}  // namespace

Rule compile_rule(NodeReader& reader, const Node& map, Direction direction) {
  return RuleCompiler{reader, direction}.rule(map);
}

Limits compile_limits(NodeReader& reader, const Node& owner, const Node& map, const std::string& where) {
  Limits out;
  out.at = NodeReader::key_of(owner, "limits").at;
  if (!reader.is_kind(map, Node::Kind::kMap, "\"limits\"" + where)) return out;
  reader.check_keys(map, " in \"limits\"" + where, grammar::kLimits);
  if (map.items.empty())
    reader.fail(Code::kEmptyList, map, "\"limits\"" + where + " is empty; name a limit or remove the key");
  reader.value(map, "connections", parse_connections, out.connections);
  reader.value(map, "new", parse_new_flows, out.fresh);
  reader.value(map, "rate", parse_rate, out.rate);
  reader.value(map, "bytes", parse_volume, out.bytes);
  return out;
}

base::WallTime compile_end(NodeReader& reader, const Node& map, std::string_view key,
                           std::string_view consequence) {
  auto end = base::WallTime::max();
  if (reader.value(map, key, parse_time, end) && end <= reader.now())
    reader.fail(Code::kPast, *NodeReader::find(map, key),
                to_string(end) + " has passed: " + std::string{consequence});
  return end;
}

}  // namespace cordon::policy
