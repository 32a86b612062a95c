// `cordon policy check` and `cordon policy show`.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "app/policy_tools.h"
#include "policy/show.h"

namespace cordon::app {
namespace {

struct Counts {
  std::size_t errors = 0;
  std::size_t warnings = 0;
  std::size_t tests = 0;
  std::size_t failed_tests = 0;
};

// As written: a file with errors runs none of them.
std::size_t tests_in(const policy::ParsedSource& source) {
  if (!source.document) return 0;
  const policy::Node& document = *source.document;
  for (std::size_t i = 0; i < document.keys.size(); ++i)
    if (document.keys[i].text == "tests") return document.items[i].items.size();
  return 0;
}

Counts count(const LoadedFiles& files) {
  Counts counts;
  for (const auto& diagnostic : files.loaded.diagnostics) {
    ++(is_warning(diagnostic.code) ? counts.warnings : counts.errors);
    if (diagnostic.code == policy::Code::kTestFailed) ++counts.failed_tests;
  }
  for (const auto& source : files.sources) counts.tests += tests_in(source);
  return counts;
}

std::string plural(std::size_t n, const char* what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

std::string findings(const Counts& counts) {
  std::string out;
  const auto add = [&](std::size_t n, const std::string& text) {
    if (n != 0) out += (out.empty() ? "" : ", ") + text;
  };
  add(counts.errors, plural(counts.errors, "error"));
  add(counts.failed_tests, plural(counts.failed_tests, "failed test") + " among them");
  add(counts.warnings, plural(counts.warnings, "warning"));
  return out;
}

int status_of(const LoadedFiles& files, const Counts& counts, bool strict) {
  if (!files.loaded.policy) return kToolFailed;
  return strict && counts.warnings != 0 ? kToolNo : kToolFine;
}

unsigned terminal_width() {
  winsize size{};
  constexpr unsigned kUsual = 100;
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0 ? size.ws_col : kUsual;
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

}  // namespace

Json check_report(const LoadedFiles& files) {
  const Counts counts = count(files);
  Json tests;
  tests.add("count", counts.tests);
  tests.add("failed", counts.failed_tests);
  Json::Array paths;
  for (const auto& source : files.sources) paths.emplace_back(source.path);
  Json::Array diagnostics;
  for (const auto& diagnostic : files.loaded.diagnostics)
    diagnostics.push_back(to_json(diagnostic, files.sources));
  Json out;
  out.add("valid", files.loaded.policy.has_value());
  out.add("errors", counts.errors);
  out.add("warnings", counts.warnings);
  out.add("tests", std::move(tests));
  out.add("hash", files.loaded.policy ? Json{files.loaded.policy->hash()} : Json{});
  out.add("files", std::move(paths));
  out.add("diagnostics", std::move(diagnostics));
  return out;
}

int check_policy(const PolicyCheckOptions& options) {
  const LoadedFiles files = load_for_tools(options.policy);
  const Counts counts = count(files);
  const int status = status_of(files, counts, options.strict);
  if (options.json) {
    print(check_report(files).dump() + "\n");
    return finish_output(status);
  }
  std::fputs(policy::render(files.loaded.diagnostics).c_str(), stderr);
  if (!files.loaded.policy) {
    std::fprintf(stderr, "%s\n", findings(counts).c_str());
    return kToolFailed;
  }
  std::string line = files.sources.empty() ? "built-in policy" : plural(files.sources.size(), "file");
  line += ": valid";
  if (counts.tests != 0) line += ", " + plural(counts.tests, "test") + " passed";
  if (counts.warnings != 0) line += ", " + findings(counts);
  print(line + "\n");
  return finish_output(status);
}

int show_policy(const PolicyShowOptions& options) {
  const LoadedFiles files = load_for_tools(options.policy);
  if (!files.loaded.policy && options.json) {
    print(check_report(files).dump() + "\n");
    return finish_output(kToolFailed);
  }
  std::fputs(policy::render(files.loaded.diagnostics).c_str(), stderr);
  if (!files.loaded.policy) return kToolFailed;
  const auto now = base::wall_now();
  if (options.json)
    print(policy::show_json(*files.loaded.policy, now) + "\n");
  else
    print(policy::show_table(*files.loaded.policy, {.now = now, .width = terminal_width()}));
  return finish_output(kToolFine);
}

}  // namespace cordon::app
