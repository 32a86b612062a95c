// Properties over whole transfers: every byte arrives once and in order, in both directions at the same time,
// both ends close cleanly, and it does not take for ever. Seeds are printed on failure.
#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "tests/tcp/model.h"

namespace cordon::tcp::test {
namespace {

struct Case {
  std::string_view name;
  Options options;
  Duration limit;
  std::uint32_t seeds = 8;
};

void run(const Case& c) {
  for (std::uint32_t seed = 1; seed <= c.seeds; ++seed) {
    Options options = c.options;
    options.seed = seed;
    CAPTURE(c.name);
    CAPTURE(seed);
    World world{options};
    CHECK(world.run(c.limit) == "");
  }
}

TEST_CASE("tcp transfer: a clean link carries both directions without resending a byte") {
  for (const bool sack : {true, false}) {
    CAPTURE(sack);
    World world{{.sack = sack, .to_guest = 1'000'000, .to_host = 1'000'000}};
    CHECK(world.run(2s) == "");
    CHECK(world.sent_to_guest() == 1'000'000);
  }
}

TEST_CASE("tcp transfer: bytes survive loss, duplication and reordering") {
  for (const bool sack : {true, false}) {
    for (const Case& c : {
             Case{"loss 1 %", {.sack = sack, .loss = 10}, 60s},
             Case{"loss 10 %", {.sack = sack, .loss = 100}, 300s},
             Case{"loss 30 %", {.sack = sack, .loss = 300, .to_guest = 20'000, .to_host = 20'000}, 900s},
             Case{"duplication", {.sack = sack, .duplicate = 200}, 60s},
             Case{"reordering", {.sack = sack, .reorder = 300}, 60s},
             Case{"everything", {.sack = sack, .loss = 50, .duplicate = 50, .reorder = 200}, 300s},
             Case{"no TSO", {.super_segment = 1460, .sack = sack, .loss = 20, .reorder = 50}, 120s},
             Case{"the link is often full", {.sack = sack, .loss = 20, .link_full = 300}, 120s},
         })
      run(c);
  }
}

TEST_CASE("tcp transfer: a connection from outside is no different") {
  for (const bool sack : {true, false}) {
    for (const Case& c : {
             Case{"clean", {.sack = sack, .from_outside = true}, 2s},
             Case{"everything",
                  {.sack = sack, .loss = 50, .duplicate = 50, .reorder = 200, .from_outside = true},
                  300s},
             Case{"no scaling", {.sack = sack, .scale = false, .loss = 10, .from_outside = true}, 60s},
             Case{"wrap",
                  {.guest_isn = 0xffffff00,
                   .our_isn = 0xffffff00,
                   .sack = sack,
                   .loss = 20,
                   .from_outside = true},
                  120s},
             Case{"empty",
                  {.sack = sack, .loss = 100, .to_guest = 0, .to_host = 0, .from_outside = true},
                  300s},
         })
      run(c);
  }
}

TEST_CASE("tcp transfer: small, closed and unscaled windows") {
  for (const bool sack : {true, false}) {
    for (const Case& c : {
             Case{"guest window 2000, slow reader",
                  {.sack = sack, .guest_window = 2000, .to_guest = 60'000, .guest_app_pace = 10},
                  120s},
             Case{
                 "guest window 100",
                 {.sack = sack, .scale = false, .guest_window = 100, .to_guest = 5'000, .guest_app_pace = 50},
                 300s},
             Case{"guest window 1",
                  {.sack = sack, .scale = false, .guest_window = 1, .to_guest = 50, .to_host = 50},
                  300s},
             Case{"slow reader with loss",
                  {.sack = sack, .guest_window = 5000, .loss = 50, .to_guest = 60'000, .guest_app_pace = 5},
                  600s},
             Case{"slow host", {.credit = 8192, .sack = sack, .host_pace = 5}, 300s},
             Case{"slow host with loss",
                  {.credit = 8192, .sack = sack, .loss = 50, .to_host = 60'000, .host_pace = 5},
                  600s},
             Case{"no scaling", {.sack = sack, .scale = false, .loss = 10}, 60s},
             Case{"tiny MSS",
                  {.mss = 88, .sack = sack, .loss = 20, .to_guest = 20'000, .to_host = 20'000},
                  300s},
             Case{"jumbo MSS",
                  {.mss = 65480,
                   .credit = 262'144,
                   .sack = sack,
                   .guest_window = 262'000,
                   .loss = 20,
                   .to_guest = 2'000'000,
                   .to_host = 2'000'000},
                  60s},
         })
      run(c);
  }
}

TEST_CASE("tcp transfer: sequence numbers wrap") {
  for (const std::uint32_t guest_isn : {0U, 0xffffffffU, 0xffff8000U, 0x7fffffffU}) {
    for (const std::uint32_t our_isn : {0U, 0xffffffffU, 0xffff8000U, 0x7fffffffU}) {
      CAPTURE(guest_isn);
      CAPTURE(our_isn);
      run({"wrap", {.guest_isn = guest_isn, .our_isn = our_isn, .loss = 20, .reorder = 20}, 120s, 2});
    }
  }
}

TEST_CASE("tcp transfer: empty streams close in either order") {
  run({"both empty", {.loss = 100, .to_guest = 0, .to_host = 0}, 120s, 40});
  run({"nothing up", {.loss = 100, .to_guest = 5'000, .to_host = 0}, 120s, 40});
  run({"nothing down", {.loss = 100, .to_guest = 0, .to_host = 5'000}, 120s, 40});
}

}  // namespace
}  // namespace cordon::tcp::test
