# Medians of "program metric value" lines of bench/vm as Markdown tables.
function shown(value, scale, digits) { return value == "" ? "-" : sprintf("%." digits "f", value / scale) }
function row(title, metric, scale, digits,   run, v, pv, s, ps) {
  run = median("cordon-run", metric)
  v = median("cordon-vhost", metric); pv = median("passt-vhost", metric)
  s = median("cordon-stream", metric); ps = median("passt-stream", metric)
  printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", title, shown(run, scale, digits), shown(v, scale, digits),
    shown(pv, scale, digits), ratio(v, pv), shown(s, scale, digits), shown(ps, scale, digits), ratio(s, ps)
}
function rings(title, metric, scale, digits,   v, pv) {
  v = median("cordon-vhost", metric); pv = median("passt-vhost", metric)
  printf "| %s | %s | %s | %s |\n", title, shown(v, scale, digits), shown(pv, scale, digits), ratio(v, pv)
}
END {
  print "| guest: a kernel behind a bridge | namespace | vhost-user: Cordon | passt | ratio | stream: Cordon | passt | ratio |"
  print "|---|---|---|---|---|---|---|---|"
  for (m = 0; m < 2; m++) {
    mtu = m ? 1500 : 65520
    row("TCP out, MTU " mtu ", Gbit/s", "out-" mtu, 1, 2)
    row("TCP in, MTU " mtu ", Gbit/s", "in-" mtu, 1, 2)
    row("CPU s per GiB out", "out-cpu-" mtu, 1, 3)
    row("CPU s per GiB in", "in-cpu-" mtu, 1, 3)
    row("the bridge's own CPU s per GiB out", "out-card-" mtu, 1, 3)
    row("the bridge's own CPU s per GiB in", "in-card-" mtu, 1, 3)
    row("TCP request/response, MTU " mtu ", median us", "tcp-rr-" mtu, 1, 1)
    row("UDP request/response, MTU " mtu ", median us", "udp-rr-" mtu, 1, 1)
    row("UDP 1400 B received, MTU " mtu ", 1000/s", "udp-" mtu, 1000, 1)
  }
  print "\n| guest: ring_guest | vhost-user: Cordon | passt | ratio |"
  print "|---|---|---|---|"
  for (m = 0; m < 2; m++) {
    mtu = m ? 1500 : 65520
    rings("TCP out, MTU " mtu ", Gbit/s", "ring-out-" mtu, 1, 2)
    rings("TCP in, MTU " mtu ", Gbit/s", "ring-in-" mtu, 1, 2)
    rings("CPU s per GiB out", "ring-out-cpu-" mtu, 1, 3)
    rings("CPU s per GiB in", "ring-in-cpu-" mtu, 1, 3)
    rings("TCP request/response, MTU " mtu ", median us", "ring-rr-" mtu, 1, 1)
  }
}
