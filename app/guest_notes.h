// What the launcher and the process that sets up a guest's network say to each other: fixed notes over a
// SEQPACKET pair. Descriptors travel towards the launcher only: the queues of the tap.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::app {

enum class Step : std::uint8_t {
  kUnshared = 1,  // child: write my id maps
  kMapped,        // launcher
  kTap,           // child: here is the tap, one descriptor for each queue
  kFailed,        // child: `text` says what
  kGo             // launcher: execute the command
};

struct Note {
  Step step = Step::kFailed;
  std::array<char, 500> text{};
};

inline constexpr std::size_t kMostQueues = 64;

struct Received {
  Note note;
  std::vector<base::Fd> fds;
};

struct NotePair {
  base::Fd ours;
  base::Fd theirs;
};
[[nodiscard]] base::Result<NotePair> make_note_pair();

[[nodiscard]] base::Result<void> send_note(int channel, const Note& note, std::span<const base::Fd> fds = {});
// The last word of a child that gives up.
void send_failure(int channel, const base::Error& error);
[[nodiscard]] base::Result<Received> receive_note(int channel);
// Waits for this note and no other. A failure note is an error with its text.
[[nodiscard]] base::Result<Received> expect_note(int channel, Step step);

}  // namespace cordon::app
