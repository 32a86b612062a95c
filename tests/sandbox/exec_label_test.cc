#include "sandbox/exec_label.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <array>
#include <filesystem>
#include <fstream>

using namespace cordon::sandbox;

TEST_CASE("exec label: a role's own where ours is in force, else none") {
  struct Case {
    std::string_view name;
    std::string_view current;
    Role role;
    bool no_new_privs;
    std::string_view wanted;  // empty: nothing to ask for
  };
  constexpr std::array kCases{
      Case{"no module", "", Role::kBroker, false, ""},
      Case{"AppArmor, not confined", "unconfined", Role::kBroker, false, ""},
      Case{"AppArmor, launcher", "cordon (enforce)", Role::kBroker, false, "exec cordon//broker"},
      Case{"AppArmor, complain mode", "cordon (complain)", Role::kTranslator, false,
           "exec cordon//translator"},
      Case{"AppArmor, drop-in", "cordon-drop-in (enforce)", Role::kBroker, false,
           "exec cordon-drop-in//broker"},
      Case{"AppArmor, loader starts a reader", "cordon//loader (enforce)", Role::kPolicyReader, false,
           "exec cordon//reader"},
      Case{"AppArmor, under no_new_privs", "cordon (enforce)", Role::kBroker, true, "stack cordon//broker"},
      Case{"AppArmor, a stack", "cordon//&unpriv (enforce)", Role::kBroker, false, ""},
      Case{"AppArmor, libvirt's child profile", "libvirt-1b4e//passt (enforce)", Role::kBroker, false, ""},
      Case{"AppArmor, a name that only begins like ours", "cordonbleu (enforce)", Role::kBroker, false, ""},
      Case{"SELinux, launcher", "system_u:system_r:cordon_t:s0", Role::kPolicyLoader, false,
           "system_u:system_r:cordon_loader_t:s0"},
      Case{"SELinux, categories of a guest", "system_u:system_r:cordon_t:s0:c12,c700", Role::kTranslator,
           true, "system_u:system_r:cordon_translator_t:s0:c12,c700"},
      Case{"SELinux, without ranges", "system_u:system_r:cordon_t", Role::kBroker, false,
           "system_u:system_r:cordon_broker_t"},
      Case{"SELinux, loader", "system_u:system_r:cordon_loader_t:s0", Role::kPolicyReader, false,
           "system_u:system_r:cordon_reader_t:s0"},
      Case{"SELinux, a user's domain", "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023", Role::kBroker,
           false, ""},
      Case{"SELinux, too short", "a:b", Role::kBroker, false, ""},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.name);
    CHECK(label_for(c.current, c.role, c.no_new_privs).value_or(LabelWish{}).wanted == c.wanted);
  }
}

TEST_CASE("exec label: what was asked for is taken back by asking for our own") {
  const auto own = [](std::string_view current) {
    return label_for(current, Role::kTranslator, false).value_or(LabelWish{}).own;
  };
  CHECK(own("cordon (enforce)") == "exec cordon");
  CHECK(own("cordon//loader (complain)") == "exec cordon//loader");
  CHECK(own("system_u:system_r:cordon_t:s0:c1") == "system_u:system_r:cordon_t:s0:c1");
}

namespace {

// Stands for /proc/self/attr.
class Attributes {
 public:
  Attributes() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~Attributes() { std::filesystem::remove_all(path_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  void put(const std::string& file, std::string_view text) const {
    std::filesystem::create_directories(std::filesystem::path{path_ + "/" + file}.parent_path());
    std::ofstream{path_ + "/" + file} << text;
  }
  [[nodiscard]] std::string get(const std::string& file) const {
    std::ifstream in{path_ + "/" + file};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/cordon-label-XXXXXX";
};

}  // namespace

TEST_CASE("exec label: AppArmor's own folder is asked first, and written to") {
  const Attributes attributes;
  attributes.put("apparmor/current", "cordon-drop-in (enforce)\n");
  attributes.put("apparmor/exec", "");
  attributes.put("current", std::string_view{"system_u:system_r:cordon_t:s0\0", 30});
  attributes.put("exec", "");
  ExecLabel::find(Role::kTranslator, attributes.path()).ask();
  CHECK(attributes.get("apparmor/exec") == "exec cordon-drop-in//translator");
  CHECK(attributes.get("exec").empty());
  CHECK(own_label(attributes.path()) == "cordon-drop-in (enforce)");
  attributes.put("apparmor/exec", "");
  CHECK(ExecLabel::find(Role::kTranslator, attributes.path()).take_back());
  CHECK(attributes.get("apparmor/exec") == "exec cordon-drop-in");
}

TEST_CASE("exec label: SELinux, whose label ends in a zero byte") {
  const Attributes attributes;
  attributes.put("current", std::string_view{"system_u:system_r:cordon_t:s0\0", 30});
  attributes.put("exec", "");
  ExecLabel::find(Role::kBroker, attributes.path()).ask();
  CHECK(attributes.get("exec") == "system_u:system_r:cordon_broker_t:s0");
  CHECK(own_label(attributes.path()) == "system_u:system_r:cordon_t:s0");
}

TEST_CASE("exec label: a module that has nothing for us is not asked") {
  const Attributes attributes;
  attributes.put("current", "unconfined\n");
  attributes.put("exec", "");
  ExecLabel::find(Role::kBroker, attributes.path()).ask();
  CHECK_FALSE(ExecLabel::find(Role::kBroker, attributes.path()).take_back());
  CHECK(attributes.get("exec").empty());
  CHECK(own_label(attributes.path()).empty());
  ExecLabel::find(Role::kBroker, attributes.path() + "/missing").ask();
}
