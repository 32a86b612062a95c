// `host`: which interfaces are uplinks, and what else is this host.
#include <algorithm>

#include "policy/compile_parts.h"
#include "policy/scalars.h"

namespace cordon::policy {
namespace {

constexpr std::size_t kMaxInterfaceName = 15;  // IFNAMSIZ without its NUL, if(7) and netdevice(7)

// As the kernel's dev_valid_name(), and printable.
bool is_interface_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxInterfaceName && text != "." && text != ".." &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f' && c != '/' && c != ':'; });
}

void uplinks(NodeReader& reader, const Node& node, std::vector<std::string>& out) {
  reader.each(node, "\"uplinks\"", [&](const Node& item) {
    if (!is_interface_name(item.text))
      return reader.fail(Code::kBadInterface, item,
                         quote(item.text) +
                             " is not the name of an interface: 1 to 15 printable characters, "
                             "without space, / and :");
    if (std::ranges::find(out, item.text) != out.end())
      return reader.fail(Code::kRepeated, item, quote(item.text) + " is in this list already");
    out.push_back(item.text);
  });
}

void aliases(NodeReader& reader, const Node& node, std::vector<net::Prefix>& out) {
  reader.each(node, "\"aliases\"", [&](const Node& item) {
    const auto value = parse_destination(item.text);
    if (!value) return reader.fail(value.error().code, item, value.error().message);
    const auto* prefix = std::get_if<net::Prefix>(&*value);
    if (prefix == nullptr)
      return reader.fail(Code::kBadDestination, item,
                         quote(item.text) + " is a word; an alias of the host is an address or CIDR");
    if (prefix->length() == 0)
      return reader.fail(Code::kNoMeaning, item,
                         quote(item.text) + " would make every destination the host itself");
    out.push_back(*prefix);
  });
}

}  // namespace

HostSettings compile_host(NodeReader& reader, const Node& map) {
  HostSettings out;
  if (!reader.is_kind(map, Node::Kind::kMap, "\"host\"")) return out;
  reader.check_keys(map, " in \"host\"", grammar::kHost);
  if (map.items.empty())
    reader.fail(Code::kEmptyList, map, "\"host\" is empty; name uplinks or aliases, or remove the key");
  if (const Node* node = NodeReader::find(map, "uplinks")) uplinks(reader, *node, out.uplinks);
  if (const Node* node = NodeReader::find(map, "aliases")) aliases(reader, *node, out.aliases);
  return out;
}

}  // namespace cordon::policy
