#include "app/control_protocol.h"

#include <doctest/doctest.h>

using namespace cordon::app;

namespace {

// "ok", or the error's number.
std::string outcome(const RpcEntry& entry) {
  return entry ? "ok" : std::to_string(static_cast<int>(entry.error().code));
}

std::string deep(std::size_t levels) {
  return R"({"jsonrpc":"2.0","id":1,"method":"m","params":)" + std::string(levels, '[') +
         std::string(levels, ']') + "}";
}

}  // namespace

// Codes are those of https://www.jsonrpc.org/specification, section 5.1, the examples those of section 7.
TEST_CASE("control protocol: single requests") {
  struct Case {
    std::string line;
    std::string_view outcome;
  };
  const Case cases[] = {
      {R"({"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1})", "ok"},
      {R"({"jsonrpc": "2.0", "method": "subtract", "params": {"a": 23}, "id": "x"})", "ok"},
      {R"({"jsonrpc": "2.0", "method": "m", "id": null})", "ok"},
      {R"({"jsonrpc": "2.0", "method": "m", "id": 1.5})", "ok"},
      {R"({"jsonrpc": "2.0", "method": "m", "id": -7})", "ok"},
      {R"({"jsonrpc": "2.0", "method": "", "id": 1})", "ok"},
      {R"({"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz])", "-32700"},
      {R"({"jsonrpc": "2.0", "method": 1, "params": "bar"})", "-32600"},
      {"", "-32700"},
      {"{", "-32700"},
      {"nonsense", "-32700"},
      {"\xff\xfe", "-32700"},
      {"{\"jsonrpc\":\"2.0\",\"method\":\"\xc3\x28\",\"id\":1}", "-32700"},
      {R"({"jsonrpc":"2.0","method":"m","id":1e999})", "-32700"},
      {R"({"jsonrpc":"2.0","method":"m","id":1} x)", "-32700"},
      {"1", "-32600"},
      {"null", "-32600"},
      {R"("text")", "-32600"},
      {"{}", "-32600"},
      {"[]", "-32600"},
      {R"({"jsonrpc":"1.0","method":"m","id":1})", "-32600"},
      {R"({"jsonrpc":2.0,"method":"m","id":1})", "-32600"},
      {R"({"method":"m","id":1})", "-32600"},
      {R"({"jsonrpc":"2.0","id":1})", "-32600"},
      {R"({"jsonrpc":"2.0","method":null,"id":1})", "-32600"},
      {R"({"jsonrpc":"2.0","method":"m","id":true})", "-32600"},
      {R"({"jsonrpc":"2.0","method":"m","id":[1]})", "-32600"},
      {R"({"jsonrpc":"2.0","method":"m","id":{}})", "-32600"},
      {R"({"jsonrpc":"2.0","method":"m","params":1,"id":1})", "-32600"},
      {R"({"jsonrpc":"2.0","method":"m","params":"x","id":1})", "-32600"},
      {R"({"jsonrpc":"2.0","method":"m","params":null,"id":1})", "-32600"},
      {R"({"jsonrpc":"2.0","method":"m","method":"n","id":1})", "-32600"},
      {R"({"jsonrpc":"2.0","method":"m","params":{"a":1,"a":2},"id":1})", "-32600"},
      {deep(7), "ok"},
      {deep(8), "-32600"},
      {deep(20'000), "-32600"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.line.substr(0, 100));
    const RpcLine line = read_request(c.line);
    CHECK_FALSE(line.batch);
    REQUIRE(line.entries.size() == 1);
    CHECK(outcome(line.entries[0]) == c.outcome);
  }
}

TEST_CASE("control protocol: a request without id is a notification, with null it is not") {
  CHECK_FALSE(read_request(R"({"jsonrpc":"2.0","method":"m"})").entries[0]->id.has_value());
  REQUIRE(read_request(R"({"jsonrpc":"2.0","method":"m","id":null})").entries[0]->id.has_value());
  CHECK(read_request(R"({"jsonrpc":"2.0","method":"m","id":null})").entries[0]->id->is_null());
}

