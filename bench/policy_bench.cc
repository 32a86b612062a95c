// policy_bench: what loading a policy and deciding by it cost, for 10 to 10,000 rules. Prints Markdown
// tables. Times are this thread's processor time, the lowest of several rounds for loading and medians for
// deciding, so that a busy machine matters little. What YAML costs is yaml-cpp's and has a column of its own.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "policy/compile.h"
#include "policy/decide.h"
#include "policy/file_tests.h"
#include "policy/lint.h"
#include "policy/load.h"
#include "policy/parsed_source.h"
#include "policy/print.h"
#include "policy/rule_index.h"

using namespace cordon;
using namespace cordon::policy;

namespace {

constexpr std::size_t kRulesPerFile = 2500;  // what 256 KiB of YAML hold
constexpr int kRounds = 7;
constexpr int kBatches = 400;
constexpr int kBatch = 256;

double now_ns() {
  timespec ts{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
  return static_cast<double>(ts.tv_sec) * 1e9 + static_cast<double>(ts.tv_nsec);
}

// Milliseconds; the lowest of the rounds.
double lowest_ms(const std::function<void()>& work) {
  double best = 1e12;
  for (int i = 0; i < kRounds; ++i) {
    const double start = now_ns();
    work();
    best = std::min(best, now_ns() - start);
  }
  return best / 1e6;
}

volatile std::size_t g_allowed = 0;  // so that no decision is optimised away

using Random = std::mt19937;
unsigned below(Random& random, unsigned n) {
  return std::uniform_int_distribution<unsigned>{0, n - 1}(random);
}

std::string prefix_of(Random& random) {
  const auto octet = [&] { return std::to_string(below(random, 256)); };
  switch (below(random, 6)) {
    case 0: return "10." + octet() + "." + octet() + ".0/24";
    case 1: return "93." + octet() + "." + octet() + "." + octet();
    case 2: return "172." + std::to_string(16 + below(random, 16)) + ".0.0/16";
    case 3: return "\"2606:" + std::to_string(below(random, 10000)) + "::/48\"";
    case 4: return "198." + std::to_string(20 + below(random, 30)) + "." + octet() + ".0/24";
    default: return "internet";
  }
}

// Rule 0, the middle and the last one of the last file are found by an address of their own; the files before
// it let those, and all that only the last one decides, through.
std::string file_text(Random& random, std::size_t rules, bool is_last) {
  std::string out = "version: 1\nname: bench\nrefuse: reject\negress:\n";
  for (std::size_t i = 0; i < rules; ++i) {
    std::string what = "allow: " + prefix_of(random);
    if (below(random, 4) == 0) what = "deny: " + prefix_of(random);
    what += ", ports: tcp/" + std::to_string(1000 + below(random, 5000));
    if (below(random, 10) == 0) what += ", except: 93.1.1.0/24";
    if (is_last && i == 0) what = "allow: 203.0.113.1";
    if (is_last && i == rules / 2) what = "allow: 203.0.113.2";
    if (is_last && i + 1 == rules) what = "allow: 203.0.113.3";
    if (!is_last && i + 1 == rules) what = "allow: [any, 203.0.113.0/24]";
    out += "- {name: r" + std::to_string(i) + ", " + what + "}\n";
  }
  return out + "tests: [{to: 203.0.113." + (is_last ? "1" : "2") + ", port: tcp/443, expect: allow}]\n";
}

std::vector<Source> sources_of(std::size_t rules) {
  Random random{static_cast<unsigned>(rules)};
  std::vector<Source> out;
  for (std::size_t left = rules; left != 0;) {
    const std::size_t here = std::min(left, kRulesPerFile);
    left -= here;
    out.push_back({"f" + std::to_string(out.size()) + ".yaml", file_text(random, here, left == 0)});
  }
  return out;
}

void bench_loading(std::size_t rules) {
  const auto sources = sources_of(rules);
  std::vector<ParsedSource> parsed;
  std::vector<Ruleset> files;
  std::vector<Diagnostic> warnings;
  const double yaml = lowest_ms([&] {
    parsed.clear();
    for (const Source& source : sources) parsed.push_back(parse(source));
  });
  const double whole = lowest_ms([&] {
    const auto loaded = assemble(parsed, 1);
    if (!loaded.policy) std::fputs(render(loaded.diagnostics).c_str(), stderr);
    files.assign(loaded.policy->files().begin(), loaded.policy->files().end());
  });
  const double copying = lowest_ms([&] { auto copy = parsed; });
  const double lint = lowest_ms([&] {
    for (std::size_t i = 0; i < files.size(); ++i) {
      Report report{sources[i].path, sources[i].text};
      report_shadowed(files[i], report);
    }
  });
  const double tests = lowest_ms([&] {
    for (std::size_t i = 0; i < files.size(); ++i) {
      Report report{sources[i].path, sources[i].text};
      run_tests(files[i], WallTime::min(), report);
    }
  });
  std::size_t bytes = 0;
  const double index = lowest_ms([&] {
    bytes = 0;
    for (const Ruleset& file : files)
      if (RuleIndex::pays(file.egress))
        if (const auto one = RuleIndex::build(file.egress, Direction::kEgress)) bytes += one->bytes();
  });
  const double set = lowest_ms([&] { PolicySet{files}; }) - lowest_ms([&] { auto copy = files; }) - index;
  const double compile = whole - copying - lint - tests - index - set;
  std::printf("| %6zu | %zu | %7.2f | %7.2f | %6.2f | %6.2f | %6.2f | %6.2f | %7.2f | %zu |\n", rules,
              files.size(), yaml, compile, lint, tests, index, set, yaml + whole - copying, bytes / 1024);
}

HostFacts routed() {
  return {.source_assigned = true,
          .now = WallTime{},
          .dial = {.fib = FibType::kUnicast, .has_gateway = true, .oif_is_uplink = true, .oif = 2}};
}

flow::Tuple flow_to(const std::string& address, unsigned port) {
  const auto remote = *net::parse_ip(address);
  const auto guest = *net::parse_ip(remote.is_v6() ? "fd00:c0:2d::15" : "10.0.2.15");
  return {
      flow::Protocol::kTcp, {guest, net::Port{40000}}, {remote, net::Port{static_cast<std::uint16_t>(port)}}};
}

// Median of nanoseconds for each decision.
double median_ns(const PolicySet& policy, const std::vector<flow::Tuple>& flows, int batches) {
  const HostFacts facts = routed();
  std::vector<double> times;
  std::size_t allowed = 0;
  std::size_t at = 0;
  for (int b = 0; b < batches; ++b) {
    const double start = now_ns();
    for (int i = 0; i < kBatch; ++i) {
      allowed += decide(policy, flows[at], facts).allow ? 1U : 0U;
      at = at + 1 == flows.size() ? 0 : at + 1;
    }
    times.push_back((now_ns() - start) / kBatch);
  }
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::ranges::nth_element(times, middle);
  g_allowed = allowed;
  return *middle;
}

void bench_deciding(std::size_t rules) {
  const auto loaded = load(sources_of(rules));
  const PolicySet& indexed = *loaded.policy;
  const PolicySet plain{{indexed.files().begin(), indexed.files().end()}, 1, Indexing::kNone};
  Random random{7};
  std::vector<flow::Tuple> mixed;
  for (int i = 0; i < 4096; ++i) {
    auto text = prefix_of(random);
    if (text == "internet") text = "151.101." + std::to_string(below(random, 256)) + ".7";
    std::erase(text, '"');
    text = text.substr(0, text.find('/'));
    mixed.push_back(flow_to(text, 1000 + below(random, 5000)));
  }
  const auto one = [&](const char* address) { return std::vector{flow_to(address, 443)}; };
  std::printf("| %6zu | %6.0f | %6.0f | %6.0f | %6.0f | %6.0f | %8.0f | %8.0f |\n", rules,
              median_ns(indexed, mixed, kBatches), median_ns(indexed, one("203.0.113.1"), kBatches),
              median_ns(indexed, one("203.0.113.2"), kBatches),
              median_ns(indexed, one("203.0.113.3"), kBatches),
              median_ns(indexed, one("203.0.113.4"), kBatches), median_ns(plain, mixed, 20),
              median_ns(plain, one("203.0.113.4"), 20));
}

}  // namespace

int main() {
  std::puts(
      "Loading, ms of processor time (YAML is yaml-cpp's part; all is from the files' text to the policy)\n");
  std::puts("| rules | files | YAML | compile | shadowed | tests | index | hash | all | index KiB |");
  std::puts("|---|---|---|---|---|---|---|---|---|---|");
  for (const std::size_t rules : {10U, 100U, 1000U, 10000U}) bench_loading(rules);
  std::puts("\nDeciding, ns (median)\n");
  std::puts(
      "| rules | mixed | first rule | middle | last | none | mixed, rule by rule | none, rule by rule |");
  std::puts("|---|---|---|---|---|---|---|---|");
  for (const std::size_t rules : {10U, 100U, 1000U, 10000U}) bench_deciding(rules);
}
