// A responder with every service on, and what a client says and reads, byte by byte.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <optional>
#include <string>

#include "core/lan/responder.h"
#include "core/wire/ethernet.h"
#include "core/wire/packet.h"
#include "core/wire/udp.h"
#include "tests/lan/lan_fixture.h"

namespace cordon::test {

inline lan::LanConfig service_config() {
  auto config = lan_config();
  config.services = {.dhcp = true, .dhcpv6 = true, .router = true, .slaac = true};
  return config;
}

inline std::vector<net::DomainName> domains(std::initializer_list<std::string_view> texts) {
  std::vector<net::DomainName> all;
  for (const auto text : texts) all.push_back(*net::DomainName::parse(text));
  return all;
}

inline Buffer text_bytes(std::string_view text) {
  const auto bytes = base::as_bytes(text.data(), text.size());
  return {bytes.begin(), bytes.end()};
}

// An IP packet that carries a UDP datagram.
inline Buffer udp4(std::string_view source, std::string_view destination, unsigned from, unsigned to,
                   const Buffer& payload) {
  Buffer udp = hex("0000 0000 0000 0000") + payload;
  put16(udp, 0, from);
  put16(udp, 2, to);
  put16(udp, 4, static_cast<std::uint32_t>(udp.size()));
  Buffer ip = ipv4(17, udp);
  const auto put = [&ip](std::size_t at, std::string_view address) {
    const auto bytes = net::parse_ip(address)->v4().bytes();
    for (std::size_t i = 0; i < 4; ++i) ip[at + i] = std::byte{bytes[i]};
  };
  put(12, source);
  put(16, destination);
  fix_ipv4_checksum(ip);
  fix_l4_checksum(ip, 6);
  return ip;
}

inline Buffer udp6(std::string_view source, std::string_view destination, unsigned from, unsigned to,
                   const Buffer& payload) {
  Buffer udp = hex("0000 0000 0000 0000") + payload;
  put16(udp, 0, from);
  put16(udp, 2, to);
  put16(udp, 4, static_cast<std::uint32_t>(udp.size()));
  Buffer ip = ipv6(17, udp);
  const auto put = [&ip](std::size_t at, std::string_view address) {
    const auto bytes = net::parse_ip(address)->v6().bytes();
    for (std::size_t i = 0; i < 16; ++i) ip[at + i] = std::byte{bytes[i]};
  };
  put(8, source);
  put(24, destination);
  fix_l4_checksum(ip, 6);
  return ip;
}

struct ServiceBench {
  explicit ServiceBench(const lan::LanConfig& config = service_config()) : responder(config) {
    out.fill(std::byte{0xee});
  }

  std::optional<lan::Answer> server(const Buffer& ip) {
    const auto type =
        std::to_integer<unsigned>(ip[0]) >> 4U == 4 ? wire::EtherType::kIpv4 : wire::EtherType::kIpv6;
    const auto packet = wire::parse_packet(ip, type, wire::ChecksumPolicy::kVerifyL4);
    REQUIRE(packet);
    REQUIRE(lan::is_server_port(*packet));
    return responder.on_server(*packet, now, out);
  }

  // The reply frame is clean; its packet.
  wire::Packet reply(const lan::Answer& answer) {
    REQUIRE(answer.outcome == lan::Outcome::kReply);
    REQUIRE(answer.length <= lan::kMaxReply);
    const auto ethernet = wire::EthernetView::parse(std::span(out).first(answer.length));
    REQUIRE(ethernet);
    CHECK(ethernet->source() == kOurMac);
    to = ethernet->destination();
    const auto packet =
        wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kVerifyL4);
    REQUIRE(packet);
    CHECK(packet->ip.size() == answer.length - 14);
    if (packet->protocol == wire::IpProtocol::kUdp) {
      CHECK(wire::UdpView::parse(packet->l4)->checksum() != 0);
      payload = wire::UdpView::parse(packet->l4)->payload();
    }
    return *packet;
  }

  lan::Responder responder;
  std::array<std::byte, lan::kMaxReply> out{};
  base::Instant now;
  net::MacAddress to;
  base::Bytes payload;
};

}  // namespace cordon::test