TEST_CASE("control protocol: batches") {
  const auto batch = read_request(
      R"([{"jsonrpc":"2.0","method":"m","id":"1"},{"foo":"boo"},1,{"jsonrpc":"2.0","method":"n"},[]])");
  CHECK(batch.batch);
  REQUIRE(batch.entries.size() == 5);
  CHECK(outcome(batch.entries[0]) == "ok");
  CHECK(outcome(batch.entries[1]) == "-32600");
  CHECK(outcome(batch.entries[2]) == "-32600");
  CHECK(outcome(batch.entries[3]) == "ok");
  CHECK(outcome(batch.entries[4]) == "-32600");

  std::string many = "[";
  for (int i = 0; i < 17; ++i) many += i == 0 ? "1" : ",1";
  CHECK_FALSE(read_request(many + "]").batch);
  CHECK(outcome(read_request(many + "]").entries[0]) == "-32600");
  CHECK(outcome(read_request(R"([{"jsonrpc":"2.0","method":"m"},)").entries[0]) == "-32700");
}

TEST_CASE("control protocol: what a server writes a client reads") {
  CHECK(write_request(3, "flows", Json::Object{{"cursor", 0}}) ==
        R"({"jsonrpc":"2.0","id":3,"method":"flows","params":{"cursor":0}})");
  CHECK(write_request(3, "status", Json{}) == R"({"jsonrpc":"2.0","id":3,"method":"status"})");
  const std::string good = write_response(Json{3}, Json::Object{{"killed", 2}});
  CHECK(good == R"({"jsonrpc":"2.0","result":{"killed":2},"id":3})");
  const auto read = read_response(good, 3);
  REQUIRE(read);
  REQUIRE(*read);
  CHECK((*read)->natural_at("killed") == 2);

  const std::string bad =
      write_response(Json{3}, std::unexpected(RpcError{RpcCode::kPolicyRejected, "no\nway", Json{7}}));
  CHECK(bad == R"({"jsonrpc":"2.0","error":{"code":-32011,"message":"no\nway","data":7},"id":3})");
  const auto error = read_response(bad, 3);
  REQUIRE(error);
  REQUIRE_FALSE(*error);
  CHECK(error->error().code == RpcCode::kPolicyRejected);
  CHECK(error->error().message == "no\nway");
  CHECK(error->error().data == Json{7});
  // An error about the connection as a whole.
  CHECK(read_response(write_response(Json{}, std::unexpected(RpcError{RpcCode::kBusy, "busy"})), 3)
            .has_value());
}

TEST_CASE("control protocol: an answer that is none") {
  for (const std::string_view line :
       {"", "[]", "null", "x", "{}", R"({"jsonrpc":"2.0","id":3})", R"({"jsonrpc":"2.0","result":1,"id":4})",
        R"({"jsonrpc":"2.0","result":1,"error":{"code":1,"message":"x"},"id":3})",
        R"({"jsonrpc":"2.0","result":1})", R"({"result":1,"id":3})", R"({"jsonrpc":"2.0","error":5,"id":3})",
        R"({"jsonrpc":"2.0","result":1,"id":null})"}) {
    CAPTURE(line);
    CHECK_FALSE(read_response(line, 3));
  }
}

TEST_CASE("control protocol: lines out of pieces") {
  const std::string stream = "one\n\n  \r\ntwo\r\n\nthree";
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    CAPTURE(piece);
    LineBuffer buffer{64};
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      buffer.push(std::string_view{stream}.substr(at, piece));
      while (auto line = buffer.next()) lines.push_back(*line);
    }
    CHECK(lines == std::vector<std::string>{"one", "two\r"});
    CHECK_FALSE(buffer.empty());
    buffer.finish();
    CHECK(buffer.next() == "three");
    CHECK(buffer.empty());
    CHECK_FALSE(buffer.next());
  }
}

TEST_CASE("control protocol: a line has an end") {
  LineBuffer buffer{8};
  buffer.push("1234567\n12345678");
  CHECK(buffer.next() == "1234567");
  CHECK_FALSE(buffer.next());
  CHECK(buffer.overlong());
  CHECK(buffer.room() == 0);
  LineBuffer other{8};
  CHECK(other.room() == 8);
  other.push("123");
  CHECK_FALSE(other.next());
  CHECK(other.room() == 5);
  other.push("45678\nx");
  CHECK_FALSE(other.next());
  CHECK(other.overlong());
}
