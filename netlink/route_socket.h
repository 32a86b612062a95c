// A NETLINK_ROUTE socket on libnl-3's message layer: requests are built, sent and their answers handed out
// one by one as the kernel wrote them. Nothing is interpreted here, nothing cached, nothing retried.
//
// Not called socket.h: libnl has a <netlink/socket.h>, and the repository root is an include directory.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "core/base/error.h"
#include "core/net/ip_address.h"

struct nl_msg;
struct nl_sock;

namespace cordon::netlink {

// A request under construction: the fixed header of its kind, then attributes. What did not fit is reported
// by send().
class Request {
 public:
  template <class Fixed>
  Request(std::uint16_t type, std::uint16_t flags, const Fixed& fixed) : Request(type, flags) {
    append(&fixed, sizeof fixed);
  }
  Request& attribute(int type, std::span<const std::uint8_t> value);
  Request& number(int type, std::uint32_t value);
  Request& address(int type, const net::IpAddress& value) { return attribute(type, value.bytes()); }

 private:
  friend class RouteSocket;
  struct Free {
    void operator()(nl_msg* message) const;
  };
  Request(std::uint16_t type, std::uint16_t flags);
  void append(const void* fixed, std::size_t size);

  std::unique_ptr<nl_msg, Free> message_;
  bool complete_ = true;
};

enum class ReceiveResult : std::uint8_t {
  kMessages,
  kEmpty,    // nothing queued
  kOverrun,  // ENOBUFS, or a message cut short: something was lost
  kFailed
};

class RouteSocket {
 public:
  // `groups`: RTNLGRP_* numbers to join.
  static base::Result<RouteSocket> open(std::span<const int> groups = {});

  // Sends the request under a new sequence number and returns that; a request may be sent again.
  base::Result<std::uint32_t> send(Request& request);
  // Receives one packet and calls `visit` for each message of it. Never waits: rtnetlink has queued the
  // answer by the time send() returns, and makes the next part of a dump when the previous one is read.
  // One system call.
  ReceiveResult receive(const std::function<void(const nlmsghdr&)>& visit);
  [[nodiscard]] int fd() const;

 private:
  struct Free {
    void operator()(nl_sock* socket) const;
  };
  using Handle = std::unique_ptr<nl_sock, Free>;
  explicit RouteSocket(Handle socket) : socket_(std::move(socket)) {}
  Handle socket_;
};

}  // namespace cordon::netlink
