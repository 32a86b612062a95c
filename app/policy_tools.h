// `cordon policy`: the tools on the engine that enforces. Each returns the exit status:
//   0  check: valid; explain: allowed; show, snapshot: printed
//   1  check --strict: warnings; explain: denied
//   2  a mistake in the files, or the answer could not be found or written
// Findings about files go to stderr as a compiler's do, results to stdout; with --json everything is one
// document on stdout.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "app/host_view.h"
#include "app/json.h"
#include "app/options.h"
#include "policy/explain.h"
#include "policy/load.h"
#include "policy/parsed_source.h"

namespace cordon::app {

inline constexpr int kToolFine = 0;
inline constexpr int kToolNo = 1;
inline constexpr int kToolFailed = 2;

[[nodiscard]] int check_policy(const PolicyCheckOptions& options);
[[nodiscard]] int show_policy(const PolicyShowOptions& options);
[[nodiscard]] int explain_flow(const PolicyExplainOptions& options);
[[nodiscard]] int print_snapshot();

// What the files say, read once.
struct LoadedFiles {
  std::vector<policy::ParsedSource> sources;  // empty: the built-in policy
  policy::Loaded loaded;
};
// `published`: of the built-in policies the one for a start with -t or -u.
[[nodiscard]] LoadedFiles load_for_tools(const FileChoice& files, bool published = false);
// {"path", "line", "column", "length", "code", "severity", "message", "pointer"}
[[nodiscard]] Json to_json(const policy::Diagnostic& diagnostic,
                           const std::vector<policy::ParsedSource>& sources);
// RFC 6901; of the key or value that stands at `at`, or else of the last one before.
[[nodiscard]] std::string pointer_at(const policy::Node& document, policy::Position at);

// What `check` found, as its --json prints it.
[[nodiscard]] Json check_report(const LoadedFiles& files);

// The kernel's word about one address.
struct KernelAnswer {
  net::IpAddress address;
  bool embedded = false;  // inside of the destination: NAT64, 6to4, ...
  policy::AddressFacts facts;
  netlink::FibAnswer route;
  std::string interface;  // the route's; "" without one
};
struct Explained {
  flow::Tuple tuple;
  std::optional<net::IpAddress> dialed;  // by --map, and decided about
  policy::Explanation walk;
  std::vector<KernelAnswer> kernel;  // none for the name server
  std::vector<std::string> uplinks;
};
// The decision of the broker about this flow, on `host` and at `now`.
[[nodiscard]] Explained explain_on(const policy::PolicySet& policy, const PolicyExplainOptions& options,
                                   HostSource& host, base::WallTime now);

// Flushes stdout; a full disk or a closed pipe is no success.
[[nodiscard]] int finish_output(int status);
int fail_tool(const std::string& message);

}  // namespace cordon::app
