#include "app/control_print.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <span>

#include "app/option_values.h"
#include "policy/diagnostic.h"

namespace cordon::app {
namespace {

std::string decimal(double value, const char* unit) {
  std::array<char, 32> text{};
  const int length = std::snprintf(text.data(), text.size(), value < 10 ? "%.1f" : "%.0f", value);
  return std::string(text.data(), static_cast<std::size_t>(length)) + unit;
}

const Json& part(const Json& value, std::string_view key) {
  static const Json kNothing;
  const Json* found = value.find(key);
  return found != nullptr ? *found : kNothing;
}

bool is_true(const Json& value) { return value.boolean() != nullptr && *value.boolean(); }

std::span<const Json> items(const Json& value) {
  if (const Json::Array* array = value.array()) return *array;
  return {};
}

std::string number(const Json& value, std::string_view key) { return std::to_string(value.natural_at(key)); }

std::string join(const Json& list) {
  std::string text;
  for (const Json& item : items(list))
    if (item.text() != nullptr) text += (text.empty() ? "" : " ") + *item.text();
  return text.empty() ? "none" : text;
}

// One "name  value" line; the value may have more lines.
class Lines {
 public:
  void add(std::string_view name, std::string_view value) {
    constexpr std::size_t kWidth = 12;
    text_ += name;
    text_.append(name.size() < kWidth ? kWidth - name.size() : 1, ' ');
    text_ += printable(value);
    text_ += '\n';
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

void add_policy(Lines& lines, const Json& policy) {
  lines.add("policy", "generation " + number(policy, "generation") + ", " + policy.text_at("hash"));
  lines.add("", "in force since " + policy.text_at("loaded_at") + ", loaded by " + policy.text_at("cause"));
  for (const Json& file : items(part(policy, "files"))) {
    std::string text = file.text_at("path") + " (" + file.text_at("name") + "): " + file.text_at("mode") +
                       ", " + number(file, "egress") + " egress and " + number(file, "ingress") +
                       " ingress rules";
    if (const auto expires = file.text_at("expires"); !expires.empty()) text += ", expires " + expires;
    lines.add("", text);
  }
  if (const Json& error = part(policy, "last_error"); error.object() != nullptr)
    lines.add("", "REJECTED at " + error.text_at("at") + " (" + number(policy, "load_errors") +
                      " in all): " + error.text_at("message"));
}

}  // namespace

void TextTable::add(Row row) {
  for (auto& cell : row) cell = cell.empty() ? "-" : printable(cell);
  rows_.push_back(std::move(row));
}

std::string TextTable::text() const {
  std::vector<std::size_t> widths;
  for (const Row& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - row[i].size() + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

std::string duration_text(std::uint64_t milliseconds) {
  const std::uint64_t seconds = milliseconds / 1000;
  const auto two = [](std::uint64_t big, const char* unit, std::uint64_t small, const char* smaller) {
    return std::to_string(big) + unit + (small == 0 ? "" : ' ' + std::to_string(small) + smaller);
  };
  if (seconds < 60) return decimal(static_cast<double>(milliseconds) / 1000, "s");
  if (seconds < 3600) return two(seconds / 60, "m", seconds % 60, "s");
  if (seconds < 86400) return two(seconds / 3600, "h", seconds / 60 % 60, "m");
  return two(seconds / 86400, "d", seconds / 3600 % 24, "h");
}

std::string bytes_text(std::uint64_t bytes) {
  if (bytes < 1000) return std::to_string(bytes) + " B";
  constexpr std::array kUnits{" kB", " MB", " GB", " TB", " PB", " EB"};
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  return decimal(value, kUnits.at(unit));
}

std::string printable(std::string_view text) {
  std::string safe{text};
  std::ranges::replace_if(safe, [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; }, '?');
  return safe;
}

std::string status_text(const Json& status) {
  Lines lines;
  const auto tenant = status.text_at("tenant");
  lines.add("guest", status.text_at("guest") + (tenant.empty() ? "" : " of tenant " + tenant));
  lines.add("cordon", status.text_at("cordon") + ", up " + duration_text(status.natural_at("uptime_ms")) +
                          ", control protocol " + number(status, "protocol"));
  if (const Json& vm = part(status, "vm"); vm.object() != nullptr)
    lines.add("machine", is_true(part(vm, "connected")) ? "connected" : "not connected");
  add_policy(lines, part(status, "policy"));
  const Json& flows = part(status, "flows");
  lines.add("flows", number(flows, "live") + " live, of them " + number(flows, "pending") +
                         " pending; at most " + number(flows, "limit"));
  const Json& host = part(status, "host");
  lines.add("host", std::string{is_true(part(host, "stale")) ? "STALE, everything is refused; " : ""} +
                        "uplinks " + join(part(host, "uplinks")) + "; " + number(host, "addresses") +
                        " addresses; resolvers " + join(part(host, "resolvers")) + "; read anew " +
                        number(host, "resyncs") + " times");
  const Json& audit = part(status, "audit");
  lines.add("audit", audit.text_at("sink") + "; " + number(audit, "records") + " records, " +
                         number(audit, "events_lost") + " events lost");
  const Json& isolation = part(status, "isolation");
  lines.add("isolation", std::string{is_true(part(isolation, "full")) ? "full" : "PARTIAL"} + "; " +
                             isolation.text_at("summary"));
  for (const Json& other : items(part(isolation, "others")))
    if (other.text() != nullptr) lines.add("", *other.text());
  lines.add("backstop", isolation.text_at("backstop"));
  return lines.take();
}

TextTable::Row flow_head() {
  return {"ID", "PROTO", "DIR", "GUEST", "REMOTE", "AGE", "BYTES", "STATE", "RULE", "AT"};
}

TextTable::Row flow_row(const Json& flow) {
  const Json& bytes = part(flow, "bytes");
  const auto dialed = flow.text_at("dialed");
  return {flow.text_at("id"),
          flow.text_at("protocol"),
          flow.text_at("direction"),
          flow.text_at("guest"),
          flow.text_at("remote") + (dialed.empty() ? "" : " via " + dialed),
          duration_text(flow.natural_at("age_ms")),
          bytes.natural() != nullptr ? bytes_text(*bytes.natural()) : "",
          flow.text_at("state"),
          flow.text_at("ruleset") + '/' + flow.text_at("rule"),
          flow.text_at("rule_at")};
}

std::string diagnostics_text(const Json& diagnostics) {
  std::vector<policy::Diagnostic> all;
  for (const Json& item : items(diagnostics)) {
    policy::Diagnostic& one = all.emplace_back();
    const auto code = item.text_at("code");
    one.code = static_cast<policy::Code>(
        parse_number(std::string_view{code}.substr(std::min<std::size_t>(1, code.size()))).value_or(0));
    one.path = item.text_at("path");
    one.at = {.line = static_cast<std::uint32_t>(item.natural_at("line")),
              .column = static_cast<std::uint32_t>(item.natural_at("column"))};
    one.message = item.text_at("message");
    one.excerpt = item.text_at("excerpt");
  }
  std::string text = policy::render(all);
  std::ranges::replace_if(text, [](char c) { return (c >= 0 && c < 0x20 && c != '\n') || c == 0x7f; }, '?');
  return text;
}

}  // namespace cordon::app
