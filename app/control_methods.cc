#include "app/control_methods.h"

#include <algorithm>
#include <array>

#include "app/option_values.h"
#include "policy/diagnostic.h"

namespace cordon::app {
namespace {

constexpr std::uint64_t kMostFlows = 256;  // in one page: what one turn may cost
constexpr std::uint64_t kUsualFlows = 128;

std::unexpected<RpcError> bad_params(std::string why) {
  return std::unexpected(RpcError{RpcCode::kInvalidParams, "Invalid params: " + std::move(why)});
}

// Every key of `params` is one of `known`.
std::optional<RpcError> unknown_key(const Json& params, std::initializer_list<std::string_view> known) {
  if (params.is_null()) return std::nullopt;
  for (const auto& member : *params.object()) {
    if (std::ranges::find(known, member.key) != known.end()) continue;
    std::string list;
    for (const auto key : known) list += (list.empty() ? "" : ", ") + std::string{key};
    return RpcError{RpcCode::kInvalidParams,
                    "Invalid params: no " + policy::quote(member.key) + " here" +
                        (list.empty() ? "; this method takes none" : "; there are: " + list)};
  }
  return std::nullopt;
}

// A whole number from `low` to `high`, or `otherwise` when it is not there.
std::expected<std::uint64_t, RpcError> number_of(const Json& params, std::string_view key, std::uint64_t low,
                                                 std::uint64_t high, std::uint64_t otherwise) {
  const Json* value = params.find(key);
  if (value == nullptr) return otherwise;
  const std::uint64_t* number = value->natural();
  if (number == nullptr || *number < low || *number > high)
    return bad_params(std::string{key} + " must be a whole number from " + std::to_string(low) + " to " +
                      std::to_string(high));
  return *number;
}

Begun version(const ControlContext& /*context*/, const Json& params, base::Instant /*now*/) {
  if (auto error = unknown_key(params, {})) return RpcReply{std::unexpected(std::move(*error))};
  Json::Array names;
  for (const auto& method : control_methods()) names.emplace_back(method.name);
  return RpcReply{Json::Object{
      {"protocol", kControlProtocol}, {"cordon", CORDON_VERSION}, {"methods", std::move(names)}}};
}

Begun status(const ControlContext& context, const Json& params, base::Instant now) {
  if (auto error = unknown_key(params, {})) return RpcReply{std::unexpected(std::move(*error))};
  return RpcReply{context.source.status(now)};
}

Begun flows(const ControlContext& context, const Json& params, base::Instant now) {
  if (auto error = unknown_key(params, {"cursor", "limit"}))
    return RpcReply{std::unexpected(std::move(*error))};
  const auto cursor = number_of(params, "cursor", 0, UINT32_MAX, 0);
  if (!cursor) return RpcReply{std::unexpected(cursor.error())};
  const auto limit = number_of(params, "limit", 1, kMostFlows, kUsualFlows);
  if (!limit) return RpcReply{std::unexpected(limit.error())};
  auto page = context.source.flows(*cursor, *limit, now);
  return RpcReply{
      Json::Object{{"flows", std::move(page.flows)}, {"next", page.next ? Json{*page.next} : Json{}}}};
}

std::optional<flow::Protocol> protocol_of(std::string_view text) {
  if (text == "tcp") return flow::Protocol::kTcp;
  if (text == "udp") return flow::Protocol::kUdp;
  if (text == "icmp") return flow::Protocol::kIcmpEcho;
  return std::nullopt;
}

// One text of a kill's filter into its place; false: it means nothing.
bool take_filter(FlowFilter& filter, std::string_view key, const std::string& text) {
  if (key == "flow") {
    filter.id = parse_flow_id(text);
    return filter.id.has_value();
  }
  if (key == "remote") {
    const auto prefix = net::parse_prefix(text);
    if (prefix) filter.remote = *prefix;
    return prefix.has_value();
  }
  if (key == "protocol") {
    filter.protocol = protocol_of(text);
    return filter.protocol.has_value();
  }
  filter.rule = text;
  return !text.empty();
}

std::expected<FlowFilter, RpcError> filter_of(const Json& params) {
  FlowFilter filter;
  bool any = false;
  for (const std::string_view key : {"flow", "remote", "protocol", "rule"}) {
    const Json* value = params.find(key);
    if (value == nullptr) continue;
    any = true;
    if (value->text() == nullptr || !take_filter(filter, key, *value->text()))
      return bad_params(key == "flow"       ? R"(flow must be an id as "flows" gives it)"
                        : key == "remote"   ? "remote must be an address or a prefix without host bits"
                        : key == "protocol" ? "protocol must be tcp, udp or icmp"
                                            : "rule must be a rule's name");
  }
  if (params.find("port") != nullptr) {
    any = true;
    const auto port = number_of(params, "port", 1, 65535, 0);
    if (!port) return std::unexpected(port.error());
    filter.port = net::Port{static_cast<std::uint16_t>(*port)};
  }
  const Json* all = params.find("all");
  if (all != nullptr && (all->boolean() == nullptr || !*all->boolean()))
    return bad_params("all must be true");
  if (any == (all != nullptr))
    return bad_params("say which flows: flow, remote, port, protocol and rule together, or all");
  return filter;
}

class KillJob final : public ControlJob {
 public:
  KillJob(ControlSource& source, FlowFilter filter) : source_(source), filter_(std::move(filter)) {}
  std::optional<RpcReply> step(base::Instant now) override {
    const auto step = source_.kill(filter_, cursor_, now);
    killed_ += step.killed;
    if (!step.next) return RpcReply{Json::Object{{"killed", killed_}}};
    cursor_ = *step.next;
    return std::nullopt;
  }
  [[nodiscard]] base::Instant due() const override { return {}; }

