# shellcheck shell=bash
# roundtrip: the time from a push to the event's arrival at the one consumer that waits, by
# bench/roundtrip.c, against the faster of two bare ping-pongs of one byte between two threads; for
# information against the one whose threads go where the system puts them, and against nchan's long poll.
# On which processors a server's threads come to lie is luck that lasts, so the servers start anew for each
# round; the medians over the rounds count.

measure_roundtrip() {
    local round name middle worst ratio
    local -A middles=() worsts=() quotients=()
    for ((round = 0; round < BENCH_ROUNDS; round++)); do
        start_event_syncer own --ttl 2
        start_nchan peer
        while read -r name middle worst ratio; do
            middles[$name]+="$middle " worsts[$name]+="$worst " quotients[$name]+="$ratio "
        done < <("$CLIENTS/roundtrip" 32 50 event-syncer "${PORT[own]}" nchan "${PORT[peer]}" || echo failed)
        stop own
        stop peer
        if [[ -n ${middles[failed]:-} ]]; then
            wrong "roundtrip: the client failed"
            return
        fi
    done
    compare_ratio "roundtrip by ping-pong: median us" "${middles[event-syncer]}" "${middles[fastest]}" \
        "${quotients[event-syncer]}" "<= 3.0"
    compare "roundtrip by ping-pong: 99% us" "${worsts[event-syncer]}" "${worsts[fastest]}" ""
    compare "roundtrip by ping-pong as it falls: median us" "${middles[event-syncer]}" "${middles[ping-pong]}" ""
    compare "roundtrip by nchan: median us" "${middles[event-syncer]}" "${middles[nchan]}" ""
    compare "roundtrip by nchan: 99% us" "${worsts[event-syncer]}" "${worsts[nchan]}" ""
}
