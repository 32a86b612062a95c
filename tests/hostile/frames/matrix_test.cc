// Every row of frames behind every kind of link, with all oracles after each.
#include <sys/stat.h>

#include "tests/hostile/frames/lab.h"

namespace cordon::hostile {
namespace {

bool may(Says says, Kind kind) {
  switch (says) {
    case Says::kNothing: return false;
    case Says::kError: return kind == Kind::kError;
    case Says::kReset: return kind == Kind::kReset;
    case Says::kAnswer: return kind == Kind::kArp || kind == Kind::kDiscovery || kind == Kind::kEcho;
  }
  return false;
}

std::string described(const Totals& before, const Totals& after) {
  std::string out;
  for (std::size_t i = 0; i < plane::kCounters; ++i)
    if (plane::is_frame_outcome(static_cast<Counter>(i)) && after[i] != before[i])
      out += std::string(plane::name(static_cast<Counter>(i))) + "=" + std::to_string(after[i] - before[i]) +
             " ";
  return out;
}
std::string described(const Row& row) {
  Totals none{}, all{};
  for (const auto& [counter, count] : row.outcomes) all[static_cast<std::size_t>(counter)] += count;
  return described(none, all);
}

void run(const Row& row, const Way& way) {
  auto bench = way.make();
  for (const Frame& frame : row.frames)
    if (!bench->carries(frame)) return;
  if (row.verifies && !bench->verifies()) return;
  CAPTURE(row.id);
  CAPTURE(row.what);
  CAPTURE(way.name);
  Lab lab(std::move(bench));
  Honest honest(lab);
  const std::size_t descriptors = open_descriptors();
  const Totals before = lab.totals();
  lab.send(row.frames);
  CHECK(described(before, lab.totals()) == described(row));
  CHECK(lab.asked == row.asked);
  for (const Seen& seen : lab.take()) {
    CAPTURE(static_cast<int>(seen.kind));
    CHECK(may(row.says, seen.kind));
  }
  lab.check_conservation();
  honest.go_on();
  for (int i = 0; i < 4; ++i) {
    lab.pass(20s);
    honest.go_on();
  }
  CHECK(lab.worker.live_flows() == 2);
  CHECK(open_descriptors() == descriptors);
  lab.check_conservation();
}

}  // namespace

TEST_CASE("hostile frames: every row, behind every link") {
  const auto rows = all_rows({});
  CHECK(rows.size() > 150);
  for (const Row& row : rows)
    for (const Way& way : kWays) run(row, way);
}

}  // namespace cordon::hostile