 private:
  ControlSource& source_;
  FlowFilter filter_;
  std::uint64_t cursor_ = 0;
  std::uint64_t killed_ = 0;
};

Begun kill(const ControlContext& context, const Json& params, base::Instant /*now*/) {
  if (auto error = unknown_key(params, {"flow", "remote", "port", "protocol", "rule", "all"}))
    return RpcReply{std::unexpected(std::move(*error))};
  auto filter = filter_of(params);
  if (!filter) return RpcReply{std::unexpected(std::move(filter.error()))};
  return std::make_unique<KillJob>(context.source, std::move(*filter));
}

class ReloadJob final : public ControlJob {
 public:
  ReloadJob(const ControlContext& context, base::Instant now)
      : source_(context.source), desk_(context.reloads), round_(desk_.join(now)) {}
  std::optional<RpcReply> step(base::Instant now) override {
    switch (desk_.look(round_, now)) {
      case ReloadDesk::Progress::kWaiting: return std::nullopt;
      case ReloadDesk::Progress::kLost:
        return std::unexpected(RpcError{RpcCode::kNoAnswer, "the files could not be read in time"});
      case ReloadDesk::Progress::kDone: break;
    }
    const ReloadOutcome& outcome = source_.last_reload();
    if (outcome.nothing)
      return std::unexpected(
          RpcError{RpcCode::kNothingToReload, "there is no policy file: the policy in force stays"});
    const auto policy = source_.policy();
    Json data = Json::Object{
        {"generation", policy.generation}, {"hash", policy.hash}, {"diagnostics", outcome.diagnostics}};
    if (outcome.in_force) {
      data.add("changed", outcome.changed);
      return RpcReply{std::move(data)};
    }
    return std::unexpected(RpcError{RpcCode::kPolicyRejected, "the policy was rejected", std::move(data)});
  }
  [[nodiscard]] base::Instant due() const override { return desk_.due(); }

 private:
  ControlSource& source_;
  ReloadDesk& desk_;
  std::uint64_t round_;
};

Begun reload(const ControlContext& context, const Json& params, base::Instant now) {
  if (auto error = unknown_key(params, {})) return RpcReply{std::unexpected(std::move(*error))};
  return std::make_unique<ReloadJob>(context, now);
}

Begun metrics(const ControlContext& context, const Json& params, base::Instant now) {
  if (auto error = unknown_key(params, {})) return RpcReply{std::unexpected(std::move(*error))};
  MetricsText text;
  context.source.metrics(text, now);
  return RpcReply{Json::Object{{"content_type", MetricsText::kContentType}, {"text", text.take()}}};
}

constexpr ControlMethod kMethods[] = {{"version", version}, {"status", status}, {"flows", flows},
                                      {"kill", kill},       {"reload", reload}, {"metrics", metrics}};

}  // namespace

std::uint64_t ReloadDesk::join(base::Instant now) {
  if (round_ == finished_) {
    ask(now);
    wanted_ = round_;
  } else {
    wanted_ = round_ + 1;
  }
  return wanted_;
}

void ReloadDesk::ask(base::Instant now) {
  ++round_;
  count_ = source_.last_reload().count;
  asked_at_ = now;
  source_.ask_reload();
}

ReloadDesk::Progress ReloadDesk::look(std::uint64_t round, base::Instant now) {
  if (round_ != finished_) {
    const bool answered = source_.last_reload().count != count_;
    if (answered || now >= asked_at_ + kPatience) {
      finished_ = round_;
      if (!answered) lost_ = round_;
      if (wanted_ > round_) ask(now);
    }
  }
  if (round > finished_) return Progress::kWaiting;
  return round == lost_ ? Progress::kLost : Progress::kDone;
}

base::Instant ReloadDesk::due() const {
  if (round_ == finished_ || source_.last_reload().count != count_) return {};
  return asked_at_ + kPatience;
}

std::span<const ControlMethod> control_methods() { return kMethods; }

Begun begin_request(const ControlContext& context, const RpcRequest& request, base::Instant now) {
  const auto method = std::ranges::find(kMethods, request.method, &ControlMethod::name);
  if (method == std::end(kMethods))
    return RpcReply{std::unexpected(
        RpcError{RpcCode::kMethodNotFound, "Method not found: " + policy::quote(request.method)})};
  if (const Json::Array* positions = request.params.array()) {
    if (!positions->empty()) return RpcReply{bad_params("give them by name")};
    return method->begin(context, Json{}, now);
  }
  return method->begin(context, request.params, now);
}

std::string to_text(flow::Id id) { return std::to_string(id.slot) + '.' + std::to_string(id.generation); }

std::optional<flow::Id> parse_flow_id(std::string_view text) {
  const auto dot = text.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto slot = parse_number(text.substr(0, dot));
  const auto generation = parse_number(text.substr(dot + 1));
  if (!slot || !generation || *slot > UINT32_MAX || *generation > UINT32_MAX) return std::nullopt;
  return flow::Id{static_cast<std::uint32_t>(*slot), static_cast<std::uint32_t>(*generation)};
}

}  // namespace cordon::app
