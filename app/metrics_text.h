// Prometheus' text exposition format, version 0.0.4.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace cordon::app {

class MetricsText {
 public:
  enum class Type : std::uint8_t { kCounter, kGauge };
  struct Label {
    std::string_view name;
    std::string_view value;  // any bytes
  };
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

  // Each name once; its samples follow. A family without samples is not written.
  void family(std::string_view name, Type type, std::string_view help);
  template <std::integral T>
  void sample(std::initializer_list<Label> labels, T value) {
    add(labels, std::to_string(value));
  }
  void sample(std::initializer_list<Label> labels, double value);
  // A family of one sample without labels.
  template <class T>
  void single(std::string_view name, Type type, std::string_view help, T value) {
    family(name, type, help);
    sample({}, value);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void add(std::initializer_list<Label> labels, const std::string& value);

  std::string text_;
  std::string name_;
  std::string head_;  // of the family, until its first sample
};

}  // namespace cordon::app
