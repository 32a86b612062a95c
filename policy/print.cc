#include "policy/print.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "policy/times.h"

namespace cordon::policy {
namespace {

struct WordName {
  Word word;
  std::string_view name;
};
constexpr std::array kWords = std::to_array<WordName>({{Word::kInternet, "internet"},
                                                       {Word::kPrivate, "private"},
                                                       {Word::kOnlink, "onlink"},
                                                       {Word::kHost, "host"},
                                                       {Word::kGuests, "guests"},
                                                       {Word::kMetadata, "metadata"},
                                                       {Word::kDns, "dns"}});

std::string list(const Targets& targets) {
  std::string out;
  const auto add = [&](std::string_view item) {
    if (!out.empty()) out += ", ";
    out += item;
  };
  for (const auto& [word, name] : kWords)
    if (targets.words.contains(word)) add(name);
  // Quoted: an IPv6 address ends in ':' or starts a mapping key for a YAML reader.
  for (const auto& prefix : targets.prefixes) add("\"" + net::to_string(prefix) + "\"");
  return "[" + out + "]";
}

std::string quoted(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kDigits[byte >> 4U];
      out += kDigits[byte & 0xfU];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace

std::string to_string(const PortRange& range) {
  if (range.protocol == flow::Protocol::kIcmpEcho) return "icmp/echo";
  std::string out = range.protocol == flow::Protocol::kTcp ? "tcp" : "udp";
  if (range.first == 0 && range.last == 65535) return out;
  out += "/" + std::to_string(range.first);
  if (range.last != range.first) out += "-" + std::to_string(range.last);
  return out;
}

std::vector<std::pair<std::string_view, std::string>> fields(const Limits& limits) {
  std::vector<std::pair<std::string_view, std::string>> out;
  if (limits.connections != 0) out.emplace_back("connections", std::to_string(limits.connections));
  if (limits.fresh.count != 0)
    out.emplace_back("new",
                     std::to_string(limits.fresh.count) + (limits.fresh.seconds == 60 ? "/min" : "/s"));
  if (limits.rate != 0) out.emplace_back("rate", std::to_string(limits.rate) + "B/s");
  if (limits.bytes != 0) out.emplace_back("bytes", std::to_string(limits.bytes) + "B");
  return out;
}

std::string to_string(const Limits& limits) {
  std::string out;
  for (const auto& [key, value] : fields(limits))
    out += (out.empty() ? "" : ", ") + std::string{key} + ": " + value;
  return "{" + out + "}";
}

std::vector<std::string> to_strings(const Targets& targets) {
  constexpr std::array kAny{Word::kInternet, Word::kPrivate, Word::kOnlink};
  const bool any = std::ranges::all_of(kAny, [&](Word word) { return targets.words.contains(word); });
  std::vector<std::string> out;
  if (any) out.emplace_back("any");
  for (const auto& [word, name] : kWords)
    if (targets.words.contains(word) && !(any && std::ranges::find(kAny, word) != kAny.end()))
      out.emplace_back(name);
  for (const auto& prefix : targets.prefixes)
    out.push_back(prefix.length() == prefix.address().bit_count() ? net::to_string(prefix.address())
                                                                  : net::to_string(prefix));
  return out;
}

namespace {

std::string print(const Rule& rule) {
  std::string out = "  - {name: \"" + rule.name + "\", " +
                    (rule.action == Action::kAllow ? "allow: " : "deny: ") + list(rule.to);
  if (!rule.except.empty()) out += ", except: " + list(rule.except);
  std::string ports;
  for (const auto& range : rule.ports) ports += (ports.empty() ? "" : ", ") + to_string(range);
  out += ", ports: [" + ports + "]";
  if (!rule.limits.empty()) out += ", limits: " + to_string(rule.limits);
  if (rule.until != WallTime::max()) out += ", until: \"" + to_string(rule.until) + "\"";
  if (rule.log != LogMode::kNone) out += ", log: " + std::string{rule.log == LogMode::kNew ? "new" : "all"};
  return out + "}\n";
}

// What only the operator's file has.
std::string print_operator(const Ruleset& file) {
  std::string out;
  if (!file.host.empty()) {
    std::string uplinks;
    for (const auto& name : file.host.uplinks) uplinks += (uplinks.empty() ? "" : ", ") + quoted(name);
    if (!uplinks.empty()) uplinks = "uplinks: [" + uplinks + "]";
    if (!file.host.aliases.empty())
      uplinks += (uplinks.empty() ? "aliases: " : ", aliases: ") + list({.prefixes = file.host.aliases});
    out += "host: {" + uplinks + "}\n";
  }
  if (!file.tenant.empty()) out += "guests: {tenant: \"" + file.tenant + "\"}\n";
  if (file.reload.drain != base::Duration{0})
    out += "reload: drain " +
           std::to_string(std::chrono::duration_cast<std::chrono::seconds>(file.reload.drain).count()) +
           "s\n";
  if (file.reload.deny_on_error) out += "on_reload_error: deny\n";
  if (file.require_tenant_policy) out += "require_tenant_policy: true\n";
  return out;
}

}  // namespace

std::string print(const Ruleset& ruleset) {
  std::string out = "version: 1\nname: \"" + ruleset.name + "\"\n";
  if (!ruleset.description.empty()) out += "description: " + quoted(ruleset.description) + "\n";
  out += ruleset.mode == Mode::kAudit ? "mode: audit\n" : "mode: enforce\n";
  out += ruleset.drop ? "refuse: drop\n" : "refuse: reject\n";
  if (ruleset.expires != WallTime::max()) out += "expires: \"" + to_string(ruleset.expires) + "\"\n";
  out += ruleset.egress.empty() ? "egress: []\n" : "egress:\n";
  for (const Rule& rule : ruleset.egress) out += print(rule);
  if (!ruleset.ingress.empty()) out += "ingress:\n";
  for (const Rule& rule : ruleset.ingress) out += print(rule);
  if (!ruleset.limits.empty()) out += "limits: " + to_string(ruleset.limits) + "\n";
  out += print_operator(ruleset);
  return out;
}

}  // namespace cordon::policy
