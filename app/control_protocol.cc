#include "app/control_protocol.h"

#include <algorithm>
#include <cstdlib>

namespace cordon::app {
namespace {

std::unexpected<RpcError> invalid(std::string why) {
  return std::unexpected(RpcError{RpcCode::kInvalidRequest, "Invalid Request: " + std::move(why)});
}

RpcEntry read_entry(const Json& value) {
  if (value.object() == nullptr) return invalid("not an object");
  const Json* version = value.find("jsonrpc");
  if (version == nullptr || version->text() == nullptr || *version->text() != "2.0")
    return invalid(R"("jsonrpc" must be "2.0")");
  const Json* method = value.find("method");
  if (method == nullptr || method->text() == nullptr) return invalid(R"("method" must be a text)");
  RpcRequest request{.id = std::nullopt, .method = *method->text(), .params = {}};
  if (const Json* params = value.find("params")) {
    if (params->array() == nullptr && params->object() == nullptr)
      return invalid(R"("params" must be an array or an object)");
    request.params = *params;
  }
  if (const Json* id = value.find("id")) {
    if (!id->is_null() && !id->is_number() && id->text() == nullptr)
      return invalid(R"("id" must be a text, a number or null)");
    request.id = *id;
  }
  return request;
}

RpcEntry unreadable(const Json::ParseError& error) {
  switch (error.fault) {
    case Json::Fault::kTooDeep: return invalid("nested deeper than " + std::to_string(kMaxDepth) + " levels");
    case Json::Fault::kDuplicate: return invalid("a key is twice in an object");
    case Json::Fault::kSyntax: break;
  }
  return std::unexpected(
      RpcError{RpcCode::kParseError, "Parse error: no JSON at byte " + std::to_string(error.position)});
}

}  // namespace

RpcLine read_request(std::string_view line) {
  const auto value = Json::parse(line, kMaxDepth);
  RpcLine read;
  if (!value) {
    read.entries.push_back(unreadable(value.error()));
    return read;
  }
  const Json::Array* batch = value->array();
  if (batch == nullptr) {
    read.entries.push_back(read_entry(*value));
    return read;
  }
  // An empty batch is answered by one error, not by an array of none.
  if (batch->empty() || batch->size() > kMaxBatch) {
    read.entries.push_back(invalid("a batch has 1 to " + std::to_string(kMaxBatch) + " entries"));
    return read;
  }
  read.batch = true;
  for (const Json& entry : *batch) read.entries.push_back(read_entry(entry));
  return read;
}

std::string write_response(const Json& id, const RpcReply& reply) {
  Json response{Json::Object{{"jsonrpc", "2.0"}}};
  if (reply) {
    response.add("result", *reply);
  } else {
    Json error{Json::Object{{"code", static_cast<std::int32_t>(reply.error().code)},
                            {"message", reply.error().message}}};
    if (!reply.error().data.is_null()) error.add("data", reply.error().data);
    response.add("error", std::move(error));
  }
  response.add("id", id);
  return response.dump();
}

std::string write_request(std::uint64_t id, std::string_view method, const Json& params) {
  Json request{Json::Object{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}}};
  if (!params.is_null()) request.add("params", params);
  return request.dump();
}

std::expected<RpcReply, std::string> read_response(std::string_view line, std::uint64_t id) {
  constexpr std::size_t kDeepAnswer = 16;
  const auto value = Json::parse(line, kDeepAnswer);
  if (!value || value->object() == nullptr || value->text_at("jsonrpc") != "2.0")
    return std::unexpected("what came is no JSON-RPC answer");
  const Json* result = value->find("result");
  const Json* error = value->find("error");
  const Json* answered = value->find("id");
  if (answered == nullptr || (result == nullptr) == (error == nullptr))
    return std::unexpected("what came is no JSON-RPC answer");
  // An error that concerns no request of ours, as "too many clients", has no id.
  const bool ours = answered->natural() != nullptr && *answered->natural() == id;
  if (!ours && !(error != nullptr && answered->is_null()))
    return std::unexpected("the answer is to another question");
  if (result != nullptr) return RpcReply{*result};
  if (error->object() == nullptr) return std::unexpected("what came is no JSON-RPC answer");
  RpcError said{.code = RpcCode::kInternalError, .message = error->text_at("message")};
  if (const Json* code = error->find("code"); code != nullptr && code->is_number()) {
    // Codes are negative; as text they need no door of their own into Json.
    const std::string digits = code->dump();
    said.code = static_cast<RpcCode>(std::strtol(digits.c_str(), nullptr, 10));
  }
  if (const Json* data = error->find("data")) said.data = *data;
  return RpcReply{std::unexpected(std::move(said))};
}

std::optional<std::string> LineBuffer::next() {
  const auto blank = [](std::string_view text) {
    return text.find_first_not_of(" \t\r") == std::string_view::npos;
  };
  while (!overlong_) {
    scanned_ = std::max(scanned_, begin_);
    std::size_t end = bytes_.find('\n', scanned_);
    const bool ended = end != std::string::npos;
    if (!ended) end = bytes_.size();
    if (end - begin_ >= max_) {
      overlong_ = true;
      return std::nullopt;
    }
    if (!ended && (!finished_ || begin_ == end)) {
      scanned_ = end;
      // What was taken makes room.
      bytes_.erase(0, begin_);
      scanned_ -= begin_;
      begin_ = 0;
      if (bytes_.empty()) bytes_.shrink_to_fit();
      return std::nullopt;
    }
    std::string line = bytes_.substr(begin_, end - begin_);
    begin_ = ended ? end + 1 : end;
    if (!blank(line)) return line;
  }
  return std::nullopt;
}

std::size_t LineBuffer::room() const {
  const std::size_t held = bytes_.size() - begin_;
  return overlong_ || held >= max_ ? 0 : max_ - held;
}

}  // namespace cordon::app
