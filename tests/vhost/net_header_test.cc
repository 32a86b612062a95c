#include "core/vhost/net_header.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string_view>

#include "tests/vhost/pair.h"

using namespace cordon;
using vhost_client::kEverything;

namespace {

constexpr vhost::Negotiated without(bool vhost::Negotiated::* feature) {
  vhost::Negotiated features = kEverything;
  features.*feature = false;
  return features;
}

}  // namespace

TEST_CASE("vhost header: what the guest says of a frame is judged, and so is what it may say") {
  struct Case {
    std::string_view name;
    vhost::Negotiated features;
    std::uint8_t flags, gso;
    std::uint16_t hdr_len, gso_size, start, offset;
    std::size_t size;
    bool taken;
  };
  using N = vhost::Negotiated;
  for (const Case& c : std::initializer_list<Case>{
           {"plain", {}, 0, 0, 0, 0, 0, 0, 60, true},
           {"the device's flag is no reason to drop", {}, 2, 0, 0, 0, 0, 0, 60, true},
           {"checksum left out", kEverything, 1, 0, 54, 0, 34, 16, 60, true},
           {"checksum left out, not negotiated", without(&N::checksum), 1, 0, 54, 0, 34, 16, 60, false},
           {"checksum behind the frame", kEverything, 1, 0, 54, 0, 34, 25, 60, false},
           {"checksum start of 65535", kEverything, 1, 0, 54, 0, 65535, 65535, 60, false},
           {"checksum in the Ethernet header", kEverything, 1, 0, 54, 0, 13, 16, 60, false},
           {"TSO", kEverything, 1, 1, 54, 1400, 34, 16, 4000, true},
           {"TSO, not negotiated", without(&N::host_tso4), 1, 1, 54, 1400, 34, 16, 4000, false},
           {"TSO over IPv6", kEverything, 1, 4, 74, 1400, 54, 16, 4000, true},
           {"TSO over IPv6, not negotiated", without(&N::host_tso6), 1, 4, 74, 1400, 54, 16, 4000, false},
           {"USO", kEverything, 1, 5, 42, 1400, 34, 6, 4000, true},
           {"USO, not negotiated", without(&N::host_uso), 1, 5, 42, 1400, 34, 6, 4000, false},
           {"ECN is not offered", kEverything, 1, 0x81, 54, 1400, 34, 16, 4000, false},
           {"TSO without a checksum", kEverything, 0, 1, 54, 1400, 0, 0, 4000, false},
           {"TSO with segments of nothing", kEverything, 1, 1, 54, 0, 34, 16, 4000, false},
           {"TSO with a header longer than the frame", kEverything, 1, 1, 5000, 1400, 34, 16, 4000, false},
           {"UFO", kEverything, 1, 3, 42, 1400, 34, 6, 4000, false},
           {"unknown type", kEverything, 1, 9, 42, 1400, 34, 6, 4000, false},
       }) {
    CAPTURE(c.name);
    const vhost_client::VirtioNetHeader raw{c.flags, c.gso, c.hdr_len, c.gso_size, c.start, c.offset, 0xffff};
    vhost::NetHeader header;
    std::memcpy(&header, &raw, sizeof header);
    const auto offload = vhost::read_header(header, c.size, c.features);
    CHECK(offload.has_value() == c.taken);
    if (offload) CHECK_FALSE(offload->checksum_valid);
  }
}

TEST_CASE("vhost header: the guest gets only offloads that it takes") {
  using N = vhost::Negotiated;
  link::Offload partial{.needs_checksum = true, .checksum_start = 34, .checksum_offset = 16};
  const auto super = [&](link::Gso gso) {
    link::Offload offload = partial;
    offload.gso = gso;
    offload.gso_size = 1400;
    offload.header_length = 54;
    return offload;
  };
  CHECK(vhost::write_header({}, {}));
  CHECK(vhost::write_header({.checksum_valid = true}, {})->vnet.flags == 0);
  CHECK(vhost::write_header({.checksum_valid = true}, kEverything)->vnet.flags == 2);
  CHECK(vhost::write_header(partial, kEverything)->vnet.flags == 1);
  CHECK_FALSE(vhost::write_header(partial, without(&N::guest_checksum)));
  CHECK(vhost::write_header(super(link::Gso::kTcp4), kEverything)->vnet.gso_type == 1);
  CHECK(vhost::write_header(super(link::Gso::kTcp6), kEverything)->vnet.gso_type == 4);
  CHECK(vhost::write_header(super(link::Gso::kUdp), kEverything)->vnet.gso_type == 5);
  CHECK_FALSE(vhost::write_header(super(link::Gso::kTcp4), without(&N::guest_tso4)));
  CHECK_FALSE(vhost::write_header(super(link::Gso::kTcp6), without(&N::guest_tso6)));
  CHECK_FALSE(vhost::write_header(super(link::Gso::kUdp), without(&N::guest_uso6)));
  CHECK_FALSE(vhost::write_header(super(link::Gso::kTcp4), without(&N::guest_checksum)));
}

TEST_CASE("vhost header: super-frames are a capability only when both families have them") {
  using N = vhost::Negotiated;
  const auto all = vhost::capabilities_of(kEverything);
  CHECK((all.tso && all.uso && all.checksum));
  CHECK_FALSE(vhost::capabilities_of(without(&N::guest_tso4)).tso);
  CHECK_FALSE(vhost::capabilities_of(without(&N::guest_tso6)).tso);
  CHECK_FALSE(vhost::capabilities_of(without(&N::guest_uso4)).uso);
  const auto none = vhost::capabilities_of(without(&N::guest_checksum));
  CHECK_FALSE((none.tso || none.uso || none.checksum));
}
