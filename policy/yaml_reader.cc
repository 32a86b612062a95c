#include "policy/yaml_reader.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <tuple>

#include "policy/utf8.h"

namespace cordon::policy {
namespace {

// Thrown out of our own event handler: the parser has no other way to be stopped.
struct TooDeep {};

Position position(const YAML::Mark& mark, std::size_t length = 1) {
  return {.line = static_cast<std::uint32_t>(std::max(mark.line, 0)) + 1,
          .column = static_cast<std::uint32_t>(std::max(mark.column, 0)) + 1,
          .length = static_cast<std::uint32_t>(std::clamp<std::size_t>(length, 1, 200))};
}

// Builds the tree. The stack holds open lists and mappings; in a mapping, keys and items arrive in turn.
class Builder final : public YAML::EventHandler {
 public:
  explicit Builder(Report& report) : report_(report) {}
  [[nodiscard]] Node take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    Node node;
    node.at = position(mark);
    add(std::move(node));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    report_.add(Code::kYamlFeature, position(mark), "YAML aliases are not supported; repeat the value");
    Node node;
    node.kind = Node::Kind::kScalar;
    node.at = position(mark);
    add(std::move(node));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    Node node;
    node.kind = Node::Kind::kScalar;
    node.quoted = tag == "!";
    node.at = position(mark, value.size() + (node.quoted ? 2 : 0));
    node.text = value;
    add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Node::Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Node::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor)
      report_.add(Code::kYamlFeature, position(mark), "YAML anchors are not supported; repeat the value");
  }
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!")
      report_.add(Code::kYamlFeature, position(mark), "YAML tags are not supported; remove " + quote(tag));
  }

  void open(Node::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    Node node;
    node.kind = kind;
    node.at = position(mark);
    if (stack_.size() == kMaxPolicyDepth) {
      report_.add(Code::kYamlFeature, node.at,
                  "nested deeper than " + std::to_string(kMaxPolicyDepth) + " levels; no policy needs that");
      throw TooDeep{};
    }
    stack_.push_back(std::move(node));
  }
  void close() {
    Node node = std::move(stack_.back());
    stack_.pop_back();
    if (node.kind == Node::Kind::kMap) refuse_duplicates(node);
    add(std::move(node));
  }

  void add(Node node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Node& parent = stack_.back();
    if (parent.kind == Node::Kind::kMap && parent.keys.size() == parent.items.size())
      parent.keys.push_back(std::move(node));
    else
      parent.items.push_back(std::move(node));
    // Where nothing is written the parser marks whatever comes next; the key is what the author must look at.
    const bool nothing = parent.kind == Node::Kind::kMap && parent.items.size() == parent.keys.size() &&
                         parent.items.back().kind == Node::Kind::kNull;
    if (nothing) parent.items.back().at = parent.keys.back().at;
  }

  // By name, so that a file of one huge mapping costs n log n.
  void refuse_duplicates(const Node& map) {
    std::vector<const Node*> order;
    for (const auto& key : map.keys) {
      if (key.kind != Node::Kind::kScalar)
        report_.add(Code::kWrongKind, key.at, "a key must be a plain word");
      else if (key.text == "<<")
        report_.add(Code::kYamlFeature, key.at, "YAML merge keys are not supported; repeat the values");
      else
        order.push_back(&key);
    }
    std::ranges::sort(order, {}, [](const Node* key) {
      return std::tuple{std::string_view{key->text}, key->at.line, key->at.column};
    });
    for (std::size_t i = 1; i < order.size(); ++i)
      if (order[i]->text == order[i - 1]->text)
        report_.add(Code::kDuplicateKey, order[i]->at,
                    "key " + quote(order[i]->text) + " is already given in line " +
                        std::to_string(order[i - 1]->at.line));
  }

  Report& report_;
  Node root_;
  std::vector<Node> stack_;
};

bool is_acceptable_text(std::string_view text, Report& report) {
  const auto unreadable = [&](std::string message) {
    report.add(Code::kUnreadable, {}, std::move(message));
    return false;
  };
  if (text.size() > kMaxPolicyBytes)
    return unreadable("the file has more than " + std::to_string(kMaxPolicyBytes / 1024) + " KiB");
  if (text.find('\0') != std::string_view::npos || !is_utf8(text))
    return unreadable("the file is not UTF-8 text");
  std::uint32_t line = 1;
  for (auto rest = text;; ++line) {
    if (rest.starts_with('%')) {
      report.add(Code::kYamlFeature, {.line = line}, "YAML directives are not supported; remove the line");
      return false;
    }
    const auto end = rest.find('\n');
    if (end == std::string_view::npos) return true;
    rest.remove_prefix(end + 1);
  }
}

char byte_at(std::string_view text, const Position& at) {
  for (std::uint32_t line = 1; line < at.line; ++line) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return '\0';
    text.remove_prefix(end + 1);
  }
  return at.column <= text.size() ? text[at.column - 1] : '\0';
}

void report_syntax(std::string_view text, const YAML::Exception& error, Report& report) {
  const auto at = position(error.mark);
  if (byte_at(text, at) == '*' || byte_at(text, {at.line, at.column - (at.column > 1 ? 1U : 0U)}) == '*')
    report.add(Code::kYamlFeature, at, "an unquoted * starts a YAML alias; quote names that start with *");
  else
    report.add(Code::kSyntax, at, "not valid YAML: " + error.msg);
}

}  // namespace

std::optional<Node> read_yaml(std::string_view text, Report& report) {
  if (!is_acceptable_text(text, report)) return std::nullopt;
  std::istringstream input{std::string{text}};
  Builder builder{report};
  try {
    YAML::Parser parser{input};
    if (!parser.HandleNextDocument(builder)) {
      report.add(Code::kMissingKey, {}, "the file is empty; a policy needs at least `version` and `name`");
      return std::nullopt;
    }
    Node root = builder.take();
    Report ignored{"", ""};
    Builder second{ignored};
    if (parser.HandleNextDocument(second)) {
      report.add(Code::kYamlFeature, second.take().at,
                 "a second YAML document begins here; a file holds one policy");
      return std::nullopt;
    }
    return root;
  } catch (const TooDeep&) {
    return std::nullopt;
  } catch (const YAML::Exception& error) {
    report_syntax(text, error, report);
    return std::nullopt;
  }
}

}  // namespace cordon::policy
