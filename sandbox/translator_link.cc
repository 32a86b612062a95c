#include "sandbox/translator_link.h"

#include "core/vhost/fault_guard.h"
#include "sandbox/descriptors.h"

namespace cordon::sandbox {

GuestLink::GuestLink(const Setup& setup) : link_(choose(setup)) {
  if (auto* const pair = std::get_if<vhost::VhostLink>(&link_)) setup.vhost->add(*pair);
}

GuestLink::Choice GuestLink::choose(const Setup& setup) {
  const WorkerFds fds = worker_fds(setup.lane);
  switch (setup.kind) {
    case LinkKind::kStream: return Choice{std::in_place_type<link::StreamLink>, base::Fd{fds.tap}};
    case LinkKind::kVhostUser:
      return Choice{std::in_place_type<vhost::VhostLink>, setup.vhost->seat(setup.lane)};
    case LinkKind::kTap: break;
  }
  return Choice{std::in_place_type<link::TapLink>, base::Fd{fds.tap}, setup.offloads,
                base::Fd{setup.bulk_queue ? fds.bulk : -1}};
}

link::Link& GuestLink::link() {
  return std::visit([](auto& link) -> link::Link& { return link; }, link_);
}

bool GuestLink::dead() const {
  // Its own thread asks: whichever lane has found memory gone, each ends by itself.
  if (std::holds_alternative<vhost::VhostLink>(link_) && vhost::fault_guard::memory_lost()) return true;
  return std::visit([](const auto& link) { return link.dead(); }, link_);
}

std::string GuestLink::violation() const {
  const auto* const stream = std::get_if<link::StreamLink>(&link_);
  // Everything else is an end as any process may come to.
  return stream != nullptr && stream->end() == link::StreamEnd::kBadLength ? stream->describe_end()
                                                                           : std::string{};
}

}  // namespace cordon::sandbox
