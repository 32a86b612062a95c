// Any bytes as a DHCPv6 message; the first one chooses configuration and destination.
#include "core/wire/dhcpv6.h"

#include <algorithm>
#include <cstdint>

#include "fuzz/lan_fuzz.h"

using namespace cordon;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > 4000) return 0;
  const base::Bytes message = base::as_bytes(data + 1, size - 1);
  lan::Responder responder{fuzz::make_config(data[0])};
  const net::IpAddress servers = net::Ipv6Address{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2}};
  const net::IpAddress gateway = fuzz::ula(2);
  fuzz::ask_server(responder, fuzz::kGuestLinkLocal, (data[0] & 16U) != 0 ? gateway : servers, 547, message);
  if (const auto view = wire::Dhcpv6View::parse(message)) {
    fuzz::require(view->client_id().size() <= wire::Dhcpv6View::kLongestDuid);
    for (const auto& association : view->associations())
      fuzz::require(association.address_count <= wire::Dhcpv6View::kMostAddresses);
  }
  return 0;
}
