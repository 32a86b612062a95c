// DatagramDriver, host -> guest: receiving, super-frames, fragments and errors.
// <linux/errqueue.h> wants struct timespec first.
#include <time.h>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/icmp/host_error.h"
#include "core/net/sockaddr.h"
#include "core/plane/datagram_driver.h"

namespace cordon::plane {
namespace {

constexpr int kReceivesPerTurn = 4;
constexpr int kErrorsPerTurn = 16;
constexpr std::size_t kUdpHeader = 8;
constexpr std::uint8_t kHopLimit = 64;  // of what reaches the guest, where the real one is not known

// A union gives the control buffer the alignment of its header.
template <std::size_t Size>
union Control {
  cmsghdr align;
  std::byte bytes[Size];
};

}  // namespace

void DatagramDriver::on_events(std::uint32_t slot, std::uint32_t events) {
  if ((events & EPOLLERR) != 0) drain_errors(slot);
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) flows_[slot].readable = true;
  context_.ready.push(slot);
}

void DatagramDriver::on_ready(std::uint32_t slot) {
  if (!flows_[slot].readable) return;
  if (context_.table.tuple(slot).protocol == flow::Protocol::kUdp)
    read_udp(slot);
  else
    read_echo(slot);
}

// One recvmmsg() into the scratch buffers; 0: nothing now. `received_` and `segment_` say what came.
int DatagramDriver::receive(std::uint32_t slot) {
  std::array<mmsghdr, kMessages> messages{};
  std::array<iovec, kMessages> buffers;
  // UDP_GRO's segment size, and DSCP and ECN; or hop limit and the same.
  std::array<Control<2 * CMSG_SPACE(sizeof(int))>, kMessages> controls;
  for (std::size_t i = 0; i < kMessages; ++i) {
    buffers[i] = {receive_.data() + i * kBuffer, kBuffer};
    messages[i].msg_hdr.msg_iov = &buffers[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_control = &controls[i];
    messages[i].msg_hdr.msg_controllen = sizeof controls[i];
  }
  Flow& flow = flows_[slot];
  int n = 0;
  // An ICMP error of an earlier datagram takes the place of one receive.
  for (int attempt = 0; attempt < 3; ++attempt) {
    n = ::recvmmsg(context_.flows[slot].socket.get(), messages.data(), kMessages, MSG_DONTWAIT, nullptr);
    if (n >= 0 || errno == EAGAIN) break;
    if (errno != EINTR) drain_errors(slot);
  }
  if (n < static_cast<int>(kMessages)) flow.readable = false;
  if (n <= 0) return 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    received_[i] = messages[i].msg_len;
    segment_[i] = 0;
    seen_[i] = {};
    for (cmsghdr* c = CMSG_FIRSTHDR(&messages[i].msg_hdr); c != nullptr;
         c = CMSG_NXTHDR(&messages[i].msg_hdr, c))
      read_control(*c, i);
  }
  flow.activity.on_host(context_.now);
  context_.table.touch(slot);
  return n;
}

void DatagramDriver::read_control(cmsghdr& control, std::size_t message) {
  if (control.cmsg_level == IPPROTO_IP && control.cmsg_type == IP_TOS) {  // a byte, unlike the others
    seen_[message].traffic_class = *CMSG_DATA(&control);
    return;
  }
  int value = 0;
  std::memcpy(&value, CMSG_DATA(&control), sizeof value);
  if (control.cmsg_level == SOL_UDP && control.cmsg_type == UDP_GRO) {
    if (value > 0) segment_[message] = static_cast<std::size_t>(value);
  } else if (control.cmsg_level == IPPROTO_IPV6 && control.cmsg_type == IPV6_TCLASS) {
    seen_[message].traffic_class = static_cast<std::uint8_t>(value);
  } else if ((control.cmsg_level == IPPROTO_IP && control.cmsg_type == IP_TTL) ||
             (control.cmsg_level == IPPROTO_IPV6 && control.cmsg_type == IPV6_HOPLIMIT)) {
    seen_[message].hop_limit = static_cast<std::uint8_t>(value);
  }
}

