// Encoding: an integer is a varint (seven bits a byte, low ones first); a string its length and its bytes; a
// list its count and its elements. A file is kFileMark, text, diagnostics, and one byte that says whether a
// tree follows; a bundle is kBundleMark and a list of names and files.
#include "policy/parsed_source.h"

#include <algorithm>
#include <array>

#include "policy/yaml_reader.h"

namespace cordon::policy {
namespace {

constexpr std::uint64_t kFileMark = 0x31667063;    // "cpf1"
constexpr std::uint64_t kBundleMark = 0x31627063;  // "cpb1"
constexpr std::size_t kMaxPath = 4096;
constexpr std::size_t kMaxMessage = 1024;
constexpr std::size_t kMaxDiagnostics = Report::kMaxErrors + Report::kMaxWarnings + 1;
constexpr std::uint64_t kMaxPlace = kMaxPolicyBytes + 2;
constexpr std::uint64_t kMaxUnderlined = 512;
constexpr unsigned kQuotedBit = 4;  // beside the kind
static_assert((kMaxEncodedBytes + kMaxPath + 16) * PolicySet::kMaxFiles <= kMaxBundleBytes);

class Writer {
 public:
  void number(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7U) out_ += static_cast<char>((value & 0x7fU) | 0x80U);
    out_ += static_cast<char>(value);
  }
  void text(std::string_view value) {
    number(value.size());
    out_ += value;
  }
  void position(const Position& at) {
    number(at.line);
    number(at.column);
    number(at.length);
  }
  void node(const Node& node) {
    ++nodes_;
    number(static_cast<unsigned>(node.kind) | (node.quoted ? kQuotedBit : 0U));
    position(node.at);
    switch (node.kind) {
      case Node::Kind::kNull: return;
      case Node::Kind::kScalar: return text(node.text);
      case Node::Kind::kList:
      case Node::Kind::kMap: break;
    }
    number(node.items.size());
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      if (node.kind == Node::Kind::kMap) this->node(node.keys.at(i));
      this->node(node.items[i]);
    }
  }
  [[nodiscard]] std::size_t nodes() const { return nodes_; }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  std::string out_;
  std::size_t nodes_ = 0;
};

// What is wrong with the bytes. Thrown nowhere: the first fault is kept, and from then on every value is
// zero, so that each loop ends.
class Reader {
 public:
  explicit Reader(base::Bytes bytes) : rest_(bytes) {}

  std::uint64_t number(std::uint64_t most, const char* what) {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
      if (rest_.empty()) return fail("is cut short");
      const auto byte = std::to_integer<std::uint8_t>(rest_.front());
      rest_ = rest_.subspan(1);
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value <= most ? value : fail(what);
    }
    return fail(what);
  }
  base::Bytes bytes(std::size_t most, const char* what) {
    const auto size = number(most, what);
    if (size > rest_.size()) {
      fail("is cut short");
      return {};
    }
    const auto value = rest_.first(size);
    rest_ = rest_.subspan(size);
    return value;
  }
  std::string text(std::size_t most, const char* what) {
    const auto value = bytes(most, what);
    std::string text(value.size(), '\0');
    std::ranges::transform(value, text.begin(), [](std::byte b) { return static_cast<char>(b); });
    return text;
  }
  Position position() {
    Position at;
    at.line = static_cast<std::uint32_t>(number(kMaxPlace, "has a position out of range"));
    at.column = static_cast<std::uint32_t>(number(kMaxPlace, "has a position out of range"));
    at.length = static_cast<std::uint32_t>(number(kMaxUnderlined, "has a position out of range"));
    if (at.line == 0 || at.column == 0 || at.length == 0) fail("has a position out of range");
    return at;
  }
  Node node(std::size_t depth) {
    Node node;
    if (++nodes_ > kMaxNodes) fail("has too many values");
    const auto head = number(kQuotedBit | 3U, "has a value of no kind");
    node.kind = static_cast<Node::Kind>(head & 3U);
    node.quoted = (head & kQuotedBit) != 0;
    node.at = position();
    if (node.quoted && node.kind != Node::Kind::kScalar) fail("has a value of no kind");
    if (node.kind == Node::Kind::kScalar) node.text = text(2 * kMaxPolicyBytes, "has too long a value");
    if (node.kind == Node::Kind::kList || node.kind == Node::Kind::kMap) children(node, depth);
    return node;
  }
  std::uint64_t fail(const char* what) {
    if (failure_ == nullptr) failure_ = what;
    rest_ = {};
    return 0;
  }
  void end() {
    if (!rest_.empty()) fail("goes on after its end");
  }
  [[nodiscard]] const char* failure() const { return failure_; }

 private:
  void children(Node& node, std::size_t depth) {
    if (depth == kMaxPolicyDepth) {
      fail("is nested too deep");
      return;
    }
    // Memory grows with what is really there, not with what a count claims.
    const auto count = number(kMaxNodes, "has too many values");
    for (std::uint64_t i = 0; i < count && failure_ == nullptr; ++i) {
      if (node.kind == Node::Kind::kMap) node.keys.push_back(this->node(depth + 1));
      node.items.push_back(this->node(depth + 1));
    }
  }

  base::Bytes rest_;
  const char* failure_ = nullptr;
  std::size_t nodes_ = 0;
};

