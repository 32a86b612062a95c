#include "app/passt_options.h"

namespace cordon::app {

std::string passt_help() {
  return R"(Usage: passt [options]

Cordon in the place of passt: networking for one virtual machine, by passt's options.
Unless told otherwise the machine may reach whatever this host can reach, and this host.

Ours
  --no-map-host             not this host: none of its addresses, those it gets later included
  --map-host-addr none      the same
  --policy FILE             every file must allow a flow as well; repeat it
  --watch-policy            take changes of those files over at once
  --audit-log FILE          one JSON line for each refusal; or stderr, journald, syslog, none
  --name NAME               the guest's name in records (default: by the socket's name)
  --control PATH            a socket for cordon ctl (default: none)
  --threads N, --max-flows N, --isolation best|strict
                            as those of cordon vm
  --verbose                 as --debug
  These are not to be shortened.

The machine's end
  -s, --socket PATH         listen here (default: the first free /tmp/passt_N.socket)
  --socket-path PATH        the same
  -F, --fd N                serve this connected socket, and end with it
  -1, --one-off             end when the first client leaves
  --vhost-user              speak vhost-user there
  --print-capabilities      describe this back-end in JSON, and exit
  --repair-path PATH|none   accepted; connections are not migrated

This process
  -f, --foreground          do not go to the background
  -P, --pid FILE            write the process id there
  -l, --log-file FILE       messages go there (default in the background: syslog)
  --log-size BYTES          at most so much of them (default: 1M)
  -p, --pcap FILE           record the machine's frames
  --runas USER[:GROUP]      as root: become this one (default: nobody)
  -q, --quiet               say less
  -d, --debug, --trace      say more
  -h, --help, --version     this text, or the version
  -e, --stderr; --stats N; -c, --conf-path PATH; --migrate-exit; --migrate-no-linger;
  --chroot-fallback         accepted; they do nothing

Addresses
  -a, --address ADDR[/LEN]  the machine's (default: this host's); one of each family
  -n, --netmask MASK|LEN    of its IPv4 address
  -g, --gateway ADDR        its default gateway (default: this host's)
  -i, --interface NAME      take address and gateway of this interface
  -M, --mac-addr MAC        our own hardware address (default: 9a:55:9a:55:9a:55)
  -m, --mtu BYTES           up to 65521; 0: do not tell one (default: 65520)
  -4, --ipv4-only; -6, --ipv6-only
                            one family alone
  -o, --outbound ADDR       sockets have this address; one of each family
  --outbound-if4 NAME, --outbound-if6 NAME
                            nothing leaves by another interface

Names
  -D, --dns ADDR|none       tell the machine this name server (default: this host's); repeat it
  --dns-forward ADDR        what is sent there, to ports 53 and 853, goes to a resolver of this host's
  --dns-host ADDR           to this one (default: those of resolv.conf)
  -S, --search LIST|none    domains to search (default: this host's)
  --no-dhcp-dns, --no-dhcp-search
                            tell no name servers, no domains
  -H, --hostname NAME; --fqdn NAME
                            the machine's names

What is carried
  --map-host-loopback ADDR|none
                            the address that leads to this host's loopback (default: the gateway)
  --no-map-gw               the gateway's address is the gateway
  --map-guest-addr ADDR|none
                            the address that leads to the one that host and machine share
  -t, --tcp-ports SPEC, -u, --udp-ports SPEC
                            let connections in: none, all, 22, 8080:80, 127.0.0.1/2222:22,
                            %eth0/8000-8100, ~25; repeat it (default: none)
  --no-tcp, --no-udp, --no-icmp, --no-dhcp, --no-dhcpv6, --no-ndp, --no-ra
                            leave one out
  --freebind                listen on addresses that do not exist yet

Exit status: 0, or 1 for every error. See cordon-passt(1).
)";
}

}  // namespace cordon::app
