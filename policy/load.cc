#include "policy/load.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <expected>
#include <iterator>
#include <system_error>

#include "core/base/error.h"
#include "policy/compile.h"
#include "policy/file_tests.h"
#include "policy/lint.h"
#include "policy/parsed_source.h"
#include "policy/source_file.h"
#include "policy/yaml_reader.h"

namespace cordon::policy {
namespace {

std::string reason_of(int error) { return std::system_category().message(error); }

constexpr base::Duration kPipeWait = std::chrono::seconds{5};

// At most one byte more than allowed: the reader then says that the file is too large.
std::expected<std::string, std::string> read_all(const std::string& path) {
  const SourceFile file = CORDON_TRY(open_source_file(path));
  if (file.is_pipe) CORDON_TRY(await_writer(file, kPipeWait));
  std::string text;
  std::array<char, 16384> chunk{};
  while (text.size() <= kMaxPolicyBytes) {
    const auto got = ::read(file.fd.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected("cannot read the file: " + reason_of(errno));
    if (got == 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return text;
}

void append(std::vector<Diagnostic>& all, std::vector<Diagnostic> more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

Position key_position(const Node& map, std::string_view key) {
  for (const Node& node : map.keys)
    if (node.text == key) return node.at;
  return map.at;
}

// What can only be seen with all files in hand.
bool fit_together(std::span<const Ruleset> rulesets, std::span<const ParsedSource> files,
                  std::vector<Diagnostic>& diagnostics) {
  bool good = true;
  if (!rulesets.empty() && rulesets.front().require_tenant_policy && rulesets.size() == 1) {
    Report report{files[0].path, files[0].text};
    report.add(Code::kTenantPolicyRequired, key_position(*files[0].document, "require_tenant_policy"),
               "this file requires another below it; give the tenant's file by a second --policy");
    good = false;
    append(diagnostics, report.take());
  }
  for (std::size_t i = 0; i < rulesets.size(); ++i) {
    Report report{files[i].path, files[i].text};
    check_rates(rulesets, i, report);
    good = good && !report.has_errors();
    append(diagnostics, report.take());
  }
  return good;
}

bool is_too_many(std::size_t files, std::vector<Diagnostic>& diagnostics) {
  if (files <= PolicySet::kMaxFiles) return false;
  diagnostics.push_back(
      {Code::kTooMany,
       "--policy",
       {},
       "given " + std::to_string(files) + " times; " + std::to_string(PolicySet::kMaxFiles) + " is the most",
       {}});
  return true;
}

template <class Item, class Parse>
Loaded load_each(std::span<const Item> items, std::uint64_t generation, Parse&& parse_item) {
  Loaded out;
  if (is_too_many(items.size(), out.diagnostics)) return out;
  std::vector<ParsedSource> files;
  for (const Item& item : items) files.push_back(parse_item(item));
  return assemble(std::move(files), generation);
}

}  // namespace

ParsedSource parse(Source source) {
  Report report{source.path, source.text};
  auto document = read_yaml(source.text, report);
  return {.path = std::move(source.path),
          .text = std::move(source.text),
          .document = std::move(document),
          .diagnostics = report.take()};
}

ParsedSource read_and_parse(const std::string& path) {
  auto text = read_all(path);
  if (text) return parse({path, std::move(*text)});
  return {.path = path, .diagnostics = {{Code::kUnreadable, path, {}, text.error(), {}}}};
}

Loaded assemble(std::vector<ParsedSource> files, std::uint64_t generation, base::WallTime now) {
  Loaded out;
  if (is_too_many(files.size(), out.diagnostics)) return out;
  std::vector<Ruleset> rulesets;
  for (std::size_t i = 0; i < files.size(); ++i) {
    ParsedSource& file = files[i];
    Report report{file.path, file.text, std::move(file.diagnostics)};
    if (file.document && !report.is_full())
      if (auto one =
              compile(*file.document, file.path,
                      i == 0 || file.built_in ? FileRole::kOperator : FileRole::kTenant, report, now)) {
        // As if nothing in the file had ended yet: time alone must not turn a good file into a bad one.
        run_tests(*one, base::WallTime::min(), report);
        if (!report.has_errors()) rulesets.push_back(std::move(*one));
      }
    append(out.diagnostics, report.take());
  }
  if (rulesets.size() == files.size() && fit_together(rulesets, files, out.diagnostics))
    out.policy = PolicySet{std::move(rulesets), generation};
  return out;
}

Loaded load(std::span<const Source> sources, std::uint64_t generation) {
  return load_each(sources, generation, [](const Source& source) { return parse(source); });
}

Loaded load_files(std::span<const std::string> paths, std::uint64_t generation) {
  return load_each(paths, generation, read_and_parse);
}

}  // namespace cordon::policy
