// `tests`: what a file says about itself. Compiled here, run by file_tests.cc.
#include <algorithm>
#include <array>

#include "policy/compile_parts.h"
#include "policy/decide.h"
#include "policy/scalars.h"

namespace cordon::policy {
namespace {

constexpr std::array<std::string_view, 2> kExpectations{"deny", "allow"};

// What a single file can answer when no host and no clock is asked.
constexpr std::array kReasons{Reason::kNoRule,         Reason::kRuleDeny,    Reason::kSpecialAddress,
                              Reason::kEmbeddedIpv4,   Reason::kHostAddress, Reason::kMetadata,
                              Reason::kTenantIsolation};

struct Representative {
  Word word;
  std::string_view address;
  Word place;
};
// Addresses that say nothing by themselves where the place decides.
constexpr std::array kRepresentatives = std::to_array<Representative>({
    {Word::kInternet, "93.184.216.34", Word::kInternet},
    {Word::kPrivate, "10.0.0.1", Word::kInternet},
    {Word::kOnlink, "192.168.0.1", Word::kOnlink},
    {Word::kHost, "192.168.0.2", Word::kHost},
    {Word::kGuests, "192.168.0.3", Word::kGuests},
    {Word::kMetadata, "169.254.169.254", Word::kInternet},
    {Word::kDns, "192.168.0.4", Word::kDns},
});

class TestCompiler {
 public:
  TestCompiler(NodeReader& reader, const Ruleset& file) : reader_(reader), file_(file) {}

  FileTest test(const Node& map) {
    FileTest out;
    out.at = map.at;
    if (!reader_.is_kind(map, Node::Kind::kMap, "a test")) return out;
    reader_.check_keys(map, " in a test", grammar::kTest);
    const bool to = NodeReader::find(map, "to") != nullptr;
    const bool from = NodeReader::find(map, "from") != nullptr;
    if (to == from)
      reader_.fail(Code::kBadTest, map,
                   std::string{to ? "both \"to\" and" : "neither \"to\" nor"} +
                       " \"from\" in a test; write exactly one");
    out.direction = to || !from ? Direction::kEgress : Direction::kIngress;
    require(map, "port");
    require(map, "expect");
    if (const Node* node = reader_.scalar(map, to ? "to" : "from")) remote(*node, out);
    if (const Node* node = reader_.scalar(map, "port")) port(*node, out);
    out.expect_allow = reader_.choice(map, "expect", kExpectations) == 1;
    if (const Node* node = reader_.scalar(map, "rule")) rule(*node, out);
    if (const Node* node = reader_.scalar(map, "reason")) reason(map, *node, out);
    return out;
  }

 private:
  void require(const Node& map, std::string_view key) {
    if (NodeReader::find(map, key) == nullptr)
      reader_.fail(Code::kMissingKey, map, "the test has no key " + quote(key));
  }

  void remote(const Node& node, FileTest& out) {
    out.remote_text = node.text;
    if (const auto address = net::parse_ip(node.text)) {
      out.remote = *address;
      return;
    }
    const auto value = parse_destination(node.text);
    if (!value) return reader_.fail(value.error().code, node, value.error().message);
    if (std::holds_alternative<net::Prefix>(*value))
      return reader_.fail(Code::kBadTest, node, "a test asks about one address, not about " + node.text);
    const auto words = std::get<WordSet>(*value);
    if (out.direction == Direction::kIngress &&
        (words.contains(Word::kDns) || words.contains(Word::kMetadata)))
      return reader_.fail(Code::kNoMeaning, node, quote(node.text) + " starts no connections");
    for (const auto& [word, address, place] : kRepresentatives) {
      WordSet only;
      only.add(word);
      if (words != only) continue;
      out.remote = *net::parse_ip(address);
      out.place = place;
      return;
    }
    reader_.fail(Code::kBadTest, node, "\"any\" is several places; ask for internet, private or onlink");
  }

  void port(const Node& node, FileTest& out) {
    const auto range = parse_ports(node.text);
    if (!range) return reader_.fail(range.error().code, node, range.error().message);
    const bool echo = range->protocol == flow::Protocol::kIcmpEcho;
    if (!echo && range->first != range->last)
      return reader_.fail(Code::kBadTest, node,
                          "a test asks about one port, as in tcp/443, not about " + quote(node.text));
    if (echo && out.direction == Direction::kIngress)
      return reader_.fail(Code::kNoMeaning, node, "\"icmp/echo\" has no port to publish");
    constexpr std::uint16_t kDnsPort = 53;
    if (out.place == Word::kDns && (echo || range->first != kDnsPort))
      return reader_.fail(Code::kNoMeaning, node, "\"dns\" answers at udp/53 and tcp/53 only");
    out.port = *range;
  }

  void rule(const Node& node, FileTest& out) {
    const auto& rules = file_.rules(out.direction);
    out.rule = node.text;
    if (std::ranges::find(rules, node.text, &Rule::name) != rules.end() || reader_.is_full()) return;
    std::vector<std::string_view> names;
    for (const Rule& one : rules) names.emplace_back(one.name);
    reader_.fail(Code::kUnknownRule, node,
                 "no rule " + quote(node.text) + " in " +
                     (out.direction == Direction::kEgress ? "\"egress\"" : "\"ingress\"") +
                     did_you_mean(node.text, names));
  }

  void reason(const Node& map, const Node& node, FileTest& out) {
    out.reason = node.text;
    if (out.expect_allow)
      return reader_.fail(Code::kNoMeaning, NodeReader::key_of(map, "reason"),
                          "\"reason\" means nothing here: what is allowed has none");
    std::vector<std::string_view> names;
    for (const Reason one : kReasons) names.push_back(to_string(one));
    (void)reader_.choice(map, "reason", names);
  }

  NodeReader& reader_;
  const Ruleset& file_;
};

}  // namespace

void compile_tests(NodeReader& reader, const Node& list, Ruleset& file) {
  if (!reader.is_kind(list, Node::Kind::kList, "\"tests\"")) return;
  if (list.items.size() > kMaxTests)
    return reader.fail(Code::kTooMany, list, "more than " + std::to_string(kMaxTests) + " tests");
  for (const Node& item : list.items) file.tests.push_back(TestCompiler{reader, file}.test(item));
}

}  // namespace cordon::policy
