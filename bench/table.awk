# Medians of "program metric value" lines as a Markdown table.
function shown(value, digits) { return value == "" ? "-" : sprintf("%." digits "f", value) }
function row(title, metric, scale, digits,   v, c, p, s) {
  v = median("veth", metric); c = median("cordon", metric)
  p = median("pasta", metric); s = median("slirp4netns", metric)
  if (v != "") v /= scale
  if (c != "") c /= scale
  if (p != "") p /= scale
  if (s != "") s /= scale
  printf "| %s | %s | %s | %s | %s | %s | %s |\n", title, shown(v, digits), shown(c, digits), shown(p, digits),
    shown(s, digits), ratio(c, v), ratio(c, p)
}
function workers(title, metric, scale, digits,   one, two) {
  one = median("cordon", metric); two = median("cordon2", metric)
  if (one != "") one /= scale
  if (two != "") two /= scale
  printf "| %s | %s | %s | %s |\n", title, shown(one, digits), shown(two, digits), ratio(two, one)
}
function beside(title, program, metric,   alone, out, inward) {
  alone = median(program, metric); out = median(program, metric "-out"); inward = median(program, metric "-in")
  printf "| %s | %s | %s | %s | %s | %s |\n", title, shown(alone, 1), shown(out, 1), ratio(out, alone),
    shown(inward, 1), ratio(inward, alone)
}
END {
  print "| measure | veth | Cordon | pasta | slirp4netns | Cordon / veth | Cordon / pasta |"
  print "|---|---|---|---|---|---|---|"
  for (m = 0; m < 2; m++) {
    mtu = m ? 1500 : 65520
    for (n = 1; n <= 4; n += 3) {
      row("TCP out, MTU " mtu ", " n (n > 1 ? " streams" : " stream") ", Gbit/s", "out-" mtu "-" n, 1, 2)
      row("TCP in, MTU " mtu ", " n (n > 1 ? " streams" : " stream") ", Gbit/s", "in-" mtu "-" n, 1, 2)
    }
    row("CPU s per GiB out, MTU " mtu ", 1 stream", "out-" mtu "-1-cpu", 1, 3)
    row("CPU s per GiB in, MTU " mtu ", 1 stream", "in-" mtu "-1-cpu", 1, 3)
  }
  row("IPv6: TCP out, MTU 65520, 1 stream, Gbit/s", "out-v6-1", 1, 2)
  row("IPv6: TCP in, MTU 65520, 1 stream, Gbit/s", "in-v6-1", 1, 2)
  row("IPv6: TCP request/response, median us", "tcp-rr-v6", 1, 1)
  row("IPv6: connect-request-close, median us", "crr-v6-1", 1, 1)
  row("IPv6: connect-request-close, 16 parallel, 1000/s", "crr-v6-16", 1000, 2)
  row("TCP request/response, median us", "tcp-rr", 1, 1)
  row("UDP request/response, median us", "udp-rr", 1, 1)
  row("connect-request-close, median us", "crr-1", 1, 1)
  row("connect-request-close, 16 parallel, 1000/s", "crr-16", 1000, 2)
  row("UDP 64 B received, 1000/s", "udp-64", 1000, 1)
  row("UDP 1400 B received, 1000/s", "udp-1400", 1000, 1)
  row("user memory per held flow (private), bytes", "held-user", 1, 0)
  row("user memory per held flow (PSS), bytes", "held-pss", 1, 0)
  row("kernel slab per held flow (both ends and between), bytes", "held-slab", 1, 0)
  row("TCP buffer memory of the host per held flow, bytes", "held-sockets", 1, 0)
  row("idle CPU with 5,000 held flows, %", "held-cpu", 1, 2)
  row("start to first connection, ms", "start", 1, 1)
  row("PSS of all processes, idle, MiB", "pss", 1024, 2)

  print "\n| Cordon with | 1 worker | 2 workers | 2 / 1 |"
  print "|---|---|---|---|"
  for (n = 1; n <= 4; n += 3) {
    workers("TCP out, " n (n > 1 ? " streams" : " stream") ", Gbit/s", "workers-out-" n, 1, 2)
    workers("TCP in, " n (n > 1 ? " streams" : " stream") ", Gbit/s", "workers-in-" n, 1, 2)
  }
  workers("connect-request-close, 16 parallel, 1000/s", "workers-crr", 1000, 2)

  print "\n| request/response beside one bulk flow | alone, us | bulk out | ratio | bulk in | ratio |"
  print "|---|---|---|---|---|---|"
  beside("TCP, 1 worker", "cordon", "workers-tcp-rr")
  beside("UDP, 1 worker", "cordon", "workers-udp-rr")
  beside("TCP, 2 workers", "cordon2", "workers-tcp-rr")
  beside("UDP, 2 workers", "cordon2", "workers-udp-rr")
}
