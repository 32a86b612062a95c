#include "app/long_options.h"

#include <algorithm>

namespace cordon::app {
namespace {

using Options = std::span<const LongOption>;

std::string quoted(std::string_view name) { return "'--" + std::string{name} + "'"; }

class Reader {
 public:
  Reader(Options options, std::span<const std::string> arguments)
      : options_(options), arguments_(arguments) {}

  GivenOptions read() {
    while (next_ < arguments_.size() && !out_.error) {
      const std::string_view word = arguments_[next_];
      if (word.size() < 2 || word.front() != '-') break;
      ++next_;
      if (word == "--") break;
      if (word.starts_with("--"))
        long_option(word.substr(2));
      else
        letters(word.substr(1));
    }
    if (!out_.error)
      out_.operands.assign(arguments_.begin() + static_cast<std::ptrdiff_t>(next_), arguments_.end());
    return std::move(out_);
  }

 private:
  void fail(std::string message) { out_.error = std::move(message); }

  void give(const LongOption& option, std::string_view value) {
    out_.options.push_back({&option, std::string{value}});
  }

  // The exact one, or the only one that begins so.
  const LongOption* find(std::string_view name) {
    std::vector<const LongOption*> close;
    for (const LongOption& option : options_) {
      if (option.name.empty()) continue;
      if (option.name == name) return &option;
      if (!option.exact && option.name.starts_with(name)) close.push_back(&option);
    }
    if (close.size() == 1) return close.front();
    if (close.empty()) {
      fail("unrecognized option " + quoted(name));
      return nullptr;
    }
    std::string message = "option " + quoted(name) + " is ambiguous; possibilities:";
    for (const LongOption* option : close) message += " " + quoted(option->name);
    fail(std::move(message));
    return nullptr;
  }

  void long_option(std::string_view text) {
    const auto equals = text.find('=');
    const LongOption* option = find(text.substr(0, equals));
    if (option == nullptr) return;
    if (equals != std::string_view::npos) {
      if (!option->has_value) return fail("option " + quoted(option->name) + " doesn't allow an argument");
      return give(*option, text.substr(equals + 1));
    }
    if (!option->has_value) return give(*option, {});
    if (next_ == arguments_.size()) return fail("option " + quoted(option->name) + " requires an argument");
    give(*option, arguments_[next_++]);
  }

  void letters(std::string_view text) {
    for (std::size_t i = 0; i < text.size() && !out_.error; ++i) {
      const char letter = text[i];
      const auto option =
          std::ranges::find_if(options_, [&](const LongOption& o) { return o.letter == letter; });
      if (letter == '\0' || option == options_.end())
        return fail("invalid option -- '" + std::string{letter} + "'");
      if (!option->has_value) {
        give(*option, {});
        continue;
      }
      if (i + 1 < text.size()) return give(*option, text.substr(i + 1));
      if (next_ == arguments_.size())
        return fail("option requires an argument -- '" + std::string{letter} + "'");
      return give(*option, arguments_[next_++]);
    }
  }

  Options options_;
  std::span<const std::string> arguments_;
  std::size_t next_ = 0;
  GivenOptions out_;
};

}  // namespace

GivenOptions read_long_options(Options options, std::span<const std::string> arguments) {
  return Reader{options, arguments}.read();
}

}  // namespace cordon::app
