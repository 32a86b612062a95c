// The reference page names everything a user can meet.
#include <fstream>
#include <iterator>

#include "policy/audit_record.h"
#include "policy/special_purpose.h"
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;

TEST_CASE("policy: the reference lists every reason, action, place and metadata endpoint") {
  std::ifstream stream{std::string{CORDON_SOURCE_DIR} + "/docs/policy-reference.md"};
  REQUIRE(stream.good());
  const std::string page{std::istreambuf_iterator<char>{stream}, {}};
  const auto has = [&](const std::string& text) {
    CAPTURE(text);
    CHECK(page.find(text) != std::string::npos);
  };
  for (std::size_t i = 1; i < kReasonCount; ++i)
    has("`" + std::string{to_string(static_cast<Reason>(i))} + "`");
  for (auto a = AuditAction::kFlowDenied; a <= AuditAction::kAuditDropped;
       a = static_cast<AuditAction>(static_cast<int>(a) + 1))
    has("`" + std::string{to_string(a)} + "`");
  for (const auto& row : special_prefixes())
    if (row.kind == AddressKind::kMetadata) has(net::to_string(row.address));
}
