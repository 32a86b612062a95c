// The control socket's server, in the broker's loop.
//
// The launcher listens, looks at who connects, and hands the connection over (adopt()). From then on a client
// is a state machine: a line is read, its requests are worked one after the other, the answers are written,
// and only then the next line is looked at. So one client holds at most one line of input, one job and the
// answers of one line. Each turn does one step for one client, in turns among those that have work, and
// everything is non-blocking: flows come first, always.
//
// A client that began a line or does not read its answers is closed after kPatience; one that is only
// connected may stay, until its place is needed: among kMaxClients the one that was silent longest goes.
#pragma once

#include <memory>
#include <vector>

#include "app/control_methods.h"
#include "app/control_protocol.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "sandbox/attendant.h"

namespace cordon::app {

class ControlServer final : public sandbox::Attendant {
 public:
  static constexpr std::size_t kMaxClients = 16;
  static constexpr base::Duration kPatience = std::chrono::seconds{30};
  static constexpr std::size_t kMaxAnswer = 4UL << 20U;  // of all answers of one batch

  // Makes the epoll set; before lockdown. `source` must outlive it.
  static base::Result<std::unique_ptr<ControlServer>> make(ControlSource& source);
  ~ControlServer() override;

  [[nodiscard]] int poll_fd() const override { return epoll_.get(); }
  void serve(base::Instant now) override;
  [[nodiscard]] base::Instant due() const override;
  void adopt(base::Fd socket, base::Instant now) override;

  [[nodiscard]] std::size_t clients() const { return clients_.size(); }

 private:
  struct Client;
  ControlServer(ControlSource& source, base::Fd epoll);

  void take_events(base::Instant now);
  void work(base::Instant now);
  void close_overdue(base::Instant now);
  void look_again(Client& client, base::Instant now);
  void drop_dead();
  bool make_room();

  ControlSource& source_;
  base::Fd epoll_;
  ReloadDesk reloads_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::uint64_t serial_ = 0;  // of the last client
  std::size_t turn_ = 0;      // whose turn it is among them
};

}  // namespace cordon::app
