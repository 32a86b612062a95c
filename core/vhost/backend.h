// The shell around the device: the vhost-user socket, the descriptors that come by it, and the mappings.
//
// Theory of operation. Bytes are read as they come, never more than the message at hand needs, so that
// descriptors belong to the message they came with; a front end that stops in the middle of one costs
// nothing. Every descriptor that is not kept is closed before the next message. A message that may change a
// queue is handled while the other workers are paused: device first (it decides), then the data paths take
// their new state, and only then are old mappings and descriptors given back.
//
// All storage is in the object: after the lockdown there is no heap.
#pragma once

#include <sys/socket.h>

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "core/base/fd.h"
#include "core/vhost/data_path.h"
#include "core/vhost/device.h"
#include "core/vhost/dirty_log.h"
#include "core/vhost/mapping.h"
#include "core/vhost/message.h"
#include "core/vhost/pause.h"

namespace cordon::vhost {

class Backend {
 public:
  enum class Status : std::uint8_t {
    kOpen,
    kClosed,     // the front end has gone
    kViolation,  // complaint() says why; the connection must be closed
  };

  // `pairs`: the data path of each pair of `options`; they and `pause` outlive the back-end.
  Backend(base::Fd socket, const DeviceOptions& options, std::span<DataPath* const> pairs, Pause& pause);
  // Takes everything back from the data paths, which are paused for it.
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  [[nodiscard]] int poll_fd() const { return socket_.get(); }
  // Handles what is there, at most some messages a call; never waits.
  [[nodiscard]] Status serve();
  // "SET_VRING_NUM has the wrong size"
  [[nodiscard]] std::string_view complaint() const { return {complaint_.data(), complaint_size_}; }

 private:
  struct Memory {
    MemoryTable table;
    std::array<Mapping, kMaxRegions> mappings;  // in no order
    std::size_t count = 0;
    void clear();
  };
  struct Log {
    Mapping mapping;
    DirtyLog log;
  };
  enum class Read : std::uint8_t { kComplete, kLater, kClosed, kViolation };

  Read fill(std::size_t until);
  Read receive(std::span<std::byte> room);
  bool take_fds(const msghdr& message);
  void drop_fds();
  Status handle();
  Outcome act(const Message& message);
  Outcome step(const Message& message, const Findings& findings) { return device_.step(message, findings); }
  Outcome replace_memory(const Message& message, const SetMemTable& set, Findings& findings);
  Outcome add_memory(const Message& message, const AddMemReg& add, Findings& findings);
  Outcome remove_memory(const Message& message, const RemMemReg& remove, Findings& findings);
  Outcome map_log(const Message& message, const SetLogBase& set, Findings& findings);
  Outcome set_kick(const Message& message, const SetVringKick& set, const Findings& findings);
  Outcome set_call(const Message& message, const SetVringCall& set, const Findings& findings);
  [[nodiscard]] std::expected<void, std::string_view> map_region(Memory& memory, const MemoryRegion& region,
                                                                 int fd);
  [[nodiscard]] static bool remove_region(MemoryTable& table, const MemoryRegion& gone);
  void move_mappings(Memory& from, Memory& to);
  // QEMU before 8.0 has a device for each queue pair, and each of them adds and removes all regions by
  // itself. So the last word on a region holds, and one that is gone may be removed again.
  [[nodiscard]] bool repeats_itself() const { return pairs_.size() > 1; }
  void apply(const std::bitset<kMaxQueues>& changed);
  [[nodiscard]] QueueState queue_state(unsigned queue) const;
  void give_back();
  Status send(const Reply& reply);
  Status complain(std::string_view name, std::string_view why);

  base::Fd socket_;
  Device device_;
  std::span<DataPath* const> pairs_;
  Pause& pause_;
  EventfdJudge eventfds_;

  std::array<std::byte, kHeaderSize + kMaxPayload> message_{};
  std::size_t got_ = 0;
  Header header_;
  std::array<base::Fd, kMaxMessageFds> fds_;
  std::size_t fd_count_ = 0;

  std::array<Memory, 2> memories_;  // the one in use, and the one that is prepared or given back
  std::size_t memory_ = 0;
  std::array<Log, 2> logs_;
  std::size_t log_ = 0;
  std::array<base::Fd, kMaxQueues> kicks_;
  std::array<base::Fd, kMaxQueues> calls_;
  base::Fd retired_;  // replaced by this message, still in use until apply()
  std::uint64_t generation_ = 0;

  std::array<char, 160> complaint_{};
  std::size_t complaint_size_ = 0;
};

}  // namespace cordon::vhost
