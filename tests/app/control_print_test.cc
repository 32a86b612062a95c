#include "app/control_print.h"

#include <doctest/doctest.h>

using namespace cordon::app;

TEST_CASE("control print: durations and volumes") {
  struct Case {
    std::uint64_t value;
    std::string_view text;
  };
  for (const Case& c : {Case{0, "0.0s"}, Case{1'500, "1.5s"}, Case{59'900, "60s"}, Case{60'000, "1m"},
                        Case{725'000, "12m 5s"}, Case{7'260'000, "2h 1m"}, Case{273'600'000, "3d 4h"}})
    CHECK(duration_text(c.value) == c.text);
  for (const Case& c : {Case{0, "0 B"}, Case{999, "999 B"}, Case{1'000, "1.0 kB"}, Case{1'234'567, "1.2 MB"},
                        Case{999'999, "1.0 MB"}, Case{45'000'000'000, "45 GB"}, Case{UINT64_MAX, "18 EB"}})
    CHECK(bytes_text(c.value) == c.text);
}

TEST_CASE("control print: tables") {
  TextTable table{{"A", "LONG", "C"}};
  table.add({"123", "", "x\ny"});
  CHECK(table.text() == "A    LONG  C\n123  -     x?y\n");
}

TEST_CASE("control print: a flow") {
  const Json flow = Json::Object{{"id", "17.3"},
                                 {"protocol", "tcp"},
                                 {"direction", "out"},
                                 {"guest", "10.0.2.15:40000"},
                                 {"remote", "10.0.2.3:53"},
                                 {"dialed", "192.0.2.53:53"},
                                 {"state", "live"},
                                 {"age_ms", 61'000},
                                 {"rule", "names"},
                                 {"ruleset", "site"},
                                 {"rule_at", "site.yaml:4"},
                                 {"bytes", nullptr}};
  CHECK(flow_row(flow) == TextTable::Row{"17.3", "tcp", "out", "10.0.2.15:40000",
                                         "10.0.2.3:53 via 192.0.2.53:53", "1m 1s", "", "live", "site/names",
                                         "site.yaml:4"});
}

TEST_CASE("control print: diagnostics as the loader prints them") {
  const Json list = Json::Array{Json::Object{{"code", "P103"},
                                             {"severity", "error"},
                                             {"path", "tenant.yaml"},
                                             {"line", 14},
                                             {"column", 5},
                                             {"message", "unknown key \"port\"\x1b[2J"},
                                             {"excerpt", "    port: 443"}}};
  const auto text = diagnostics_text(list);
  CHECK(text.starts_with("tenant.yaml:14:5: error P103: unknown key \"port\"?[2J\n"));
  CHECK(text.find("port: 443") != std::string::npos);
  CHECK(diagnostics_text(Json{}).empty());
  CHECK_FALSE(diagnostics_text(Json::Array{Json{1}, Json::Object{{"code", ""}}}).empty());
  // Without a column there is no place to mark.
  CHECK(diagnostics_text(Json::Array{Json::Object{{"code", "P1"}, {"message", "m"}, {"excerpt", "e"}}}) ==
        ":0:0: error P1: m\n");
}

TEST_CASE("control print: a status that lacks everything is no disaster") {
  CHECK_FALSE(status_text(Json{}).empty());
  CHECK_FALSE(status_text(Json::Array{}).empty());
}
