// The system calls of one flow's socket; no table, no policy. Every function is non-blocking, except that a
// captured translator can hold the lock of a socket it shares: cut_socket() and end_socket() are the calls
// that may meet it (control.h RevokeBegin).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "core/base/fd.h"
#include "core/flow/types.h"
#include "sandbox/judge.h"

namespace cordon::sandbox {

inline constexpr int kDatagramBuffer = 4 * 1024 * 1024;  // the kernel caps it at rmem_max, wmem_max

struct OpenedSocket {
  base::Fd socket;  // invalid: socket() or an option failed, see error
  int error = 0;    // errno; EINPROGRESS: the handshake is under way; 0: connected
  bool kept_port = false;
  bool peer_seen = false;  // connected, and the kernel names the peer that was dialled
};

// Opens, sets all options, binds to the verdict's interface and connects. UDP and echo try to keep the
// guest's port (identifier); `same_port` are our own sockets that hold it, as they must agree for a moment.
[[nodiscard]] OpenedSocket open_socket(const flow::Tuple& tuple, const Verdict& verdict,
                                       std::span<const int> same_port);

// A connection that a listener accepted gets the options of one that was opened.
void prepare_accepted(int socket);

// The socket of an inbound datagram flow: bound to the address and port the datagram was sent to, connected
// to its sender, deaf to everybody else. `same_port`: our sockets that hold the port, its listener among
// them.
struct ReplyPath {
  net::Endpoint peer;
  net::Endpoint local;
  std::uint32_t scope_id = 0;        // of the peer, when link-local
  std::uint32_t bind_interface = 0;  // 0: none
};
[[nodiscard]] OpenedSocket open_reply_socket(const ReplyPath& path, std::span<const int> same_port);

// Two idle sockets to keep for the life of the process. The kernel patches its own code when the first
// UDP_GRO socket of a family appears and again when the last one goes (a static key): 100 us for every UDP
// flow that is alone, were there not always one.
[[nodiscard]] std::array<base::Fd, 2> hold_datagram_offload();

// The outcome of a connect() under way: 0, EINPROGRESS or the error. Consumes the error.
[[nodiscard]] int connect_outcome(int socket, const net::Endpoint& dial, std::uint32_t scope_id);

// What the connected socket itself says.
struct SocketFacts {
  std::optional<net::Endpoint> local;
  std::optional<net::Endpoint> peer;
  std::uint32_t path_mtu = 0;
};
// A connection's peer cannot change, so one that open_socket() has seen need not be asked for again.
[[nodiscard]] SocketFacts look_at(int socket, net::Family family, bool ask_peer = true);

// After this nothing leaves by the socket and nothing more is in it or arrives, whoever else holds it. TCP:
// the peer gets a reset, what was queued is gone. False: the kernel refused, the other holder still has a
// working socket.
[[nodiscard]] bool cut_socket(int socket, flow::Protocol protocol);
// The flow's regular end. Graceful TCP: what was queued still goes out, then FIN, also after a close().
// False: as above.
bool end_socket(int socket, flow::Protocol protocol, net::Family family, flow::CloseHow how);

// Kernel memory of a socket; takes no lock.
struct SocketMemory {
  std::uint64_t all = 0;
  std::uint32_t queued = 0;    // to be sent
  std::uint32_t received = 0;  // and not read
};
[[nodiscard]] SocketMemory memory_of(int socket);
// Gives back what a socket that has ended received: whoever else holds it would keep that memory, and no flow
// would stand for it. Segments out of order cannot be read: of a connection with nothing left to send they
// are reset away. False: as above.
bool empty_socket(int socket, flow::Protocol protocol);

// What a guest sees for a failed connect().
[[nodiscard]] flow::RefuseHow refusal_for(int error);

}  // namespace cordon::sandbox
