#include "netlink/guest_interface.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cstring>
#include <optional>
#include <span>

#include "netlink/parse.h"
#include "netlink/socket.h"

namespace cordon::netlink {
namespace {

// A request's payload: the fixed header of its kind, then attributes, each padded to four bytes.
class Payload {
 public:
  template <class Fixed>
  explicit Payload(const Fixed& fixed) {
    append(&fixed, sizeof fixed);
  }
  Payload& attribute(std::uint16_t type, const void* data, std::size_t size) {
    const rtattr header{.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(size)), .rta_type = type};
    append(&header, sizeof header);
    append(data, size);
    return *this;
  }
  Payload& number(std::uint16_t type, std::uint32_t value) { return attribute(type, &value, sizeof value); }
  Payload& address(std::uint16_t type, const net::IpAddress& value) {
    return attribute(type, value.bytes().data(), value.bytes().size());
  }
  [[nodiscard]] base::Bytes bytes() const { return bytes_; }

 private:
  void append(const void* data, std::size_t size) {
    const std::size_t start = bytes_.size();
    bytes_.resize(RTA_ALIGN(start + size));
    std::memcpy(bytes_.data() + start, data, size);
  }
  std::vector<std::byte> bytes_;
};

unsigned char family_of(const net::IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }

// One request and its acknowledgement.
base::Result<void> perform(Socket& socket, std::uint16_t type, std::uint16_t flags, const Payload& payload,
                           std::string_view op, const std::string& object) {
  const auto wanted = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  const std::uint32_t sequence = CORDON_TRY(socket.request(type, wanted, payload.bytes()));
  std::optional<int> result;
  // The kernel has queued its answer by the time the request is sent, and nothing else is subscribed.
  for (int packets = 0; packets < 16 && !result; ++packets) {
    const auto received = socket.receive([&](const Message& message) {
      if (message.sequence == sequence && !result) result = parse_error(message);
    });
    if (received != ReceiveResult::kMessages) break;
  }
  if (!result) return base::fail(op, object + ": no answer from the kernel");
  if (*result != 0) return std::unexpected(base::Error{op, *result, object});
  return {};
}

ifinfomsg up_message(unsigned index) {
  ifinfomsg message{};
  message.ifi_index = static_cast<int>(index);
  message.ifi_flags = IFF_UP;
  message.ifi_change = IFF_UP;
  return message;
}

base::Result<unsigned> index_of(const std::string& name) {
  const unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) return base::fail_errno("find interface", name);
  return index;
}

base::Result<void> set_up_link(Socket& socket, const GuestInterface& interface, unsigned index) {
  ifinfomsg change{};
  change.ifi_index = static_cast<int>(index);
  const std::uint32_t queue = interface.transmit_queue;
  Payload shape{change};
  shape.attribute(IFLA_ADDRESS, interface.mac.bytes().data(), interface.mac.bytes().size())
      .number(IFLA_MTU, interface.mtu)
      .number(IFLA_TXQLEN, queue);
  CORDON_TRY(perform(socket, RTM_NEWLINK, 0, shape, "configure interface", interface.name));
  return perform(socket, RTM_NEWLINK, 0, Payload{up_message(index)}, "bring up interface", interface.name);
}

base::Result<void> add_address(Socket& socket, unsigned index, const InterfaceAddress& own) {
  ifaddrmsg message{};
  message.ifa_family = family_of(own.address);
  message.ifa_prefixlen = static_cast<unsigned char>(own.prefix_length);
  // Without this an IPv6 address is tentative for a second and the command's first connection fails.
  message.ifa_flags = own.address.is_v6() ? IFA_F_NODAD : 0;
  message.ifa_index = index;
  Payload payload{message};
  payload.address(IFA_LOCAL, own.address).address(IFA_ADDRESS, own.address);
  return perform(socket, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, payload, "add address",
                 net::to_string(own.address) + "/" + std::to_string(own.prefix_length));
}

base::Result<void> add_default_route(Socket& socket, unsigned index, const net::IpAddress& gateway) {
  rtmsg message{};
  message.rtm_family = family_of(gateway);
  message.rtm_table = RT_TABLE_MAIN;
  message.rtm_protocol = RTPROT_BOOT;
  message.rtm_scope = RT_SCOPE_UNIVERSE;
  message.rtm_type = RTN_UNICAST;
  Payload payload{message};
  payload.address(RTA_GATEWAY, gateway).number(RTA_OIF, index);
  return perform(socket, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, payload, "add default route",
                 net::to_string(gateway));
}

}  // namespace

base::Result<void> configure(const GuestInterface& interface) {
  Socket socket = CORDON_TRY(Socket::open());
  const unsigned loopback = CORDON_TRY(index_of("lo"));
  CORDON_TRY(perform(socket, RTM_NEWLINK, 0, Payload{up_message(loopback)}, "bring up interface", "lo"));
  const unsigned index = CORDON_TRY(index_of(interface.name));
  CORDON_TRY(set_up_link(socket, interface, index));
  for (const auto& address : interface.addresses) CORDON_TRY(add_address(socket, index, address));
  for (const auto& gateway : interface.gateways) CORDON_TRY(add_default_route(socket, index, gateway));
  return {};
}

}  // namespace cordon::netlink
