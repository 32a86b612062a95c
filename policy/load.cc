#include "policy/load.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <expected>
#include <iterator>
#include <system_error>

#include "core/base/fd.h"
#include "policy/compile.h"
#include "policy/lint.h"
#include "policy/yaml_reader.h"

namespace cordon::policy {
namespace {

std::string reason_of(int error) { return std::system_category().message(error); }

// At most one byte more than allowed: the reader then says that the file is too large.
std::expected<std::string, std::string> read_all(const std::string& path) {
  const base::Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY)};
  if (!fd) return std::unexpected("cannot open the file: " + reason_of(errno));
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return std::unexpected("cannot read the file: " + reason_of(errno));
  if (!S_ISREG(info.st_mode) && !S_ISFIFO(info.st_mode)) return std::unexpected("not a regular file");
  if (S_ISREG(info.st_mode) && (info.st_mode & S_IWOTH) != 0)
    return std::unexpected("everyone may write to this file; run chmod o-w on it");
  std::string text;
  std::array<char, 16384> chunk{};
  while (text.size() <= kMaxPolicyBytes) {
    const auto got = ::read(fd.get(), chunk.data(), chunk.size());
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

std::optional<Ruleset> load_one(const Source& source, FileRole role, std::vector<Diagnostic>& diagnostics) {
  Report report{source.path, source.text};
  std::optional<Ruleset> ruleset;
  if (const auto document = read_yaml(source.text, report))
    ruleset = compile(*document, source.path, role, report);
  append(diagnostics, report.take());
  return ruleset;
}

// What can only be seen with all files in hand.
bool fit_together(std::span<const Ruleset> files, std::span<const Source> sources,
                  std::vector<Diagnostic>& diagnostics) {
  bool good = true;
  for (std::size_t i = 0; i < files.size(); ++i) {
    Report report{sources[i].path, sources[i].text};
    check_rates(files, i, report);
    good = good && !report.has_errors();
    append(diagnostics, report.take());
  }
  return good;
}

template <class Item, class Open>
Loaded load_each(std::span<const Item> items, std::uint64_t generation, Open&& open) {
  Loaded out;
  if (items.size() > PolicySet::kMaxFiles) {
    out.diagnostics.push_back({Code::kTooMany,
                               "--policy",
                               {},
                               "given " + std::to_string(items.size()) + " times; " +
                                   std::to_string(PolicySet::kMaxFiles) + " is the most",
                               {}});
    return out;
  }
  std::vector<Ruleset> rulesets;
  std::vector<Source> sources;
  for (std::size_t i = 0; i < items.size(); ++i) {
    auto source = open(items[i]);
    if (!source) {
      out.diagnostics.push_back(source.error());
      continue;
    }
    if (auto one = load_one(*source, i == 0 ? FileRole::kOperator : FileRole::kTenant, out.diagnostics))
      rulesets.push_back(std::move(*one));
    sources.push_back(std::move(*source));
  }
  if (rulesets.size() == items.size() && fit_together(rulesets, sources, out.diagnostics))
    out.policy = PolicySet{std::move(rulesets), generation};
  return out;
}

}  // namespace

Loaded load(std::span<const Source> sources, std::uint64_t generation) {
  return load_each(sources, generation,
                   [](const Source& source) -> std::expected<Source, Diagnostic> { return source; });
}

Loaded load_files(std::span<const std::string> paths, std::uint64_t generation) {
  return load_each(paths, generation, [](const std::string& path) -> std::expected<Source, Diagnostic> {
    auto text = read_all(path);
    if (!text) return std::unexpected(Diagnostic{Code::kUnreadable, path, {}, text.error(), {}});
    return Source{path, std::move(*text)};
  });
}

}  // namespace cordon::policy