bool is_known(std::uint64_t code) {
  return (code >= static_cast<std::uint64_t>(Code::kUnreadable) && code < 400);
}

// The reader's words, but our own name of the file, excerpts and order.
void read_diagnostics(Reader& in, ParsedSource& file) {
  Report report{file.path, file.text};
  std::optional<Diagnostic> rest;  // "and N more errors" closes the list
  const auto count = in.number(kMaxDiagnostics, "has too many messages");
  for (std::uint64_t i = 0; i < count && in.failure() == nullptr; ++i) {
    const auto code = in.number(0xffff, "has a message of no kind");
    if (!is_known(code)) in.fail("has a message of no kind");
    const Position at = in.position();
    std::string message = printable(in.text(kMaxMessage, "has too long a message"));
    if (i >= Report::kMaxErrors && code == static_cast<std::uint64_t>(Code::kTooMany))
      rest = Diagnostic{Code::kTooMany, file.path, {}, std::move(message), {}};
    else
      report.add(static_cast<Code>(code), at, std::move(message));
  }
  file.diagnostics = report.take();
  if (rest) file.diagnostics.push_back(std::move(*rest));
}

ParsedSource decode(std::string path, base::Bytes bytes) {
  Reader in{bytes};
  ParsedSource file{.path = std::move(path), .text = {}, .document = {}, .diagnostics = {}};
  if (in.number(0xffffffff, "does not begin as one") != kFileMark) in.fail("does not begin as one");
  file.text = in.text(kMaxPolicyBytes + 1, "has too long a text");
  read_diagnostics(in, file);
  if (in.number(1, "neither has nor lacks a tree") == 1) file.document = in.node(0);
  in.end();
  if (in.failure() == nullptr && !file.document &&
      std::ranges::none_of(file.diagnostics, [](const auto& d) { return !is_warning(d.code); }))
    in.fail("has nothing in it");
  if (in.failure() == nullptr) return file;
  return unreadable(std::move(file.path),
                    std::string{"the answer of the process that reads it "} + in.failure());
}

}  // namespace

ParsedSource unreadable(std::string path, std::string why, Code code) {
  ParsedSource file{.path = std::move(path), .text = {}, .document = {}, .diagnostics = {}};
  file.diagnostics.push_back({code, file.path, {}, std::move(why), {}});
  return file;
}

std::string encode(const ParsedSource& file) {
  Writer out;
  out.number(kFileMark);
  out.text(std::string_view{file.text}.substr(0, kMaxPolicyBytes + 1));
  const auto count = std::min(file.diagnostics.size(), kMaxDiagnostics);
  out.number(count);
  for (const Diagnostic& d : std::span{file.diagnostics}.first(count)) {
    out.number(static_cast<std::uint64_t>(d.code));
    out.position(d.at);
    out.text(std::string_view{d.message}.substr(0, kMaxMessage));
  }
  out.number(file.document ? 1 : 0);
  if (file.document) out.node(*file.document);
  const bool fits = out.nodes() <= kMaxNodes;
  std::string bytes = out.take();
  if (fits && bytes.size() <= kMaxEncodedBytes) return bytes;
  return encode(unreadable(file.path, "the file has too many values for a policy", Code::kTooMany));
}

std::string encode_bundle(std::span<const EncodedFile> files) {
  Writer out;
  out.number(kBundleMark);
  out.number(files.size());
  for (const EncodedFile& file : files) {
    out.text(std::string_view{file.path}.substr(0, kMaxPath));
    out.text(file.bytes);
  }
  return out.take();
}

std::expected<std::vector<ParsedSource>, std::string> decode_bundle(base::Bytes bytes) {
  if (bytes.size() > kMaxBundleBytes) return std::unexpected("the bundle is too large");
  Reader in{bytes};
  if (in.number(0xffffffff, "does not begin as one") != kBundleMark) in.fail("does not begin as one");
  std::vector<ParsedSource> files;
  const auto count = in.number(PolicySet::kMaxFiles, "has too many files");
  for (std::uint64_t i = 0; i < count && in.failure() == nullptr; ++i) {
    std::string path = in.text(kMaxPath, "has too long a name");
    files.push_back(decode(std::move(path), in.bytes(kMaxEncodedBytes, "has too long an answer")));
  }
  in.end();
  if (in.failure() != nullptr) return std::unexpected(std::string{"the bundle "} + in.failure());
  return files;
}

}  // namespace cordon::policy
