#include "sandbox/translator_vhost.h"

#include "core/vhost/fault_guard.h"

namespace cordon::sandbox {

base::Result<void> VhostPort::begin(base::Fd socket, const vhost::DeviceOptions& options,
                                    plane::Worker& first) {
  CORDON_TRY(vhost::fault_guard::install());
  backend_.emplace(std::move(socket), options, paths_, pause_);
  first.add_poll_source(backend_->poll_fd(), *this);
  return {};
}

void VhostPort::on_ready(std::uint32_t, base::Instant) {
  if (status_ == vhost::Backend::Status::kOpen) status_ = backend_->serve();
}

std::string VhostPort::violation() const {
  if (status_ == vhost::Backend::Status::kViolation) return std::string{backend_->complaint()};
  if (vhost::fault_guard::memory_lost()) return "guest memory has vanished";
  for (std::size_t i = 0; i < links_.size(); ++i)
    if (const auto why = links_[i]->violation())
      return "queue pair " + std::to_string(i) + ": " + std::string{vhost::name(*why)};
  return {};
}

}  // namespace cordon::sandbox
