// What the tools have in common: loading, and findings as JSON.
#include <cstdio>
#include <cstring>
#include <tuple>

#include "app/policy_loader.h"
#include "app/policy_tools.h"
#include "policy/builtin.h"

namespace cordon::app {
namespace {

bool starts_by(const policy::Position& position, const policy::Position& limit) {
  return std::tie(position.line, position.column) <= std::tie(limit.line, limit.column);
}

std::string escaped(std::string_view token) {
  std::string out;
  for (const char c : token) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

// Depth is the reader's to bound. What comes later in the file counts, and of what starts at one place the
// innermost.
void find_last(const policy::Node& node, const std::string& path, policy::Position at, std::string& best) {
  if (node.kind != policy::Node::Kind::kList && node.kind != policy::Node::Kind::kMap) return;
  const bool is_map = node.kind == policy::Node::Kind::kMap;
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const policy::Position& start = is_map ? node.keys[i].at : node.items[i].at;
    if (!starts_by(start, at)) return;
    best = path + "/" + (is_map ? escaped(node.keys[i].text) : std::to_string(i));
    if (starts_by(node.items[i].at, at)) find_last(node.items[i], std::string{best}, at, best);
  }
}

std::vector<std::string> files_of_start(const std::vector<std::string>& given) {
  RunOptions start;
  start.policy_files = given;
  return PolicyFiles{start}.current();
}

}  // namespace

LoadedFiles load_for_tools(const FileChoice& files, bool published) {
  LoadedFiles out;
  const auto paths = files.exactly ? files.files : files_of_start(files.files);
  if (paths.empty()) {
    std::fputs("cordon: no policy file: this is the built-in policy internet-only\n", stderr);
    out.loaded.policy =
        published ? policy::builtin_internet_only_published() : policy::builtin_internet_only();
    return out;
  }
  for (const auto& path : paths) out.sources.push_back(policy::read_and_parse(path));
  out.loaded = policy::assemble(out.sources, 1);
  return out;
}

std::string pointer_at(const policy::Node& document, policy::Position at) {
  std::string best;
  find_last(document, "", at, best);
  return best;
}

Json to_json(const policy::Diagnostic& diagnostic, const std::vector<policy::ParsedSource>& sources) {
  Json out;
  out.add("path", diagnostic.path);
  out.add("line", diagnostic.at.line);
  out.add("column", diagnostic.at.column);
  out.add("length", diagnostic.at.length);
  out.add("code", "P" + std::to_string(static_cast<unsigned>(diagnostic.code)));
  out.add("severity", is_warning(diagnostic.code) ? "warning" : "error");
  out.add("message", diagnostic.message);
  Json pointer;
  for (const auto& source : sources)
    if (source.path == diagnostic.path && source.document) {
      pointer = pointer_at(*source.document, diagnostic.at);
      break;
    }
  out.add("pointer", std::move(pointer));
  return out;
}

int fail_tool(const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "cordon: %s\n", message.c_str());
  return kToolFailed;
}

int finish_output(int status) {
  if (std::ferror(stdout) == 0 && std::fflush(stdout) == 0) return status;
  return fail_tool(std::string{"cannot write the output: "} + std::strerror(errno));
}

}  // namespace cordon::app