void DatagramDriver::read_udp(std::uint32_t slot) {
  for (int turn = 0; turn < kReceivesPerTurn && flows_[slot].readable; ++turn) {
    const int n = receive(slot);
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      const base::Bytes data{receive_.data() + i * kBuffer, received_[i]};
      if (!context_.pass(slot, Direction::kToGuest, data.size())) {
        const std::size_t each = std::max<std::size_t>(segment_[i], 1);
        context_.counters.add(Counter::kDatagramsShaped,
                              segment_[i] == 0 ? 1 : (data.size() + each - 1) / each);
        continue;
      }
      context_.flows[slot].volumes.bytes_to_guest += data.size();
      context_.report_volumes(slot);
      to_guest(slot, data, segment_[i] == 0 ? data.size() : segment_[i], seen_[i].traffic_class);
    }
    flush_to_guest();
  }
  if (flows_[slot].readable) context_.ready.push(slot);
}

// `data` holds datagrams of `size` bytes, the last may be shorter. They join the run that is being gathered.
void DatagramDriver::to_guest(std::uint32_t slot, base::Bytes data, std::size_t size,
                              std::uint8_t traffic_class) {
  Flow& flow = flows_[slot];
  if (flow.frame.traffic_class() != traffic_class) {
    flush_to_guest();
    flow.frame.set_marks(kHopLimit, traffic_class);
  }
  const std::size_t room = flow.guest_mtu - context_.ip_header(context_.table.tuple(slot)) - kUdpHeader;
  const std::size_t most = flow.frame.max_l4_length() - kUdpHeader;
  do {
    const base::Bytes piece = data.first(std::min(size, data.size()));
    data = data.subspan(piece.size());
    if (piece.size() > room) {
      flush_to_guest();
      if (piece.size() + kUdpHeader > flow.frame.max_fragmented_l4_length())
        context_.counters.add(Counter::kLinkDropped);
      else
        send_fragments(udp::Fragments(flow.frame, piece, flow.guest_mtu, ++fragment_id_));
      continue;
    }
    const bool fits = out_count_ > 0 && context_.capabilities().uso && !out_closed_ && out_count_ < kRun &&
                      !piece.empty() && piece.size() <= out_[1].iov_len && out_bytes_ + piece.size() <= most;
    if (!fits) flush_to_guest();
    out_closed_ = out_count_ > 0 && piece.size() < out_[1].iov_len;
    out_slot_ = slot;
    out_[1 + out_count_++] = {const_cast<std::byte*>(piece.data()), piece.size()};
    out_bytes_ += piece.size();
  } while (!data.empty());
}

void DatagramDriver::flush_to_guest() {
  if (out_count_ == 0) return;
  const std::size_t n = out_count_;
  const std::span<const iovec> payload = std::span(out_).subspan(1, n);
  out_count_ = out_bytes_ = 0;
  out_closed_ = false;
  const Flow& flow = flows_[out_slot_];
  std::array<std::byte, wire::kMaxHeaders> headers;
  const wire::ChecksumMode mode = context_.checksum_mode();
  const auto built = wire::build_udp(flow.frame, payload, mode, headers);
  out_[0] = {headers.data(), built.length};
  link::Offload offload;
  if (mode == wire::ChecksumMode::kPartial) {
    offload.needs_checksum = true;
    offload.checksum_start = built.checksum_start;
    offload.checksum_offset = built.checksum_offset;
  }
  if (n > 1) {
    offload.gso = link::Gso::kUdp;
    offload.gso_size = static_cast<std::uint16_t>(payload[0].iov_len);
    offload.header_length = built.length;
  }
  context_.send(offload, std::span(out_).first(1 + n));
}

void DatagramDriver::send_fragments(udp::Fragments fragments) {
  context_.counters.add(Counter::kFragmentsToGuest);
  std::array<std::byte, wire::kMaxHeaders> headers;
  while (const auto fragment = fragments.next(headers)) {
    const std::array<iovec, 2> parts{
        iovec{headers.data(), fragment->header_length},
        iovec{const_cast<std::byte*>(fragment->payload.data()), fragment->payload.size()}};
    // Without the rest a fragment is of no use.
    if (context_.send({}, parts) != link::SendStatus::kSent) return;
  }
}

