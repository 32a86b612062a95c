#include "policy/parsed_source.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "policy/yaml_reader.h"
#include "tests/policy/testing.h"

namespace cordon::policy {
namespace {

using Decoded = std::expected<std::vector<ParsedSource>, std::string>;

Decoded decode(const std::string& bytes) { return decode_bundle(base::as_bytes(bytes.data(), bytes.size())); }
std::string bundle_of(std::initializer_list<EncodedFile> files) {
  return encode_bundle(std::vector<EncodedFile>{files});
}
std::string bundle_of(std::string_view text) {
  return bundle_of({EncodedFile{"a.yaml", encode(parse({"ignored", std::string{text}}))}});
}

void check_same(const Node& a, const Node& b) {
  CHECK(a.kind == b.kind);
  CHECK(a.quoted == b.quoted);
  CHECK(a.text == b.text);
  CHECK(a.at.line == b.at.line);
  CHECK(a.at.column == b.at.column);
  CHECK(a.at.length == b.at.length);
  REQUIRE(a.keys.size() == b.keys.size());
  REQUIRE(a.items.size() == b.items.size());
  for (std::size_t i = 0; i < a.keys.size(); ++i) check_same(a.keys[i], b.keys[i]);
  for (std::size_t i = 0; i < a.items.size(); ++i) check_same(a.items[i], b.items[i]);
}

std::string many_errors() {
  std::string text = "version: 1\nname: test\n";
  for (int i = 0; i < 150; ++i) text += "k" + std::to_string(i) + ": &a x\n";
  return text;
}

}  // namespace

TEST_CASE("bundle: every kind of file comes out as it went in") {
  struct Case {
    std::string_view name;
    std::string text;
  };
  const Case cases[] = {
      {"good", testing::file({"allow: internet, ports: [443/tcp, \"80\"]", "deny: 192.0.2.0/24"})},
      {"empty", ""},
      {"not YAML", "version: 1\n  name: [\n"},
      {"an alias", "version: *a\n"},
      {"errors beside a tree", "version: 1\nname: &x test\nname: again\n"},
      {"more errors than are shown", many_errors()},
      {"not UTF-8", "version: \xff\n"},
      {"too large", std::string(kMaxPolicyBytes + 1, ' ')},
      {"quoted, null and nested", "a: \"1\"\nb:\nc: [[], {}, [[x]], ~]\n? [k]\n: v\n"},
      {"a value longer than its text", "a: \"" + std::string(1000, 'x') + "\\L\\L\\L\"\n"},
      {"control bytes", "a: \x1b]0;x\x07\nb\n"},
  };
  for (const Case& row : cases) {
    CAPTURE(row.name);
    const ParsedSource before = parse({"a.yaml", row.text});
    auto after = decode(bundle_of(row.text));
    REQUIRE(after.has_value());
    REQUIRE(after->size() == 1);
    const ParsedSource& file = after->front();
    CHECK(file.path == "a.yaml");
    CHECK(file.text == before.text);
    CHECK(render(file.diagnostics) == render(before.diagnostics));
    REQUIRE(file.document.has_value() == before.document.has_value());
    if (file.document) check_same(*file.document, *before.document);
    CHECK(render(assemble(std::move(*after), 1).diagnostics) ==
          render(load(std::array{Source{"a.yaml", row.text}}).diagnostics));
  }
}

TEST_CASE("bundle: the shipped policies are the same policy by either way") {
  std::size_t seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator{CORDON_SOURCE_DIR "/policies"}) {
    if (entry.path().extension() != ".yaml") continue;
    CAPTURE(entry.path().string());
    std::ostringstream text;
    text << std::ifstream{entry.path()}.rdbuf();
    const auto direct = load(std::array{Source{"a.yaml", text.str()}});
    auto files = decode(bundle_of(text.str()));
    REQUIRE(files.has_value());
    const auto carried = assemble(std::move(*files), 1);
    CHECK(render(carried.diagnostics) == render(direct.diagnostics));
    REQUIRE(carried.policy.has_value() == direct.policy.has_value());
    if (direct.policy) CHECK(carried.policy->hash() == direct.policy->hash());
    ++seen;
  }
  CHECK(seen >= 5);
}

TEST_CASE("bundle: an unreadable file, several files and none") {
  auto files =
      decode(bundle_of({{"a.yaml", encode(parse({"", testing::file({"allow: internet"})}))},
                        {"b.yaml", encode(unreadable("whatever", "cannot open the file: No such file"))}}));
  REQUIRE(files.has_value());
  REQUIRE(files->size() == 2);
  const auto loaded = assemble(std::move(*files), 1);
  CHECK_FALSE(loaded.policy.has_value());
  CHECK(render(loaded.diagnostics) == "b.yaml:1:1: error P100: cannot open the file: No such file\n");
  const auto none = decode(bundle_of({}));
  REQUIRE(none.has_value());
  CHECK(none->empty());
}

TEST_CASE("bundle: what a reader says is shown, never obeyed") {
  ParsedSource file;
  file.path = "/etc/passwd";
  file.text = "a: \x1b[2J\n";
  file.diagnostics.push_back({Code::kSyntax, "/etc/passwd", {1, 4, 1}, "evil \x1b]0;owned\x07", "\x1b[1m"});
  const auto files = decode(bundle_of({{"tenant.yaml", encode(file)}}));
  REQUIRE(files.has_value());
  CHECK(render(files->front().diagnostics) ==
        "tenant.yaml:1:4: error P101: evil ?]0;owned?\n    1 | a: ?[2J\n      |    ^\n");
}

