# What is measured, one "program metric value" line each into $results.

record() { echo "$1 $2 $3" >>$results; }
field() { sed -n "s/.*\"$1\": \\([0-9.]*\\).*/\\1/p" <<<"$2"; }

ticks() {  # user and system time of all processes of a program, in clock ticks
  local pid sum=0 own
  for pid in $(program_processes "$1"); do
    own=$(sed 's/.*) //' /proc/"$pid"/stat 2>/dev/null | awk '{print $12 + $13}')
    sum=$((sum + ${own:-0}))
  done
  echo $sum
}
rollup() {  # rollup PROGRAM FIELD-PATTERN: kB over all its processes
  local pid
  for pid in $(program_processes "$1"); do cat /proc/"$pid"/smaps_rollup 2>/dev/null; done |
    awk -v pattern="$2" '$1 ~ pattern {sum += $2} END {print sum + 0}'
}

# take PROGRAM METRIC JSON-FIELD TRAFFIC-ARGUMENTS...
take() {
  local program=$1 metric=$2 wanted=$3 line value
  shift 3
  line=$(timeout $((time / 1000 + 7)) nsenter --net=/proc/"$napper"/ns/net $TRAFFIC --timeout 5000 "$@" 2>>$W/log/bench.err) || return
  value=$(field "$wanted" "$line")
  [ -n "$value" ] && record "$program" "$metric" "$value"
}
# The same for throughput, with the processor time it cost.
take_stream() {
  local program=$1 metric=$2 direction=$3 streams=$4 before line bytes
  before=$(ticks "$program")
  line=$(timeout $((time / 1000 + 7)) nsenter --net=/proc/"$napper"/ns/net $TRAFFIC --timeout 5000 "$direction" "${server:-$SERVER4}" $PORT "$streams" \
    $time 2>>$W/log/bench.err) || return
  record "$program" "$metric" "$(field gbps "$line")"
  bytes=$(field bytes "$line")
  [ "$program" != veth ] && [ "${bytes:-0}" != 0 ] && record "$program" "$metric-cpu" \
    "$(awk -v t=$(($(ticks "$program") - before)) -v hz="$(getconf CLK_TCK)" -v b="$bytes" \
      'BEGIN {print t / hz / (b / 1073741824)}')"
}

measure_program() {
  local program=$1 mtu=$2 napper
  begin "$program" "$mtu" || { note "$program did not start: $(cat $W/log/program.err)"; end "$program"; return; }
  napper=$(nap)
  [ "$program" != veth ] && [ "$mtu" = 65520 ] && record "$program" pss "$(rollup "$program" '^Pss:')"
  local streams direction
  for streams in 1 4; do
    for direction in out in; do
      take_stream "$program" "$direction-$mtu-$streams" $direction $streams
    done
  done
  if [ "$mtu" = 65520 ]; then
    if [ "$program" != slirp4netns ]; then  # which has IPv6 only on request, as an experiment
      local server=$SERVER6
      for direction in out in; do take_stream "$program" "$direction-v6-1" $direction 1; done
      take "$program" tcp-rr-v6 median_us tcp-rr $SERVER6 $PORT $time
      take "$program" crr-v6-1 median_us crr $SERVER6 $PORT $time 1
      take "$program" crr-v6-16 rate crr $SERVER6 $PORT $time 16
    fi
    take "$program" tcp-rr median_us tcp-rr $SERVER4 $PORT $time
    take "$program" udp-rr median_us udp-rr $SERVER4 $PORT $time
    take "$program" crr-1 median_us crr $SERVER4 $PORT $time 1
    take "$program" crr-16 rate crr $SERVER4 $PORT $time 16
    take "$program" udp-64 rate udp-in $SERVER4 $PORT $time 64
    take "$program" udp-1400 rate udp-in $SERVER4 $PORT $time 1400
  fi
  end "$program"
}

# Workers: what a second one gives, and what a small exchange has to wait for beside one bulk flow.
measure_workers() {
  local program=$1 napper streams direction bulk
  begin "$program" 65520 || { note "$program did not start: $(cat $W/log/program.err)"; end "$program"; return; }
  napper=$(nap)
  for streams in 1 4; do
    for direction in out in; do
      take "$program" "workers-$direction-$streams" gbps $direction $SERVER4 $PORT $streams $time
    done
  done
  take "$program" workers-crr rate crr $SERVER4 $PORT $time 16
  for transport in tcp udp; do
    take "$program" workers-$transport-rr median_us $transport-rr $SERVER4 $PORT $time
    for direction in out in; do
      inside $TRAFFIC --timeout 5000 $direction $SERVER4 $PORT 1 $((time + 600)) >/dev/null 2>&1 &
      bulk=$!
      sleep 0.3
      take "$program" workers-$transport-rr-$direction median_us $transport-rr $SERVER4 $PORT $time
      wait $bulk
    done
  done
  end "$program"
}

slab() { awk '$1 == "Slab:" {print $2}' /proc/meminfo; }
socket_pages() { ip netns exec host awk '$1 == "TCP:" {print $NF * 4}' /proc/net/sockstat; }

measure_held() {
  local program=$1 napper holder before_user before_pss before_slab before_ticks
  begin "$program" 65520 || { end "$program"; return; }
  napper=$(nap)
  before_user=$(rollup "$program" '^Private_')
  before_pss=$(rollup "$program" '^Pss:')
  before_slab=$(slab)
  mkfifo $W/hold
  nsenter --net=/proc/"$napper"/ns/net $TRAFFIC --timeout 5000 hold $SERVER4 $PORT $held <$W/hold >$W/log/hold.out 2>&1 &
  holder=$!
  exec 9>$W/hold
  if within 40 grep -q . $W/log/hold.out && grep -q ready $W/log/hold.out; then
    sleep 1
    record "$program" held-slab "$(awk -v k=$(($(slab) - before_slab)) -v n=$held 'BEGIN {print k * 1024 / n}')"
    if [ "$program" != veth ]; then
      record "$program" held-user "$(awk -v k=$(($(rollup "$program" '^Private_') - before_user)) -v n=$held \
        'BEGIN {print k * 1024 / n}')"
      record "$program" held-pss "$(awk -v k=$(($(rollup "$program" '^Pss:') - before_pss)) -v n=$held \
        'BEGIN {print k * 1024 / n}')"
      record "$program" held-sockets "$(awk -v k="$(socket_pages)" -v n=$held 'BEGIN {print k * 1024 / n}')"
      before_ticks=$(ticks "$program")
      sleep $rest
      record "$program" held-cpu "$(awk -v t=$(($(ticks "$program") - before_ticks)) -v hz="$(getconf CLK_TCK)" \
        -v s=$rest 'BEGIN {print 100 * t / hz / s}')"
    fi
  else
    note "$program could not hold $held flows: $(cat $W/log/hold.out)"
  fi
  exec 9>&-
  within 5 not kill -0 $holder 2>/dev/null || kill -KILL $holder
  rm -f $W/hold
  end "$program"
}

measure_start() {
  local i line begin_time
  for i in 1 2 3 4 5; do
    begin_time=$EPOCHREALTIME
    line=$(launch "$1" 65520 $TRAFFIC --timeout 5000 first $SERVER4 $PORT 2>/dev/null)
    [ -n "$line" ] && record "$1" start \
      "$(awk -v a="$begin_time" -v b="$(field time "$line")" 'BEGIN {print 1000 * (b - a)}')"
    end "$1"
  done
}
