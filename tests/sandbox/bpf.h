// A classic BPF interpreter for seccomp programs: what the kernel would say to a call, without making it.
#pragma once

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace cordon::sandbox::test {

struct Call {
  long number = 0;
  std::array<std::uint64_t, 6> args{};
  std::uint32_t arch = AUDIT_ARCH_X86_64;
};

// The filter's return value; nullopt when the program is broken (runs off its end, unknown instruction).
inline std::optional<std::uint32_t> interpret(std::span<const sock_filter> program, const Call& call) {
  seccomp_data data{};
  data.nr = static_cast<int>(call.number);
  data.arch = call.arch;
  for (std::size_t i = 0; i < 6; ++i) data.args[i] = call.args.at(i);
  std::uint32_t a = 0;
  std::array<std::uint32_t, BPF_MEMWORDS> memory{};
  std::uint32_t x = 0;
  for (std::size_t pc = 0; pc < program.size(); ++pc) {
    const sock_filter& in = program[pc];
    switch (in.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (in.k + 4 > sizeof data) return std::nullopt;
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + in.k, 4);
        break;
      case BPF_LD | BPF_IMM: a = in.k; break;
      case BPF_LD | BPF_MEM: a = memory.at(in.k); break;
      case BPF_ST: memory.at(in.k) = a; break;
      case BPF_MISC | BPF_TAX: x = a; break;
      case BPF_MISC | BPF_TXA: a = x; break;
      case BPF_ALU | BPF_AND | BPF_K: a &= in.k; break;
      case BPF_JMP | BPF_JA: pc += in.k; break;
      case BPF_JMP | BPF_JEQ | BPF_K: pc += a == in.k ? in.jt : in.jf; break;
      case BPF_JMP | BPF_JGT | BPF_K: pc += a > in.k ? in.jt : in.jf; break;
      case BPF_JMP | BPF_JGE | BPF_K: pc += a >= in.k ? in.jt : in.jf; break;
      case BPF_JMP | BPF_JSET | BPF_K: pc += (a & in.k) != 0 ? in.jt : in.jf; break;
      case BPF_RET | BPF_K: return in.k;
      case BPF_RET | BPF_A: return a;
      default: return std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace cordon::sandbox::test
