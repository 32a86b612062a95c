#include <doctest/doctest.h>

#include "app/guest_namespace.h"

namespace cordon::app {
namespace {

TEST_CASE("resolv.conf: the guest's name servers replace the machine's, search and options stay") {
  GuestPlan plan;
  plan.ipv4 = FamilyPlan{net::Ipv4Address{10, 0, 2, 15}, 24, net::Ipv4Address{10, 0, 2, 2},
                         net::Ipv4Address{10, 0, 2, 3}};
  plan.ipv6 = FamilyPlan{*net::parse_ip("fd00:c0:2d::15"), 64, *net::parse_ip("fd00:c0:2d::2"),
                         *net::parse_ip("fd00:c0:2d::3")};
  const auto text = guest_resolv_conf(
      plan,
      "nameserver 192.0.2.53\nsearch lab.example\n# nameserver 192.0.2.54\noptions ndots:2\nsortlist 10/8\n");
  CHECK(text.find("nameserver 10.0.2.3\nnameserver fd00:c0:2d::3\n") != std::string::npos);
  CHECK(text.find("192.0.2.5") == std::string::npos);
  CHECK(text.find("search lab.example\noptions ndots:2\n") != std::string::npos);
  CHECK(text.find("sortlist") == std::string::npos);
}

TEST_CASE("resolv.conf: a search list of the user's replaces the machine's, none leaves it out") {
  GuestPlan plan;
  plan.ipv4 = FamilyPlan{net::Ipv4Address{10, 0, 2, 15}, 24, net::Ipv4Address{10, 0, 2, 2},
                         net::Ipv4Address{10, 0, 2, 3}};
  plan.services.search = {*net::DomainName::parse("a.example"), *net::DomainName::parse("b.example")};
  const std::string machine = "search lab.example\ndomain lab.example\noptions ndots:2\n";
  auto text = guest_resolv_conf(plan, machine);
  CHECK(text.find("search a.example b.example\noptions ndots:2\n") != std::string::npos);
  CHECK(text.find("lab.example") == std::string::npos);
  plan.services.search.clear();
  plan.search_none = true;
  text = guest_resolv_conf(plan, machine);
  CHECK(text.find("example") == std::string::npos);
  CHECK(text.find("options ndots:2\n") != std::string::npos);
}

TEST_CASE("resolv.conf: a guest with one family gets one name server") {
  GuestPlan plan;
  plan.ipv4 = FamilyPlan{net::Ipv4Address{10, 0, 2, 15}, 24, net::Ipv4Address{10, 0, 2, 2},
                         net::Ipv4Address{10, 0, 2, 3}};
  const auto text = guest_resolv_conf(plan, "");
  CHECK(text.find("nameserver 10.0.2.3\n") != std::string::npos);
  CHECK(text.find("nameserver fd00") == std::string::npos);
}

}  // namespace
}  // namespace cordon::app
