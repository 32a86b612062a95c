// The rows of docs/hostile-matrix.md, sections 4.1 to 4.6, that are frames and nothing else: what the guest
// sends, what becomes of each frame, what the broker is asked and what the guest may be told.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/link/link.h"
#include "core/plane/counters.h"
#include "tests/hostile/frames/place.h"

namespace cordon::hostile {

using plane::Counter;

// What may be said to the guest on a row; more is a failure, less is not.
enum class Says : std::uint8_t { kNothing, kError, kReset, kAnswer };

struct Frame {
  Frame(Buffer the_bytes, const link::Offload& the_offload = {})  // NOLINT: frames are written as bytes
      : bytes(std::move(the_bytes)), offload(the_offload) {}
  Buffer bytes;
  link::Offload offload;
};
using Frames = std::vector<Frame>;

struct Row {
  const char* id;
  std::string what;
  Frames frames;
  std::vector<std::pair<Counter, std::uint64_t>> outcomes;  // all of them
  Says says = Says::kNothing;
  std::vector<std::uint16_t> asked = {};  // the remote ports the broker is asked for; 0 for echo
  bool verifies = false;                  // rests on a checksum that a stream link does not verify
};

class Rows {
 public:
  explicit Rows(const Place& place) : make(place) {}

  // Every frame has this outcome, and nothing comes of it.
  void drop(const char* id, std::string what, Frames frames, Counter outcome = Counter::kDropMalformed,
            Says says = Says::kNothing);
  // The same, where the checksum has to be verified.
  void drop_by_sum(const char* id, std::string what, Frames frames);
  // Every frame asks for a flow of its own, to these ports.
  void ask(const char* id, std::string what, Frames frames, std::vector<std::uint16_t> ports);
  void add(Row row) { all.push_back(std::move(row)); }

  Maker make;
  std::vector<Row> all;
};

void add_link_rows(Rows& rows);
void add_ipv4_rows(Rows& rows);
void add_fragment_rows(Rows& rows);
void add_ipv6_rows(Rows& rows);
void add_tcp_rows(Rows& rows);
void add_udp_rows(Rows& rows);

inline std::vector<Row> all_rows(const Place& place) {
  Rows rows(place);
  add_link_rows(rows);
  add_ipv4_rows(rows);
  add_fragment_rows(rows);
  add_ipv6_rows(rows);
  add_tcp_rows(rows);
  add_udp_rows(rows);
  return std::move(rows.all);
}

}  // namespace cordon::hostile
