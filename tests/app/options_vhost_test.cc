// --vhost-user of cordon vm, and what belongs to it.
#include <doctest/doctest.h>

#include "app/options_threads.h"
#include "app/options_vm.h"
#include "app/roles.h"
#include "tests/app/good_options.h"

namespace cordon::app {
TEST_CASE("options: vm with vhost-user has as many workers as queue pairs") {
  const auto plain = good({"vm", "--socket", "x", "--vhost-user"});
  CHECK(plain.vm->protocol == VmOptions::Protocol::kVhostUser);
  CHECK(plain.vm->front_end == vhost::FrontEnd::kQemu);
  CHECK(most_workers(plain) == 1);
  const auto many = good({"vm", "--socket", "x", "--vhost-user", "--queues", "16", "--front-end",
                          "cloud-hypervisor", "--mac", "52:54:00:12:34:56", "--mtu", "1400"});
  CHECK(many.vm->queues == 16);
  CHECK(most_workers(many) == 16);
  const auto config = translator_config(many);
  CHECK(config.link == sandbox::LinkKind::kVhostUser);
  CHECK(config.vhost_front_end == vhost::FrontEnd::kCloudHypervisor);
  CHECK(good({"vm", "--fd", "3", "--vhost-user", "--front-end=crosvm"}).vm->front_end ==
        vhost::FrontEnd::kCrosvm);
}

TEST_CASE("options: mistakes about vhost-user are told") {
  struct Row {
    Words words;
    std::string_view says;
  };
  for (const Row& row :
       {Row{{"vm", "--socket", "x", "--queues", "2"}, "--queues 2 is for --vhost-user"},
        Row{{"vm", "--socket", "x", "--front-end", "qemu"}, "--front-end qemu is for --vhost-user"},
        Row{{"vm", "--socket", "x", "--vhost-user", "--queues", "0"}, "from 1 to 16"},
        Row{{"vm", "--socket", "x", "--vhost-user", "--queues", "17"}, "from 1 to 16"},
        Row{{"vm", "--socket", "x", "--vhost-user", "--queues", "two"}, "--queues two"},
        Row{{"vm", "--socket", "x", "--vhost-user", "--front-end", "bhyve"}, "give qemu, cloud-hypervisor"},
        Row{{"vm", "--socket", "x", "--vhost-user", "--queues", "2", "--threads", "2"},
            "contradicts --queues"},
        Row{{"run", "--vhost-user", "--", "true"}, "--vhost-user is for cordon vm"}}) {
    CAPTURE(row.says);
    const auto parsed = parse(row.words);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().message.find(row.says) != std::string::npos);
  }
}

}  // namespace cordon::app
