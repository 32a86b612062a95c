// Any bytes as a DHCP message; the first one chooses configuration and the packet's addresses.
#include "core/wire/dhcp.h"

#include <algorithm>
#include <cstdint>

#include "fuzz/lan_fuzz.h"

using namespace cordon;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > 1500) return 0;
  const base::Bytes message = base::as_bytes(data + 1, size - 1);
  lan::Responder responder{fuzz::make_config(data[0])};
  const net::IpAddress guest = net::Ipv4Address{10, 0, 2, 15};
  const net::IpAddress nobody = net::Ipv4Address{};
  const net::IpAddress server = net::Ipv4Address{10, 0, 2, 3};
  const net::IpAddress everybody = net::Ipv4Address{255, 255, 255, 255};
  fuzz::ask_server(responder, (data[0] & 8U) != 0 ? guest : nobody, (data[0] & 16U) != 0 ? server : everybody,
                   67, message);
  if (const auto view = wire::DhcpView::parse(message)) {
    fuzz::require(!view->max_size() || *view->max_size() >= 576);
    fuzz::require(view->client_id().size() <= 255);
  }
  return 0;
}
