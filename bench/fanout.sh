# shellcheck shell=bash
# fanout: event streams (bench/streams.c).  How long one published event takes to reach 2,000 of them, each of
# a user of its own, against nchan's eventsource in turns, and the CPU time that costs the server.  Then what
# one of 15,000 idle streams costs in memory: resident and kernel stack, with less without, measured after
# each has delivered an event and the threads that opened them have ended.  An event is durable here before any
# stream gets it; nchan keeps it in memory.

FANOUT_STREAMS=2000
FANOUT_IDLE=15000

# fanout_client NAME KIND COUNT: subscribes the users of so many streams; they are not open yet.
fanout_client() {
    local answer
    client_start "client-$1" "$CLIENTS/streams" "$2" "${PORT[$1]}" "$3"
    answer=$(client_ask "client-$1" subscribe)
    [[ $answer == "subscribed $3" ]] || die "fanout: $2: $answer"
}

fanout_open() {
    local answer
    answer=$(client_ask "client-$1" open)
    [[ $answer == "open $2" ]] || die "fanout: $1: $answer"
}

# fanout_publish NAME COUNT: one event to all; sets FIRST, MEDIAN and LAST, in milliseconds, and COST.
fanout_publish() {
    local word reached before after
    before=$(cpu_time "$1")
    read -r word reached FIRST MEDIAN LAST < <(client_ask "client-$1" publish)
    if [[ $word != reached ]] || ((reached != $2)); then
        wrong "fanout: an event of $1 reached ${reached:-none} of $2"
        return 1
    fi
    sleep 0.1
    after=$(cpu_time "$1")
    COST=$(calculate "($after - $before) / 1e6")
}

fanout_rounds() {
    local round server order
    local -A firsts=() medians=() lasts=() costs=()
    for ((round = 0; round <= 4 * BENCH_ROUNDS; round++)); do
        order="own peer"
        ((round % 2 == 0)) || order="peer own"
        for server in $order; do
            fanout_publish "$server" "$FANOUT_STREAMS" || return 0
            ((round > 0)) || continue # the first warms up
            firsts[$server]+="$FIRST " medians[$server]+="$MEDIAN " lasts[$server]+="$LAST " costs[$server]+="$COST "
        done
    done
    note "fanout: last stream ms, event-syncer: ${lasts[own]}"
    note "fanout: last stream ms, nchan: ${lasts[peer]}"
    compare "fanout, one event to $FANOUT_STREAMS streams: first ms" "${firsts[own]}" "${firsts[peer]}" ""
    compare "fanout, one event to $FANOUT_STREAMS streams: median ms" "${medians[own]}" "${medians[peer]}" ""
    compare "fanout, one event to $FANOUT_STREAMS streams: last ms" "${lasts[own]}" "${lasts[peer]}" "<= 1.0"
    compare "fanout, one event to $FANOUT_STREAMS streams: CPU ms" "${costs[own]}" "${costs[peer]}" ""
}

# fanout_calm NAME: returns when no thread is left that has nothing to do.
fanout_calm() {
    wait_until 60 health_is "$1" threads spare 0 || wrong "fanout: threads of $1 don't end"
}

# fanout_idle NAME KIND COUNT SETTLE: sets IDLE_MEMORY, IDLE_TABLES and IDLE_SLAB, kilobytes a stream, and
# IDLE_THREADS. SETTLE is a command that returns when the server has come to rest.
fanout_idle() {
    local -a before after each=()
    local field process
    read -r -a before < <(memory_snapshot "$1")
    fanout_client "$1" "$2" "$3"
    fanout_open "$1" "$3"
    fanout_publish "$1" "$3" || return 1
    sleep 1
    "$4" "$1"
    read -r -a after < <(memory_snapshot "$1")
    for field in 0 1 2 3; do
        each+=("$(calculate "(${after[field]} - ${before[field]}) / $3")")
    done
    note "fanout: $2 with $3 streams: ${each[0]} KB resident and ${each[2]} KB kernel stack each"
    IDLE_MEMORY=$(calculate "${each[0]} + ${each[2]}")
    IDLE_TABLES=${each[1]}
    IDLE_SLAB=${each[3]}
    IDLE_THREADS=$(for process in $(processes "$1"); do
        cat "/proc/$process/status"
    done | awk '/^Threads:/ { sum += $2 } END { print sum }')
    client_stop "client-$1"
}

measure_fanout() {
    local limit idle=$FANOUT_IDLE own_memory own_tables own_slab own_threads
    start_event_syncer own --heartbeat 3600
    start_nchan peer
    fanout_client own event-syncer "$FANOUT_STREAMS"
    fanout_client peer nchan "$FANOUT_STREAMS"
    fanout_open own "$FANOUT_STREAMS"
    fanout_open peer "$FANOUT_STREAMS"
    fanout_rounds
    stop_all

    # Server and client have a socket each; the server needs some files beside them.
    limit=$(ulimit -n)
    ((limit >= idle + 1000)) || idle=$((limit - 1000))
    note "fanout: $idle idle streams; the limit of open files is $limit"
    start_event_syncer own --heartbeat 3600
    start_nchan peer
    fanout_idle own event-syncer "$idle" fanout_calm || return 0
    own_memory=$IDLE_MEMORY own_tables=$IDLE_TABLES own_slab=$IDLE_SLAB own_threads=$IDLE_THREADS
    fanout_idle peer nchan "$idle" true || return 0
    row "fanout, $idle idle streams: KB each, resident and kernel stack" "$(short "$own_memory")" \
        "$(short "$IDLE_MEMORY")" "$(short "$(calculate "$own_memory / $IDLE_MEMORY")")" "<= 4" "$own_memory"
    row "fanout, $idle idle streams: KB each, page tables" "$(short "$own_tables")" "$(short "$IDLE_TABLES")" - ""
    row "fanout, $idle idle streams: KB each, slab (with the client's sockets)" "$(short "$own_slab")" \
        "$(short "$IDLE_SLAB")" - ""
    row "fanout, $idle idle streams: threads" "$own_threads" "$IDLE_THREADS" - ""
}
