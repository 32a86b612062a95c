// The control socket's language: JSON-RPC 2.0, one value a line in each direction. Pure: bytes in, requests
// or errors out; docs/control.md is the reference.
//
// What the specification (jsonrpc.org, 2013) leaves open is settled here: a line has at most kMaxLine bytes
// and kMaxDepth arrays or objects within each other, a batch at most kMaxBatch entries, and a key that is
// twice in an object makes the request invalid. Blank lines are skipped. A last line needs no newline.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/json.h"

namespace cordon::app {

// Counts up when an old client would misunderstand a new server, or the other way round.
inline constexpr std::uint32_t kControlProtocol = 1;
inline constexpr std::size_t kMaxLine = 64UL * 1024;  // of a request, with its newline
inline constexpr std::size_t kMaxDepth = 8;
inline constexpr std::size_t kMaxBatch = 16;

enum class RpcCode : std::int32_t {
  kParseError = -32700,
  kInvalidRequest = -32600,
  kMethodNotFound = -32601,
  kInvalidParams = -32602,
  kInternalError = -32603,
  // ours, within what the specification leaves to servers
  kBusy = -32001,             // too many clients
  kTooLarge = -32002,         // the answers of a batch are more than one line may hold
  kNothingToReload = -32010,  // there is no policy file
  kPolicyRejected = -32011,   // data: what is wrong with it
  kNoAnswer = -32012,         // the launcher did not say what became of the reload
};

struct RpcError {
  RpcCode code = RpcCode::kInternalError;
  std::string message;
  Json data{};  // null: none
};
using RpcReply = std::expected<Json, RpcError>;

struct RpcRequest {
  std::optional<Json> id;  // a text, a number or null; none: a notification, which is never answered
  std::string method;
  Json params;  // null, an array or an object
};
using RpcEntry = std::expected<RpcRequest, RpcError>;

// One line of a client. An entry that is no valid request is answered with id null.
struct RpcLine {
  bool batch = false;
  std::vector<RpcEntry> entries;  // never empty
};
[[nodiscard]] RpcLine read_request(std::string_view line);

// Without a newline.
[[nodiscard]] std::string write_response(const Json& id, const RpcReply& reply);
[[nodiscard]] std::string write_request(std::uint64_t id, std::string_view method, const Json& params);

// The client's view: the answer to request `id`. The text says what is wrong with a line that is none.
[[nodiscard]] std::expected<RpcReply, std::string> read_response(std::string_view line, std::uint64_t id);

// Bytes of a stream to lines.
class LineBuffer {
 public:
  explicit LineBuffer(std::size_t max_line) : max_(max_line) {}

  void push(std::string_view bytes) { bytes_ += bytes; }
  void finish() { finished_ = true; }  // no more bytes come: what is left is the last line
  // The next line that is not blank, without its newline.
  [[nodiscard]] std::optional<std::string> next();
  // The line under way is longer than it may be; next() gives none any more.
  [[nodiscard]] bool overlong() const { return overlong_; }
  // Bytes of a line whose end has not come, or of lines that were not taken.
  [[nodiscard]] bool empty() const { return begin_ == bytes_.size(); }
  // How much more it takes now.
  [[nodiscard]] std::size_t room() const;

 private:
  std::size_t max_;
  std::string bytes_;
  std::size_t begin_ = 0;    // of what was not taken yet
  std::size_t scanned_ = 0;  // no newline before it
  bool finished_ = false;
  bool overlong_ = false;
};

}  // namespace cordon::app
