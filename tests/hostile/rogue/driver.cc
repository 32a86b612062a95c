// Plays attacks through a captured translator and asks the oracles after each.
//
//   rogue_driver NAME=VALUE...     (Scene::World's members; rogue.sh gives them)
//
// Prints one line an attack and what was wrong at the end. With weak=1 the filter has holes, and the run
// passes when every leak was seen.
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <exception>

#include "tests/hostile/rogue/attack.h"

namespace cordon::rogue {
namespace {

#ifdef CORDON_SANITIZED
constexpr bool kSanitized = true;
constexpr std::size_t kGrowthKib = 256U << 10U;  // quarantine, shadow
#else
constexpr bool kSanitized = false;
constexpr std::size_t kGrowthKib = 12U << 10U;
#endif

bool is_one_of(std::string_view got, std::string_view alternatives) {
  while (!alternatives.empty()) {
    const auto end = alternatives.find('|');
    if (got == alternatives.substr(0, end)) return true;
    if (end == std::string_view::npos) return false;
    alternatives.remove_prefix(end + 1);
  }
  return false;
}

std::string_view to_string(flow::RefuseHow how) {
  switch (how) {
    case flow::RefuseHow::kReject: return "refused";
    case flow::RefuseHow::kDrop: return "refused silently";
    case flow::RefuseHow::kConnectionRefused: return "connection refused";
    case flow::RefuseHow::kHostUnreachable: return "host unreachable";
    case flow::RefuseHow::kNetworkUnreachable: return "network unreachable";
  }
  return "?";
}

class Driver {
 public:
  explicit Driver(const World& world) : world_(world), witness_(world.outside), scene_(world, witness_) {}

  int run() {
    if (!prepare()) return 1;
    const auto begin = Clock::now();
    if (world_.weak) {
      for (const Attack& attack : weak_attacks()) play(attack);
    } else {
      for (const auto table : {call_attacks(), memory_attacks(), option_attacks(), channel_attacks(),
                               flow_attacks(), revocation_attacks(), load_attacks(), last_attacks()})
        for (const Attack& attack : table) play(attack);
    }
    const auto took = std::chrono::duration<double>(Clock::now() - begin).count();
    std::printf("%d attacks in %.1f s, %d not as expected\n", played_, took, failed_);
    return failed_ == 0 && played_ > 0 ? 0 : 1;
  }

 private:
  bool prepare() {
    scene_.begin();
    // Twice: what the broker allocates once is then there.
    for (int i = 0; i < 2; ++i)
      if (!scene_.honest_flows() || !scene_.answer_time()) {
        std::printf("FAILED before the first attack: the allowed flows do not work\n");
        return false;
      }
    base_ = scene_.broker();
    return true;
  }

  std::string observe(const Attack& attack) {
    try {
      return attack.run(scene_);
    } catch (const Gone&) {
      return scene_.cause_of_end();
    } catch (const Refused& refused) {
      return std::string{to_string(refused.how)};
    } catch (const std::exception& error) {
      return std::string{"error: "} + error.what();
    }
  }

  std::string oracles(const Attack& attack) {
    std::string wrong;
    const auto note = [&wrong](const std::string& text) { wrong += (wrong.empty() ? "" : "; ") + text; };
    for (const std::string& leak : witness_.leaks()) note(leak);
    if (!attack.record.empty() && !world_.weak && !scene_.recorded(attack.record))
      note("not in the audit log: " + std::string{attack.record});
    if (::kill(world_.broker, 0) != 0) note("the broker is dead");
    const auto time = scene_.answer_time();
    if (!time) note("the broker does not answer its control socket");
    if (!scene_.honest_flows()) note("an allowed flow of a later connection does not work");
    if (played_ % 16 == 0 && !scene_.other_guest()) note("the other guest's network does not work");
    Scene::Broker now;
    if (!within(milliseconds{3000}, [&] {
          now = scene_.broker();
          return now.descriptors <= base_.descriptors;
        }))
      note("the broker has " + std::to_string(now.descriptors) + " descriptors, at first " +
           std::to_string(base_.descriptors));
    if (now.resident_kib > base_.resident_kib + kGrowthKib)
      note("the broker has grown from " + std::to_string(base_.resident_kib) + " to " +
           std::to_string(now.resident_kib) + " KiB");
    // What the honest flows have shown by accident.
    for (const std::string& leak : witness_.leaks()) note(leak);
    return wrong;
  }

  void play(const Attack& attack) {
    if (!world_.only.empty() && attack.name.find(world_.only) == std::string_view::npos &&
        attack.group != world_.only)
      return;
    if (attack.when == Attack::When::kLong && !world_.thorough) return;
    if (attack.when == Attack::When::kFiltered && kSanitized) return;
    scene_.begin();
    ++played_;
    const auto begin = Clock::now();
    const std::string got = observe(attack);
    const std::string wrong = oracles(attack);
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begin).count();
    const bool good = world_.weak ? wrong.find(attack.expected) != std::string::npos ||
                                        got.find(attack.expected) != std::string::npos
                                  : wrong.empty() && is_one_of(got, attack.expected);
    if (!good) ++failed_;
    std::printf("%-6s %-12.*s %-46.*s %s  (%lld ms)\n", good ? "ok" : "FAILED",
                static_cast<int>(attack.group.size()), attack.group.data(),
                static_cast<int>(attack.name.size()), attack.name.data(), got.c_str(),
                static_cast<long long>(took));
    if (!good)
      std::printf("       expected: %.*s%s%s\n", static_cast<int>(attack.expected.size()),
                  attack.expected.data(), wrong.empty() ? "" : "; oracles: ", wrong.c_str());
    else if (world_.weak)
      std::printf("       seen: %s\n", wrong.c_str());
    std::fflush(stdout);
  }

  const World& world_;
  Witness witness_;
  Scene scene_;
  Scene::Broker base_;
  int played_ = 0;
  int failed_ = 0;
};

World parse(std::span<char*> arguments) {
  World world;
  for (const std::string_view argument : arguments) {
    const auto equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    const std::string value{equals == std::string_view::npos ? "" : argument.substr(equals + 1)};
    const std::pair<std::string_view, std::string*> kTexts[] = {
        {"cordon", &world.cordon},   {"socket", &world.socket}, {"control", &world.control},
        {"audit", &world.audit},     {"log", &world.log},       {"policy", &world.policy},
        {"outside", &world.outside}, {"work", &world.work},     {"done", &world.done},
        {"only", &world.only}};
    const std::pair<std::string_view, pid_t*> kPids[] = {
        {"launcher", &world.launcher}, {"broker", &world.broker}, {"other", &world.other}};
    for (const auto& [known, place] : kTexts)
      if (known == name) *place = value;
    for (const auto& [known, place] : kPids)
      if (known == name) std::from_chars(value.data(), value.data() + value.size(), *place);
    if (name == "weak") world.weak = value == "1";
    if (name == "thorough") world.thorough = value == "1";
  }
  return world;
}

}  // namespace
}  // namespace cordon::rogue

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  const auto world = cordon::rogue::parse({argv + 1, static_cast<std::size_t>(argc - 1)});
  try {
    return cordon::rogue::Driver{world}.run();
  } catch (const std::exception& error) {
    std::printf("FAILED: %s\n", error.what());
    return 1;
  }
}
