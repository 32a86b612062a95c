// The facts that decide() asks for, from the kernel's view of the host: shared by the broker and by `cordon
// policy explain`, so that both ask the same question.
//
// HostSource is where the view comes from: the live monitor, or a snapshot that was written to a file.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "app/options.h"
#include "netlink/monitor.h"
#include "policy/host_facts.h"
#include "policy/ruleset.h"

namespace cordon::app {

class HostSource {
 public:
  virtual ~HostSource() = default;
  [[nodiscard]] virtual const netlink::HostState& state() const = 0;
  // An error: the kernel could not be asked (not: no route).
  [[nodiscard]] virtual base::Result<netlink::FibAnswer> route(const net::IpAddress& destination) = 0;
};

class LiveHost final : public HostSource {
 public:
  explicit LiveHost(netlink::Monitor& monitor) : monitor_(monitor) {}
  [[nodiscard]] const netlink::HostState& state() const override { return monitor_.state(); }
  [[nodiscard]] base::Result<netlink::FibAnswer> route(const net::IpAddress& destination) override {
    return monitor_.fib().lookup(destination);
  }

 private:
  netlink::Monitor& monitor_;
};

class HostView {
 public:
  // `source` must outlive it.
  HostView(HostSource& source, std::vector<FamilyPlan> families, AddressMap map = {});

  // The operator's `host:`; call refresh() after it.
  void set_settings(const policy::HostSettings& settings) { settings_ = settings; }
  // After each change of the host state: uplinks by name or by default route.
  void refresh();
  [[nodiscard]] const std::vector<std::uint32_t>& uplinks() const { return uplinks_; }

  [[nodiscard]] policy::AddressFacts look_up(const net::IpAddress& address) const;
  // What the guest means by it: the tuple that is decided about, and dialled.
  [[nodiscard]] flow::Tuple meant(const flow::Tuple& tuple) const;
  // Of the guest's own tuple, about the meant one. Without source_assigned and now, which are the caller's.
  [[nodiscard]] policy::HostFacts facts_of(const flow::Tuple& tuple) const;
  // About a connection from outside: the remote end is the peer; sets source_assigned.
  [[nodiscard]] policy::HostFacts facts_of_peer(const flow::Tuple& seen) const;
  // The guest's DNS address, port 53 (853 where that is forwarded as well).
  [[nodiscard]] bool is_forwarder(const flow::Tuple& tuple) const;

 private:
  HostSource& source_;
  [[nodiscard]] bool is_ours(const net::IpAddress& address) const;

  std::vector<FamilyPlan> families_;
  AddressMap map_;
  policy::HostSettings settings_;
  std::vector<std::uint32_t> uplinks_;  // ascending
};

}  // namespace cordon::app
