// Seccomp profiles as data: what a role may ask of the kernel once it serves, and who needs it.
//
// Theory of operation. A profile is a list of tables, a table a list of rows. A row allows one system call
// when all its argument tests hold; rows of one call are alternatives. Everything else kills the process.
// filter.h turns the rows into BPF; tests interpret that BPF and also run it in live processes.
//
// Seccomp sees registers, not memory: sendmsg cannot be told from a retargeting sendmsg, so the translator
// has none. The kernel reads `int` arguments as 32 bits, hence the tests do too; pointers are compared whole.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace cordon::sandbox {

struct ArgumentTest {
  enum class Op : std::uint8_t {
    kEqual32,     // (u32)arg == value
    kOnlyBits32,  // ((u32)arg & ~value) == 0
    kEqualBut32,  // ((u32)arg & ~ignored) == value
    kNull,        // arg == 0, all 64 bits
    kOwnPid,      // (u32)arg == getpid() at installation
  };
  std::uint8_t index = 0;
  Op op = Op::kEqual32;
  std::uint32_t value = 0;
  std::uint32_t ignored = 0;
};

constexpr ArgumentTest arg_is(std::uint8_t index, int value) {
  return {index, ArgumentTest::Op::kEqual32, static_cast<std::uint32_t>(value), 0};
}
constexpr ArgumentTest arg_only(std::uint8_t index, int bits) {
  return {index, ArgumentTest::Op::kOnlyBits32, static_cast<std::uint32_t>(bits), 0};
}
constexpr ArgumentTest arg_is_but(std::uint8_t index, int value, int ignored) {
  return {index, ArgumentTest::Op::kEqualBut32, static_cast<std::uint32_t>(value),
          static_cast<std::uint32_t>(ignored)};
}
constexpr ArgumentTest arg_null(std::uint8_t index) { return {index, ArgumentTest::Op::kNull, 0, 0}; }
constexpr ArgumentTest arg_own_pid(std::uint8_t index) { return {index, ArgumentTest::Op::kOwnPid, 0, 0}; }

struct Row {
  enum class Verdict : std::uint8_t { kAllow, kErrno };

  int syscall = -1;
  std::string_view why;
  std::array<ArgumentTest, 3> tests{};
  std::uint8_t test_count = 0;
  Verdict verdict = Verdict::kAllow;
  int error = 0;  // with kErrno

  constexpr Row(int call, std::string_view reason, std::initializer_list<ArgumentTest> arguments = {})
      : syscall(call), why(reason) {
    for (const auto& test : arguments) tests.at(test_count++) = test;
  }
  // The call fails with `number` instead of killing: for what a runtime library only probes.
  static constexpr Row failing(int call, int number, std::string_view reason) {
    Row row{call, reason};
    row.verdict = Verdict::kErrno;
    row.error = number;
    return row;
  }
};

struct Table {
  std::string_view name;
  std::span<const Row> rows;
};

// In a sanitizer build each list ends with the table "sanitizer runtime", which weakens it; the report says
// so.
[[nodiscard]] std::span<const Table> translator_profile();
// Of a translator that maps a virtual machine's memory (vhost-user), and of no other.
[[nodiscard]] std::span<const Table> memory_translator_profile();
[[nodiscard]] std::span<const Table> broker_profile();
[[nodiscard]] std::span<const Table> reader_profile();
// Of the launcher once the guest runs, and of a policy loader: a superset of what the roles they start do
// until those are locked. Unlisted calls fail.
[[nodiscard]] std::span<const Table> launcher_profile();
// What ASan, UBSan and TSan runtimes call (empty table in ordinary builds).
[[nodiscard]] Table sanitizer_table();

}  // namespace cordon::sandbox
