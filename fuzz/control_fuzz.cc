// Any bytes as what a control client sends, in pieces of odd sizes: never a crash; each line is answered as
// JSON-RPC 2.0 says, in JSON that reads back; and any bytes as an answer to our own client.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "app/control_methods.h"
#include "app/control_print.h"

using namespace cordon;
using namespace cordon::app;

namespace {

constexpr base::Instant kNow = base::Instant::from_nanos(1'000'000'000);

void require(bool condition) {
  if (!condition) std::abort();
}

class SmallSource final : public ControlSource {
 public:
  Json status(base::Instant /*now*/) override { return Json::Object{{"guest", "vm"}}; }
  FlowPage flows(std::uint64_t cursor, std::size_t most, base::Instant /*now*/) override {
    require(most >= 1 && most <= 256);
    FlowPage page;
    if (cursor < 3) page.next = cursor + 1;
    return page;
  }
  KillStep kill(const FlowFilter& filter, std::uint64_t cursor, base::Instant /*now*/) override {
    require(cursor <= 1);
    require(!filter.port || filter.port->number() != 0);
    KillStep step{.killed = 1, .next = 1};
    if (cursor == 1) step.next.reset();
    return step;
  }
  void ask_reload() override { ++outcome_.count; }
  [[nodiscard]] const ReloadOutcome& last_reload() const override { return outcome_; }
  [[nodiscard]] PolicyInForce policy() const override { return {}; }
  void metrics(MetricsText& out, base::Instant /*now*/) override {
    out.single("x", MetricsText::Type::kGauge, "X.", 1);
  }

 private:
  ReloadOutcome outcome_;
};

RpcReply work(const ControlContext& context, const RpcRequest& request) {
  auto begun = begin_request(context, request, kNow);
  if (auto* reply = std::get_if<RpcReply>(&begun)) return std::move(*reply);
  const auto job = std::move(std::get<std::unique_ptr<ControlJob>>(begun));
  for (int i = 0; i < 4; ++i)
    if (auto reply = job->step(kNow)) return std::move(*reply);
  std::abort();
}

void check_line(const std::string& line) {
  SmallSource source;
  ReloadDesk reloads{source};
  const RpcLine read = read_request(line);
  require(!read.entries.empty() && read.entries.size() <= kMaxBatch);
  require(read.batch || read.entries.size() == 1);
  for (const RpcEntry& entry : read.entries) {
    const RpcReply reply = entry ? work({source, reloads}, *entry) : RpcReply{std::unexpected(entry.error())};
    const Json id = entry && entry->id ? *entry->id : Json{};
    const std::string text = write_response(id, reply);
    require(text.find('\n') == std::string::npos);
    const auto back = Json::parse(text, 16);
    require(back && back->object() != nullptr);
    require(back->find("id") != nullptr && *back->find("id") == id);
    require((back->find("result") != nullptr) == reply.has_value());
  }
}

// As our own client treats what comes back.
void check_answer(std::string_view line) {
  const auto answer = read_response(line, 1);
  if (!answer) return;
  const Json& value = *answer ? **answer : answer->error().data;
  for (const std::string& text :
       {status_text(value), diagnostics_text(value), TextTable{flow_row(value)}.text()})
    require(std::ranges::none_of(text, [](char c) { return c >= 0 && c < 0x20 && c != '\n'; }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = std::size_t{data[0]} + 1;
  const std::string text(data + 1, data + size);
  LineBuffer buffer{kMaxLine};
  bool first = true;
  for (std::size_t at = 0; at < text.size() && !buffer.overlong();) {
    const std::size_t take = std::min({piece, text.size() - at, buffer.room()});
    require(take > 0);  // lines that can be taken have been taken
    buffer.push(std::string_view{text}.substr(at, take));
    at += take;
    if (at == text.size()) buffer.finish();
    while (auto line = buffer.next()) {
      require(line->size() < kMaxLine);
      check_line(*line);
      if (first) check_answer(*line);
      first = false;
    }
  }
  return 0;
}