void DatagramDriver::send_echo_reply(const wire::FrameTemplate& frame, std::uint16_t mtu,
                                     std::uint16_t identifier, const icmp::Echo& echo) {
  const iovec payload = wire::piece(echo.payload);
  std::array<std::byte, wire::kMaxHeaders> headers;
  const auto built =
      icmp::build_echo_reply(frame, identifier, echo.sequence, std::span(&payload, 1), headers);
  if (built.length - wire::EthernetView::kHeader + echo.payload.size() > mtu) {
    constexpr std::size_t kHeader = udp::Fragments::kHeader;
    const auto header = std::span(headers).subspan(built.length - kHeader).first<kHeader>();
    return send_fragments(udp::Fragments(frame, header, echo.payload, mtu, ++fragment_id_));
  }
  const std::array<iovec, 2> parts{iovec{headers.data(), built.length}, payload};
  context_.send({}, parts);
}

void DatagramDriver::read_echo(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  const flow::Tuple& tuple = context_.table.tuple(slot);
  const int n = receive(slot);
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    const base::Bytes message{receive_.data() + i * kBuffer, received_[i]};
    const auto echo = icmp::parse_host_echo(tuple.guest.address.family(), message);
    if (!echo || echo->request) continue;
    if (echo->payload.size() + 8 > flow.frame.max_l4_length()) continue;
    if (!context_.pass(slot, Direction::kToGuest, echo->payload.size())) {
      context_.counters.add(Counter::kDatagramsShaped);
      continue;
    }
    context_.flows[slot].volumes.bytes_to_guest += echo->payload.size();
    context_.report_volumes(slot);
    // The gateway is a hop on the way back, too.
    const Seen seen = seen_[i];
    flow.frame.set_marks(seen.hop_limit > 1 ? static_cast<std::uint8_t>(seen.hop_limit - 1) : kHopLimit,
                         seen.traffic_class);
    send_echo_reply(flow.frame, flow.guest_mtu, tuple.guest.port.number(), *echo);
  }
  if (flow.readable) context_.ready.push(slot);
}

// Who tells the guest. A port is unreachable in the name of the end the guest talks to; a router on the way
// keeps its own name (traceroute), unless the flow is one we redirected or the name would be one of this
// machine's.
std::optional<net::IpAddress> DatagramDriver::reporter_for(
    const icmp::ErrorReport& report, const flow::Tuple& tuple,
    const std::optional<net::Endpoint>& offender) const {
  if (report.kind == icmp::ErrorKind::kPortUnreachable) return tuple.remote.address;
  if (!offender || lan::is_local(context_.config.lan, tuple.remote.address) ||
      net::is_loopback(offender->address) || net::is_unspecified(offender->address))
    return std::nullopt;
  return offender->address;
}

void DatagramDriver::drain_errors(std::uint32_t slot) {
  const flow::Tuple& tuple = context_.table.tuple(slot);
  const bool echo = tuple.protocol == flow::Protocol::kIcmpEcho;
  std::array<std::byte, 1240> quote;
  Control<512> control;
  for (int i = 0; i < kErrorsPerTurn; ++i) {
    iovec buffer{quote.data(), quote.size()};
    msghdr message{};
    message.msg_iov = &buffer;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    const ssize_t n = ::recvmsg(context_.flows[slot].socket.get(), &message, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (n < 0) return;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
          !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
        continue;
      sock_extended_err error;
      std::memcpy(&error, CMSG_DATA(c), sizeof error);
      const auto report = icmp::to_guest_error(
          {error.ee_errno, error.ee_origin, error.ee_type, error.ee_code, error.ee_info});
      if (!report) continue;
      if (report->kind == icmp::ErrorKind::kPacketTooBig && report->mtu > 0)
        flows_[slot].path_mtu = report->mtu;
      net::SockAddr offender;
      offender.length = tuple.remote.address.is_v6() ? sizeof offender.v6 : sizeof offender.v4;
      std::memcpy(&offender.storage, CMSG_DATA(c) + sizeof error, offender.length);
      const auto from =
          reporter_for(*report, tuple,
                       error.ee_origin == SO_EE_ORIGIN_LOCAL ? std::nullopt : net::from_sockaddr(offender));
      // A ping socket quotes the ICMP header too; the guest's own is rebuilt from the flow and the sequence
      // number.
      base::Bytes payload = std::span(quote).first(static_cast<std::size_t>(n));
      std::uint32_t sequence = 0;
      if (echo && payload.size() >= 8) {
        sequence = base::load_be<std::uint16_t>(payload.subspan<6, 2>());
        payload = payload.subspan(8);
      }
      context_.send_flow_error(tuple, *report, payload, static_cast<std::uint32_t>(payload.size()), sequence,
                               from);
    }
  }
}

}  // namespace cordon::plane
