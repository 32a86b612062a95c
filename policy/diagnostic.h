// What the loader has to say about a file. Codes are stable and listed in docs/policy-reference.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/document.h"

namespace cordon::policy {

enum class Code : std::uint16_t {
  kUnreadable = 100,   // the file cannot be opened or read, is too large, or is not UTF-8 text
  kSyntax = 101,       // not YAML
  kYamlFeature = 102,  // YAML, but outside our subset
  kUnknownKey = 103,
  kDuplicateKey = 104,
  kMissingKey = 105,
  kWrongKind = 106,  // e.g. a list where a single value belongs
  kNotSupportedYet = 107,
  kTooMany = 108,  // files, rules, destinations, ports
  kVersion = 201,
  kBadName = 202,
  kDuplicateRule = 203,
  kBadChoice = 204,  // mode, refuse, log, reload, expect, ...
  kAllowOrDeny = 205,
  kBadDestination = 206,
  kHostBits = 207,
  kBadPrefixLength = 208,
  kNameDestination = 209,
  kOperatorOnly = 210,
  kBadPort = 211,
  kReversedRange = 212,
  kEmptyList = 213,
  kBadText = 214,  // description
  kBadLimit = 215,
  kNoMeaning = 216,        // a word, port or limit that can do nothing where it stands
  kRatesInTwoFiles = 217,  // in rules
  kTestFailed = 218,
  kBadTime = 219,       // until, expires
  kBadInterface = 220,  // host: uplinks
  kTenantPolicyRequired = 221,
  kBadTest = 222,      // a test that asks nothing, or too much
  kUnknownRule = 223,  // in a test
  kShadowed = 301,     // warnings from here
  kNeverReached = 302,
  kLooserLimit = 303,
  kPast = 304,  // until, expires
  kNothingLeft =
      306,  // `except` or `ports` leave nothing of a rule's places, or have nothing to do with them
  kRepeated = 307,
};
[[nodiscard]] constexpr bool is_warning(Code code) { return static_cast<std::uint16_t>(code) >= 300; }

struct Diagnostic {
  Code code = Code::kSyntax;
  std::string path;
  Position at;
  std::string message;
  std::string excerpt;  // the line of the file, made printable
};

// Two or three lines, each ended by a newline:
//   tenant.yaml:14:5: error P103: unknown key "port" in rule "web"; did you mean "ports"?
//      14 |     port: 443
//         |     ^~~~
[[nodiscard]] std::string render(const Diagnostic& diagnostic);
[[nodiscard]] std::string render(std::span<const Diagnostic> diagnostics);

// Collects what is found in one file, in order of position. A file that is wrong everywhere is not worth a
// message per byte: beyond the limit errors are only mentioned, warnings not even that.
class Report {
 public:
  static constexpr std::size_t kMaxErrors = 100;
  static constexpr std::size_t kMaxWarnings = 100;

  Report(std::string path, std::string_view text) : path_(std::move(path)), text_(text) {}
  // Goes on where another Report of the same file was taken.
  Report(std::string path, std::string_view text, std::vector<Diagnostic> found);
  void add(Code code, Position at, std::string message);
  [[nodiscard]] bool has_errors() const { return errors_ != 0; }
  [[nodiscard]] bool is_full() const { return errors_ >= kMaxErrors; }
  [[nodiscard]] std::vector<Diagnostic> take();

 private:
  std::string path_;
  std::string_view text_;
  std::vector<Diagnostic> found_;
  std::size_t errors_ = 0;
  std::size_t warnings_ = 0;
};

// Terminals must not obey what a file says: control bytes and broken UTF-8 become '?', one byte each, so that
// the caret stays under its column.
[[nodiscard]] std::string printable(std::string_view text);
// For text of a file inside a message: quoted, control bytes and broken UTF-8 escaped, long text cut.
[[nodiscard]] std::string quote(std::string_view text);
// `; did you mean "ports"?` or nothing.
[[nodiscard]] std::string did_you_mean(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace cordon::policy
