// The text form of a Snapshot. A file may come from anywhere: every key, type, word and number is checked,
// and an error names the value by its JSON pointer (RFC 6901).
#include <algorithm>
#include <array>

#include "app/host_snapshot.h"
#include "app/json.h"
#include "policy/times.h"

namespace cordon::app {
namespace {

using netlink::RouteType;

constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kMaxDepth = 5;
constexpr std::size_t kLongestName = 15;  // IFNAMSIZ without its end
constexpr std::size_t kMostHops = 1024;
constexpr std::uint64_t kLargest = UINT32_MAX;

struct TypeName {
  RouteType type;
  std::string_view name;
};
constexpr std::array kTypes = std::to_array<TypeName>({{RouteType::kUnicast, "unicast"},
                                                       {RouteType::kLocal, "local"},
                                                       {RouteType::kBroadcast, "broadcast"},
                                                       {RouteType::kAnycast, "anycast"},
                                                       {RouteType::kMulticast, "multicast"},
                                                       {RouteType::kBlackhole, "blackhole"},
                                                       {RouteType::kUnreachable, "unreachable"},
                                                       {RouteType::kProhibit, "prohibit"},
                                                       {RouteType::kOther, "other"}});

// Writing. What is false, 0 or absent is left out where it need not be there.

void add_if(Json& out, const char* key, bool value) {
  if (value) out.add(key, true);
}
void add_if(Json& out, const char* key, std::uint32_t value) {
  if (value != 0) out.add(key, value);
}
void add_if(Json& out, const char* key, const std::optional<net::IpAddress>& value) {
  if (value) out.add(key, net::to_string(*value));
}

Json to_json(const netlink::Link& link) {
  Json out;
  out.add("index", link.index);
  out.add("name", link.name);
  out.add("mtu", link.mtu);
  add_if(out, "up", link.up);
  add_if(out, "loopback", link.loopback);
  add_if(out, "carrier", link.carrier);
  return out;
}

Json to_json(const netlink::Address& address) {
  Json out;
  out.add("interface", address.interface);
  out.add("address", net::to_string(address.address));
  out.add("length", address.prefix_length);
  add_if(out, "broadcast", address.broadcast);
  return out;
}

Json to_json(const netlink::Hop& hop) {
  Json out;
  out.add("interface", hop.interface);
  add_if(out, "gateway", hop.gateway);
  add_if(out, "dead", hop.dead);
  return out;
}

Json to_json(const netlink::Route& route) {
  Json out;
  out.add("destination", net::to_string(route.destination));
  out.add("type", std::ranges::find(kTypes, route.type, &TypeName::type)->name);
  out.add("table", route.table);
  add_if(out, "metric", route.metric);
  add_if(out, "interface", route.interface);
  add_if(out, "gateway", route.gateway);
  add_if(out, "dead", route.dead);
  if (route.hops.empty()) return out;
  Json::Array hops;
  for (const netlink::Hop& hop : route.hops) hops.push_back(to_json(hop));
  out.add("hops", std::move(hops));
  return out;
}

// One item a line, so that two snapshots can be compared with diff(1).
template <class T>
void write_list(std::string& out, std::string_view key, const std::vector<T>& items) {
  out += ",\n\"" + std::string{key} + "\": [";
  std::string_view before = "\n";
  for (const T& item : items) {
    out += before;
    to_json(item).dump_to(out);
    before = ",\n";
  }
  out += "]";
}

// Reading. The first thing that is wrong is kept; the rest is read as if nothing had happened.

class Problem {
 public:
  void add(const std::string& where, std::string_view what) {
    if (text_.empty()) text_ = (where.empty() ? "the document" : where) + ": " + std::string{what};
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string printable(std::string_view text) {
  constexpr std::size_t kShown = 60;
  return Json{text.substr(0, kShown)}.dump();
}

// The members of one object: each is asked for once, those nobody asked for are unknown.
class Members {
 public:
  Members(const Json& value, std::string where, Problem& problem)
      : value_(value), where_(std::move(where)), problem_(problem) {
    if (value.object() == nullptr) problem_.add(where_, "not an object");
  }

  const Json* take(const std::string& key, bool required = true) {
    asked_.push_back(key);
    const Json* found = value_.find(key);
    if (found == nullptr && required && value_.object() != nullptr)
      problem_.add(where_, "the key \"" + key + "\" is missing");
    return found;
  }
  std::uint32_t number(const std::string& key, bool required, std::uint64_t low = 0,
                       std::uint64_t high = kLargest) {
    const Json* found = take(key, required);
    if (found == nullptr) return 0;
    if (found->natural() != nullptr && *found->natural() >= low && *found->natural() <= high)
      return static_cast<std::uint32_t>(*found->natural());
    wrong(key, "not a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    return 0;
  }
  bool flag(const std::string& key) {
    const Json* found = take(key, false);
    if (found == nullptr) return false;
    if (found->boolean() == nullptr) wrong(key, "not true or false");
    return found->boolean() != nullptr && *found->boolean();
  }
  std::string text(const std::string& key) {
    const Json* found = take(key);
    if (found == nullptr) return {};
    if (found->text() != nullptr) return *found->text();
    wrong(key, "not a string");
    return {};
  }
  std::optional<net::IpAddress> address(const std::string& key, bool required) {
    const Json* found = take(key, required);
    if (found == nullptr) return std::nullopt;
    if (found->text() == nullptr) {
      wrong(key, "not a string");
      return std::nullopt;
    }
    const auto address = net::parse_ip(*found->text());
    if (!address) wrong(key, printable(*found->text()) + " is not an IP address");
    return address;
  }
  template <class T>
  std::vector<T> list(const std::string& key, bool required, std::size_t most,
                      T (*read)(const Json&, const std::string&, Problem&)) {
    const Json* found = take(key, required);
    if (found == nullptr) return {};
    if (found->array() == nullptr) {
      wrong(key, "not a list");
      return {};
    }
    std::vector<T> out;
    if (found->array()->size() > most) {
      wrong(key, "more than " + std::to_string(most) + " items");
      return out;
    }
    out.reserve(found->array()->size());
    for (const Json& item : *found->array())
      out.push_back(read(item, where_ + "/" + key + "/" + std::to_string(out.size()), problem_));
    return out;
  }
  void wrong(const std::string& key, std::string_view what) { problem_.add(where_ + "/" + key, what); }
  // Call it last.
  void no_more() {
    if (value_.object() == nullptr) return;
    for (const Json::Member& member : *value_.object())
      if (std::ranges::find(asked_, member.key) == asked_.end())
        problem_.add(where_, "unknown key " + printable(member.key));
  }

 private:
  const Json& value_;
  std::string where_;
  Problem& problem_;
  std::vector<std::string> asked_;
};

// "LINE:COLUMN: what", of the place where reading stopped.
std::string describe(const Json::ParseError& error, std::string_view text) {
  switch (error.fault) {
    case Json::Fault::kTooDeep: return "nested deeper than " + std::to_string(kMaxDepth) + " levels";
    case Json::Fault::kDuplicate: return "a key is given twice in one object";
    case Json::Fault::kSyntax: break;
  }
  const std::string_view before = text.substr(0, error.position == 0 ? 0 : error.position - 1);
  const auto lines = std::ranges::count(before, '\n');
  const auto start = before.rfind('\n');
  const auto column = before.size() - (start == std::string_view::npos ? 0 : start + 1);
  return std::to_string(lines + 1) + ":" + std::to_string(column + 1) + ": " +
         (text.empty() ? "the file is empty" : "not valid JSON");
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= kLongestName &&
         std::ranges::all_of(name, [](char c) { return c > 0x20 && c != 0x7f && c != '/'; });
}

netlink::Link read_link(const Json& value, const std::string& where, Problem& problem) {
  Members members{value, where, problem};
  netlink::Link link;
  link.index = members.number("index", true, 1, INT32_MAX);
  link.name = members.text("name");
  if (!is_plain_name(link.name)) members.wrong("name", "not a name of an interface");
  link.mtu = members.number("mtu", true);
  link.up = members.flag("up");
  link.loopback = members.flag("loopback");
  link.carrier = members.flag("carrier");
  members.no_more();
  return link;
}

netlink::Address read_address(const Json& value, const std::string& where, Problem& problem) {
  Members members{value, where, problem};
  netlink::Address address;
  address.interface = members.number("interface", true, 1, INT32_MAX);
  address.address = members.address("address", true).value_or(net::IpAddress{});
  address.prefix_length = members.number("length", true, 0, address.address.bit_count());
  address.broadcast = members.address("broadcast", false);
  if (address.broadcast && address.broadcast->family() != address.address.family())
    members.wrong("broadcast", "not of the address's family");
  members.no_more();
  return address;
}

netlink::Hop read_hop(const Json& value, const std::string& where, Problem& problem) {
  Members members{value, where, problem};
  netlink::Hop hop;
  hop.interface = members.number("interface", true, 1, INT32_MAX);
  hop.gateway = members.address("gateway", false);
  hop.dead = members.flag("dead");
  members.no_more();
  return hop;
}

netlink::Route read_route(const Json& value, const std::string& where, Problem& problem) {
  Members members{value, where, problem};
  const std::string destination = members.text("destination");
  const auto prefix = net::parse_prefix(destination);
  if (!prefix) members.wrong("destination", printable(destination) + " is not a network such as 10.0.0.0/8");
  netlink::Route route{
      .destination = prefix ? *prefix : net::Prefix::single(net::IpAddress{}), .interface = 0, .gateway = {}};
  const std::string type = members.text("type");
  const auto* known = std::ranges::find(kTypes, type, &TypeName::name);
  if (known == kTypes.end())
    members.wrong("type", printable(type) + " is not a type of route");
  else
    route.type = known->type;
  route.table = members.number("table", true, 1);
  route.metric = members.number("metric", false);
  route.interface = members.number("interface", false, 1, INT32_MAX);
  route.gateway = members.address("gateway", false);
  route.dead = members.flag("dead");
  route.hops = members.list<netlink::Hop>("hops", false, kMostHops, read_hop);
  members.no_more();
  return route;
}

}  // namespace

std::string write_snapshot(const Snapshot& snapshot) {
  const netlink::Network& network = snapshot.network;
  Json rules;
  rules.add("ipv4", network.more_rules_ipv4);
  rules.add("ipv6", network.more_rules_ipv6);
  std::string out = "{\"version\": " + std::to_string(kVersion) + ",\n\"taken\": \"" +
                    policy::to_string(snapshot.taken) + "\",\n\"more_rules\": " + rules.dump();
  write_list(out, "links", network.links);
  write_list(out, "addresses", network.addresses);
  write_list(out, "routes", network.routes);
  return out + "}\n";
}

std::expected<Snapshot, std::string> read_snapshot(std::string_view text) {
  if (text.size() > kMaxSnapshotBytes)
    return std::unexpected("larger than " + std::to_string(kMaxSnapshotBytes >> 20U) + " MiB");
  const auto document = Json::parse(text, kMaxDepth);
  if (!document) return std::unexpected(describe(document.error(), text));

  Problem problem;
  Members members{*document, "", problem};
  const Json* version = members.take("version");
  // A later version may look different in every way, so this is said before anything else.
  if (version != nullptr && (version->natural() == nullptr || *version->natural() != kVersion))
    return std::unexpected("/version: this cordon reads snapshots of version " + std::to_string(kVersion));
  Snapshot snapshot;
  const auto taken = policy::parse_time(members.text("taken"));
  if (taken)
    snapshot.taken = *taken;
  else
    members.wrong("taken", taken.error().message);
  if (const Json* rules = members.take("more_rules")) {
    Members families{*rules, "/more_rules", problem};
    snapshot.network.more_rules_ipv4 = families.number("ipv4", true);
    snapshot.network.more_rules_ipv6 = families.number("ipv6", true);
    families.no_more();
  }
  snapshot.network.links = members.list<netlink::Link>("links", true, SIZE_MAX, read_link);
  snapshot.network.addresses = members.list<netlink::Address>("addresses", true, SIZE_MAX, read_address);
  snapshot.network.routes = members.list<netlink::Route>("routes", true, SIZE_MAX, read_route);
  members.no_more();
  if (!problem.text().empty()) return std::unexpected(problem.text());
  return snapshot;
}

}  // namespace cordon::app
