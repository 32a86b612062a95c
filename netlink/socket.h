// A NETLINK_ROUTE socket: requests and answers as bytes, nothing interpreted beyond the header.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::netlink {

// One message: header fields and the bytes after the header.
struct Message {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  base::Bytes payload;
};

enum class ReceiveResult : std::uint8_t {
  kMessages,
  kEmpty,    // nothing queued
  kOverrun,  // ENOBUFS, or a message cut short: something was lost
  kFailed
};

class Socket {
 public:
  // `groups`: RTNLGRP_* numbers to join.
  static base::Result<Socket> open(std::span<const unsigned> groups = {});

  // Sends one request (type, payload) and returns its sequence number.
  base::Result<std::uint32_t> request(std::uint16_t type, std::uint16_t flags, base::Bytes payload);
  // Receives one packet and calls `visit` for each message of it. Never waits: rtnetlink has queued the
  // answer by the time request() returns, and makes the next part of a dump when the previous one is read.
  ReceiveResult receive(const std::function<void(const Message&)>& visit);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Socket(base::Fd fd, std::size_t size)
      : fd_(std::move(fd)), buffer_(std::make_unique<std::byte[]>(size)), size_(size) {}
  base::Fd fd_;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t size_;
  std::uint32_t sequence_ = 0;
};

}  // namespace cordon::netlink
