// A vhost-user device in the translator: the protocol is served in the first lane's loop, each lane has one
// queue pair, and a lane that is not the first steps aside while the protocol changes memory or rings.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/plane/worker.h"
#include "core/vhost/backend.h"
#include "core/vhost/pause.h"
#include "core/vhost/vhost_link.h"

namespace cordon::sandbox {

class VhostPort final : public plane::PollHandler {
 public:
  // Before the lanes. Reserves; may throw std::bad_alloc, std::system_error.
  explicit VhostPort(unsigned lanes) : pause_(lanes - 1) {}
  VhostPort(const VhostPort&) = delete;
  VhostPort& operator=(const VhostPort&) = delete;

  // For the link of a lane.
  [[nodiscard]] vhost::PauseSeat* seat(unsigned lane) { return lane == 0 ? nullptr : &pause_.seat(lane - 1); }
  void add(vhost::VhostLink& link) {
    links_.push_back(&link);
    paths_.push_back(&link);
  }
  // After the lanes, before the lockdown. `socket`: the connection with the front end.
  [[nodiscard]] base::Result<void> begin(base::Fd socket, const vhost::DeviceOptions& options,
                                         plane::Worker& first);

  void on_ready(std::uint32_t events, base::Instant now) override;
  // To be asked after each turn of the first lane. False: the connection has ended. A lane whose rings were
  // broken, or memory lost, ends by itself and stops the others (GuestLink::dead()).
  [[nodiscard]] bool open() const { return status_ == vhost::Backend::Status::kOpen; }
  // What the front end or the guest did against the rules; empty: nothing. When no other lane runs any more.
  [[nodiscard]] std::string violation() const;

 private:
  vhost::Pause pause_;
  std::vector<const vhost::VhostLink*> links_;
  std::vector<vhost::DataPath*> paths_;
  std::optional<vhost::Backend> backend_;
  vhost::Backend::Status status_ = vhost::Backend::Status::kOpen;
};

}  // namespace cordon::sandbox
