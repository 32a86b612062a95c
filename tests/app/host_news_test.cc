#include "app/host_news.h"

#include <doctest/doctest.h>

namespace cordon::app {
namespace {

using namespace std::chrono_literals;

constexpr base::Instant kStart = base::Instant::from_nanos(1'000'000'000'000);

netlink::Event address(std::string_view text, bool present) {
  return netlink::Change<netlink::Address>{
      .value = {.interface = 2, .address = *net::parse_ip(text), .prefix_length = 24}, .present = present};
}

TEST_CASE("host news: what came, at once; what came and went within ten seconds, together") {
  netlink::HostState state;
  HostNews news;
  news.start(state);
  CHECK(news.due() == base::Instant::never());
  state.apply(address("192.0.2.1", true), kStart);
  news.note(kStart);
  news.note(kStart + 100ms);
  REQUIRE(news.due() == kStart + 200ms);
  CHECK_FALSE(news.take(state, kStart + 199ms));
  auto told = news.take(state, kStart + 200ms);
  REQUIRE(told);
  CHECK(told->count == 2);
  REQUIRE_FALSE(told->changes.addresses_gained.empty());
  CHECK(told->changes.addresses_gained.front() == "192.0.2.1/32");
  CHECK(told->changes.addresses_lost.empty());

  for (int i = 0; i < 1000; ++i) news.note(kStart + 1s);
  CHECK(news.due() == kStart + 200ms + 10s);
  told = news.take(state, news.due());
  REQUIRE(told);
  CHECK(told->count == 1000);
  CHECK(told->changes.addresses_gained.empty());
}

TEST_CASE("host news: a list is bounded") {
  netlink::HostState state;
  HostNews news;
  news.start(state);
  for (int i = 1; i <= 100; ++i) state.apply(address("192.0.2." + std::to_string(i), true), kStart);
  news.note(kStart);
  const auto told = news.take(state, news.due());
  REQUIRE(told);
  CHECK(told->changes.addresses_gained.size() == HostNews::kMostNames + 1);
  CHECK(told->changes.addresses_gained.back().starts_with("and "));
}

}  // namespace
}  // namespace cordon::app
