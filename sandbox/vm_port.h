// Where a virtual machine comes in, in the launcher: a socket that it connects to, or a connection that the
// caller has made already. Not a byte is read here; the connection goes to a translator.
//
// Only the launcher's own user and root come in. Whoever has the connection is the guest: he would take its
// addresses, its published ports and its part of the policy, and every other client would be turned away.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/time.h"
#include "core/base/token_bucket.h"
#include "sandbox/socket_file.h"

namespace cordon::sandbox {

class VmPort {
 public:
  // At `path`, in place of what a dead instance left there.
  [[nodiscard]] static base::Result<VmPort> listen(std::string path, bool one_off);
  // The caller's connected stream socket, blocking or not. Its number is free afterwards, or /dev/null where
  // it was a standard one: call it before anything else is opened.
  [[nodiscard]] static base::Result<VmPort> adopt(int number);

  // Readable when somebody may wait; -1: nobody ever comes but who is there at the start.
  [[nodiscard]] int poll_fd() const;
  // Its first client's end is the end.
  [[nodiscard]] bool one_off() const { return one_off_; }
  // How many workers serve one client.
  [[nodiscard]] unsigned workers() const { return workers_; }
  void set_workers(unsigned workers) { workers_ = workers; }

  struct Visit {
    base::Fd client;           // invalid: nobody, refused, or not now
    std::string who;           // "process 7 of user 1000", for people
    bool more = false;         // somebody else may wait
    std::string_view refused;  // why
  };
  [[nodiscard]] Visit accept();
  // Each client costs a process: not more of them than this.
  [[nodiscard]] bool may_serve(base::Instant now) { return bucket_.take(now); }

 private:
  explicit VmPort(SocketFile file, bool one_off) : source_(std::move(file)), one_off_(one_off) {}
  explicit VmPort(base::Fd connection) : source_(std::move(connection)), one_off_(true) {}

  std::variant<SocketFile, base::Fd> source_;
  base::TokenBucket bucket_{5, 20};
  bool one_off_;
  unsigned workers_ = 1;
};

}  // namespace cordon::sandbox
