// A link around another one, which it asks everything that it does not answer itself. A new question to links
// is forwarded here, once, and no decorator can forget it.
#pragma once

#include "core/link/link.h"

namespace cordon::link {

class ForwardingLink : public Link {
 public:
  // Not owned.
  explicit ForwardingLink(Link& inner) : inner_(inner) {}

  [[nodiscard]] Capabilities capabilities() const override { return inner_.capabilities(); }
  [[nodiscard]] int poll_fd() const override { return inner_.poll_fd(); }
  [[nodiscard]] std::size_t receive(std::span<Frame> frames) override { return inner_.receive(frames); }
  [[nodiscard]] Refused refused() const override { return inner_.refused(); }
  [[nodiscard]] SendStatus send(const Offload& offload, std::span<const iovec> parts) override {
    return inner_.send(offload, parts);
  }
  void flush() override { inner_.flush(); }
  void trim() override { inner_.trim(); }
  [[nodiscard]] bool pending() const override { return inner_.pending(); }
  [[nodiscard]] bool before_sleep() override { return inner_.before_sleep(); }
  [[nodiscard]] bool tells_room() const override { return inner_.tells_room(); }
  [[nodiscard]] bool serves_guest() const override { return inner_.serves_guest(); }
  [[nodiscard]] std::uint32_t waits_for() const override { return inner_.waits_for(); }
  [[nodiscard]] bool intact() const override { return inner_.intact(); }
  void lose_tail() override { inner_.lose_tail(); }
  [[nodiscard]] int bulk_fd() const override { return inner_.bulk_fd(); }
  [[nodiscard]] std::size_t receive_bulk(std::span<Frame> frames) override {
    return inner_.receive_bulk(frames);
  }
  [[nodiscard]] int wake_fd() const override { return inner_.wake_fd(); }
  [[nodiscard]] bool before_wait(bool may_sleep) override { return inner_.before_wait(may_sleep); }
  void after_wait() override { inner_.after_wait(); }
  [[nodiscard]] bool pass_on(base::Bytes ethernet_header, base::Bytes ip) override {
    return inner_.pass_on(ethernet_header, ip);
  }

 protected:
  Link& inner_;
};

}  // namespace cordon::link
