// hostile_messages [--count N] [--seed S] [--only channel|vhost]: N messages that mean harm, half of them
// from a taken-over translator to a live broker, half from a hostile vhost-user front end to the back end.
// The same seed says the same. Prints what became of them; afterwards descriptors, mappings and memory are
// where they were, or it fails.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/hostile/devices/baseline.h"
#include "tests/hostile/devices/storm.h"

using namespace cordon::hostile;

namespace {

struct Settings {
  std::uint64_t count = 30'000;
  std::uint64_t seed = 1;
  std::string only;
};
Settings& settings() {
  static Settings settings;
  return settings;
}

constexpr unsigned kPatience = 300;  // seconds without an end of a tenth: something hangs

template <class Storm>
void run(const char* name, Storm storm) {
  if (!settings().only.empty() && settings().only != name) return;
  const std::uint64_t count = settings().count / (settings().only.empty() ? 2 : 1);
  std::uint64_t sum = 0, lives = 0;
  std::map<std::string, std::uint64_t> outcomes, notes;
  double slowest = 0;
  std::size_t descriptors = 0, maps = 0, heap = 0;
  const auto begin = std::chrono::steady_clock::now();
  constexpr unsigned kParts = 10;
  for (unsigned part = 0; part < kParts; ++part) {
    ::alarm(kPatience);
    const std::uint64_t some = count * (part + 1) / kParts - count * part / kParts;
    const StormReport report = storm(some, settings().seed * 1000 + part);
    std::uint64_t told = 0;
    for (const auto& [what, times] : report.outcomes) {
      outcomes[what] += times;
      told += times;
    }
    for (const auto& [what, times] : report.notes) notes[what] += times;
    CHECK(told == some);
    sum += told;
    lives += report.lives;
    slowest = std::max(slowest, report.slowest_ms);
    if (part == 0) {  // whatever is made once is there now
      descriptors = *open_descriptors();
      maps = *memory_mappings();
      heap = heap_bytes();
    }
  }
  ::alarm(0);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("%s: %llu messages in %llu lives, %.1f s, slowest answer %.1f ms\n", name,
              static_cast<unsigned long long>(sum), static_cast<unsigned long long>(lives), seconds, slowest);
  for (const auto& [what, times] : outcomes)
    std::printf("  %8llu %s\n", static_cast<unsigned long long>(times), what.c_str());
  for (const auto& [what, times] : notes)
    std::printf("  %s: %llu\n", what.c_str(), static_cast<unsigned long long>(times));
  const std::size_t heap_now = heap_bytes();
  std::printf("  descriptors %zu -> %zu, mappings %zu -> %zu, heap %zu -> %zu KiB\n", descriptors,
              *open_descriptors(), maps, *memory_mappings(), heap >> 10U, heap_now >> 10U);
  CHECK(*open_descriptors() == descriptors);
  CHECK(*memory_mappings() == maps);
  CHECK(heap_now <= heap + (std::size_t{1} << 20U));
}

}  // namespace

TEST_CASE("hostile messages: a translator's, to a live broker") { run("channel", channel_storm); }
TEST_CASE("hostile messages: a front end's, to the vhost-user back end") { run("vhost", vhost_storm); }

int main(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--count")
      settings().count = std::strtoull(argv[i + 1], nullptr, 0);
    else if (name == "--seed")
      settings().seed = std::strtoull(argv[i + 1], nullptr, 0);
    else if (name == "--only")
      settings().only = argv[i + 1];
    else
      argc = 0;
  }
  if (argc % 2 == 0) {
    std::fputs("usage: hostile_messages [--count N] [--seed S] [--only channel|vhost]\n", stderr);
    return 2;
  }
  return doctest::Context{}.run();
}
