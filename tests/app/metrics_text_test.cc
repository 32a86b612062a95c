#include "app/metrics_text.h"

#include <doctest/doctest.h>

#include <limits>

using namespace cordon::app;

// https://prometheus.io/docs/instrumenting/exposition_formats/
TEST_CASE("metrics text: families, labels and escaping") {
  MetricsText text;
  text.family("a_total", MetricsText::Type::kCounter, "Back\\slash, \"quotes\",\nline.");
  text.sample({}, 1);
  text.sample({{"rule", "a\"b\\c\nd"}, {"layer", "\xff"}}, std::uint64_t{18446744073709551615U});
  text.family("empty", MetricsText::Type::kGauge, "Not written.");
  text.single("b", MetricsText::Type::kGauge, "Half.", 0.5);
  text.family("c", MetricsText::Type::kGauge, "Odd.");
  text.sample({}, std::numeric_limits<double>::infinity());
  text.sample({{"x", "y"}}, std::numeric_limits<double>::quiet_NaN());
  CHECK(text.take() ==
        "# HELP a_total Back\\\\slash, \"quotes\",\\nline.\n"
        "# TYPE a_total counter\n"
        "a_total 1\n"
        "a_total{rule=\"a\\\"b\\\\c\\nd\",layer=\"\xef\xbf\xbd\"} 18446744073709551615\n"
        "# HELP b Half.\n# TYPE b gauge\nb 0.5\n"
        "# HELP c Odd.\n# TYPE c gauge\nc +Inf\nc{x=\"y\"} NaN\n");
}