TEST_CASE("bundle: answers that are wrong make the file unreadable and harm no other") {
  struct Case {
    std::string_view name;
    std::string bytes;
    std::string_view says;
  };
  const std::string good = encode(parse({"", testing::file({"allow: internet"})}));
  const std::string head =
      encode(ParsedSource{}).substr(0, 5) + std::string("\0\0", 2);  // no text, no messages
  const auto node = [&](std::string_view body) { return head + "\x01" + std::string{body}; };
  std::string nested;
  for (int i = 0; i < 9; ++i) nested += "\x02\x01\x01\x01\x01";  // a list of one list
  nested += std::string("\0\x01\x01\x01", 4);
  const Case cases[] = {
      {"nothing", "", "is cut short"},
      {"text", "version: 1\n", "does not begin as one"},
      {"neither tree nor error", head + std::string(1, '\0'), "has nothing in it"},
      {"bytes after the end", good + "x", "goes on after its end"},
      {"cut in the middle", good.substr(0, good.size() / 2), "is cut short"},
      {"nine levels", node(nested), "is nested too deep"},
      {"a kind that is none", node("\x09\x01\x01\x01"), "has a value of no kind"},
      {"a quoted list", node(std::string("\x06\x01\x01\x01\0", 5)), "has a value of no kind"},
      {"line 0", node(std::string("\0\0\x01\x01", 4)), "has a position out of range"},
      {"column 0", node(std::string("\0\x01\0\x01", 4)), "has a position out of range"},
      {"length 0", node(std::string("\0\x01\x01\0", 4)), "has a position out of range"},
      {"a line beyond any file", node(std::string("\0\xff\xff\xff\x01\x01\x01", 7)),
       "has a position out of range"},
      {"a count beyond the end", node("\x02\x01\x01\x01\xff\xff\x03"), "is cut short"},
      {"a count beyond reason", node("\x02\x01\x01\x01\xff\xff\xff\xff\x0f"), "has too many values"},
      {"a varint without end", node("\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "has a value of no kind"},
      {"a text longer than the rest",
       node("\x01\x01\x01\x01\x7f"
            "x"),
       "is cut short"},
  };
  for (const Case& row : cases) {
    CAPTURE(row.name);
    auto files = decode(bundle_of({{"a.yaml", good}, {"b.yaml", row.bytes}}));
    REQUIRE(files.has_value());
    REQUIRE(files->size() == 2);
    CHECK(files->front().document.has_value());
    CHECK(render(files->back().diagnostics) ==
          "b.yaml:1:1: error P100: the answer of the process that reads it " + std::string{row.says} + "\n");
    CHECK_FALSE(assemble(std::move(*files), 1).policy.has_value());
  }
}

TEST_CASE("bundle: too much of anything") {
  CHECK_FALSE(decode(std::string(kMaxBundleBytes + 1, 'x')).has_value());
  const std::string good = encode(parse({"", testing::file({"allow: internet"})}));
  CHECK_FALSE(
      decode(encode_bundle(std::vector<EncodedFile>(PolicySet::kMaxFiles + 1, {"a", good}))).has_value());
  CHECK(decode(encode_bundle(std::vector<EncodedFile>(PolicySet::kMaxFiles, {"a", good}))).has_value());
  CHECK_FALSE(decode(bundle_of({{"a", std::string(kMaxEncodedBytes + 1, 'x')}})).has_value());
  // The largest files that YAML can make of 256 KiB stay within what a reader may write.
  for (const std::string_view unit : {"a,", "{},", "[],", "\"\",", "a: b,"}) {
    CAPTURE(unit);
    std::string text = unit == "a: b," ? "{" : "[";
    while (text.size() + unit.size() < kMaxPolicyBytes) text += unit;
    text += unit == "a: b," ? '}' : ']';
    const std::string bytes = encode(parse({"", text}));
    CHECK(bytes.size() <= kMaxEncodedBytes);
    const auto files = decode(bundle_of({{"a", bytes}}));
    REQUIRE(files.has_value());
    CHECK(render(files->front().diagnostics).find("the process that reads it") == std::string::npos);
  }
}

TEST_CASE("bundle: every truncation and every flipped bit gives an error or files, never a crash") {
  const std::string good =
      bundle_of({{"a.yaml", encode(parse({"", testing::file({"allow: internet, ports: [443/tcp]"})}))},
                 {"b.yaml", encode(parse({"", "version: 1\nname: &x t\n"}))}});
  REQUIRE(decode(good).has_value());
  for (std::size_t size = 0; size < good.size(); ++size)
    CHECK_FALSE(decode(good.substr(0, size)).has_value());
  std::size_t survived = 0;
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string flipped = good;
    flipped[bit / 8] = static_cast<char>(static_cast<unsigned char>(flipped[bit / 8]) ^ (1U << (bit % 8)));
    auto files = decode(flipped);
    if (!files) continue;
    ++survived;
    (void)render(assemble(std::move(*files), 1).diagnostics);
  }
  CHECK(survived > 0);
}

}  // namespace cordon::policy
