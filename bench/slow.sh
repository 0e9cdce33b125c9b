# shellcheck shell=bash
# slow: slowhttptest with 2,000 connections in its header, body and slow-read modes, while a client (bench/probe.c) pushes
# and gets as ever, over fresh connections and a kept one; beside the same without an attack.  And what is left of an attack
# once its connections are gone: descriptors, and resident memory.

SLOW_CONNECTIONS=2000
SLOW_ENOUGH=1900      # of them must be open while the probe asks
SLOW_PROBE_SECONDS=4  # shorter than the server lets heads take
SLOW_OVER_SECONDS=150 # until the last one must be gone
SLOW_MEMORY_KB=32768  # that an attack may leave behind
SLOW_HISTORY=1000     # events of a kilobyte, one page

slow_history() {
    local payload number
    payload=$(printf '%01000d' 0)
    for ((number = 0; number < SLOW_HISTORY; number++)); do
        printf 'next\nurl = "http://127.0.0.1:%s/api/events/publish"\noutput = /dev/null\n' "${PORT[own]}"
        printf 'data = "{\\"channel\\":\\"slow\\",\\"eventType\\":\\"t\\",\\"payload\\":\\"%s\\"}"\n' "$payload"
    done | sed 1d | curl -s -S --no-progress-meter --parallel --parallel-max 50 -K - || wrong "slow: publishing failed"
}

slow_connections_are_open() {
    (($(health own connections open) >= SLOW_ENOUGH))
}

# The one that asks is open, too.
slow_is_over() {
    health_is own connections open 1
}

slow_memory_is_back() {
    (($(resident own) <= SLOW_BEFORE_KB + SLOW_MEMORY_KB))
}

slow_descriptors() {
    find "/proc/${PROCESS[own]}/fd" -mindepth 1 | wc -l
}

# slow_probe: sets PROBE_MEDIAN, PROBE_MOST (99%), in milliseconds.
slow_probe() {
    local word count longest
    read -r word count PROBE_MEDIAN PROBE_MOST longest < <("$CLIENTS/probe" "${PORT[own]}" "$SLOW_PROBE_SECONDS") ||
        wrong "slow: an ordinary request was not answered"
    note "slow: $word $count: median $PROBE_MEDIAN ms, 99% $PROBE_MOST ms, longest $longest ms"
}

# slow_attack NAME SLOWHTTPTEST-OPTION...
slow_attack() {
    local name=$1 attack descriptors calm_median calm_most peak_kb
    shift
    wait_until 20 slow_is_over || wrong "slow: connections before the attack"
    slow_probe
    calm_median=$PROBE_MEDIAN calm_most=$PROBE_MOST
    wait_until 20 slow_is_over || wrong "slow: connections of the probe are left"
    descriptors=$(slow_descriptors)
    SLOW_BEFORE_KB=$(resident own)
    timeout $((SLOW_OVER_SECONDS + 30)) slowhttptest "$@" -c "$SLOW_CONNECTIONS" -r 1000 -l "$SLOW_OVER_SECONDS" -i 2 \
        >"$DIRECTORY/slowhttptest.log" 2>&1 &
    attack=$!
    wait_until 20 slow_connections_are_open || wrong "slow: $name: fewer than $SLOW_ENOUGH connections came about"
    slow_probe
    slow_connections_are_open || wrong "slow: $name: the connections ended before the probe did"
    peak_kb=$(resident own)
    wait_until "$SLOW_OVER_SECONDS" slow_is_over || wrong "slow: $name: connections are left"
    stop_process "$attack" || true
    wait_until 30 slow_memory_is_back || wrong "slow: $name: memory stays: $(resident own) KB, before $SLOW_BEFORE_KB"
    wait_until 20 slow_is_over || wrong "slow: $name: connections are left"
    if (($(slow_descriptors) > descriptors)); then
        wrong "slow: $name: $(slow_descriptors) descriptors, before $descriptors"
    fi
    row "slow, $name: median ms of ordinary requests, with and without" "$(short "$PROBE_MEDIAN")" \
        "$(short "$calm_median")" "$(short "$(calculate "$PROBE_MEDIAN / $calm_median")")" "<= 50" "$PROBE_MEDIAN"
    row "slow, $name: 99% ms of ordinary requests, with and without" "$(short "$PROBE_MOST")" \
        "$(short "$calm_most")" "$(short "$(calculate "$PROBE_MOST / $calm_most")")" ""
    row "slow, $name: resident KB after and before (in between $peak_kb)" "$(resident own)" "$SLOW_BEFORE_KB" - ""
}

measure_slow() {
    local url
    start_event_syncer own
    url=http://127.0.0.1:${PORT[own]}
    slow_history
    slow_attack "heads" -H -t GET -x 24 -u "$url/health"
    slow_attack "bodies" -B -t POST -s 1000000 -x 24 -u "$url/push?key=slow"
    slow_attack "readers" -X -w 1 -y 256 -n 5 -z 1 -k 3 -u "$url/api/events/history?channel=slow&limit=1000"
}
