// What a lane of the translator reads the guest's frames from: one link of the kind that the start asked for.
#pragma once

#include <string>
#include <variant>

#include "core/link/stream_link.h"
#include "core/link/tap_link.h"
#include "core/vhost/vhost_link.h"
#include "sandbox/translator_process.h"
#include "sandbox/translator_vhost.h"

namespace cordon::sandbox {

class GuestLink {
 public:
  struct Setup {
    LinkKind kind = LinkKind::kTap;
    unsigned lane = 0;
    link::Capabilities offloads;  // of a tap: what set_tap_offloads() said
    bool bulk_queue = false;
    VhostPort* vhost = nullptr;  // of kVhostUser
  };
  explicit GuestLink(const Setup& setup);

  [[nodiscard]] link::Link& link();
  // Nothing will come any more.
  [[nodiscard]] bool dead() const;
  // What the other end did against the rules, by which it died; empty: nothing.
  [[nodiscard]] std::string violation() const;

 private:
  using Choice = std::variant<link::TapLink, link::StreamLink, vhost::VhostLink>;
  static Choice choose(const Setup& setup);
  Choice link_;
};

}  // namespace cordon::sandbox
