# shellcheck shell=bash
# waiting: 10,000 requests that wait at once (bench/longpoll.c).  How long one event takes to reach all of
# them, against nchan's long poll in turns; how fast pushes to another key are meanwhile, against a second
# event-syncer without waiting requests; and what one waiting request costs in memory: resident and kernel
# stack, with less without, measured after the requests have been answered and asked again, when stacks have
# been used as deep as they are.

WAITING=10000

# waiting_client NAME KIND: opens the waiting requests on a server, answers them once and leaves them waiting
# again; sets SNAPSHOT_BEFORE and SNAPSHOT_WITH.
waiting_client() {
    local answer
    SNAPSHOT_BEFORE=$(memory_snapshot "$1")
    client_start "client-$1" "$CLIENTS/longpoll" "$2" "${PORT[$1]}" "$WAITING"
    answer=$(client_ask "client-$1" wait)
    answer=$(client_ask "client-$1" push)
    note "waiting: first round of $2: $answer (answered, first, median, last ms)"
    SNAPSHOT_WITH=$(memory_snapshot "$1")
}

# waiting_memory: what the last waiting_client cost for each request.
waiting_memory() {
    local -a before after each=()
    local field
    read -r -a before <<<"$SNAPSHOT_BEFORE"
    read -r -a after <<<"$SNAPSHOT_WITH"
    for field in 0 1 2 3; do
        each+=("$(calculate "(${after[field]} - ${before[field]}) / $WAITING")")
    done
    OWN_MEMORY=$(calculate "${each[0]} + ${each[2]}")
    OWN_TABLES=${each[1]}
    OWN_SLAB=${each[3]}
}

# waiting_rounds: events to all waiting requests of both servers in turns.
waiting_rounds() {
    local round server word answered first median last order
    local -A firsts=() medians=() lasts=()
    for ((round = 0; round < 2 * BENCH_ROUNDS; round++)); do
        order="own peer"
        ((round % 2 == 0)) || order="peer own"
        for server in $order; do
            read -r word answered first median last < <(client_ask "client-$server" push)
            if [[ $word != answered ]] || ((answered != WAITING)); then
                wrong "waiting: $server answered ${answered:-none} of $WAITING"
                return
            fi
            firsts[$server]+="$first " medians[$server]+="$median " lasts[$server]+="$last "
        done
    done
    compare "waiting, one event to $WAITING: first answer ms" "${firsts[own]}" "${firsts[peer]}" ""
    compare "waiting, one event to $WAITING: median answer ms" "${medians[own]}" "${medians[peer]}" ""
    compare "waiting, one event to $WAITING: last answer ms" "${lasts[own]}" "${lasts[peer]}" "<= 1.0"
}

# waiting_push CONNECTIONS: pushes to another key with and without the waiting requests, in turns.
waiting_push() {
    local round server order body='{"sensor":17,"value":20.25}'
    local -A rate=() cost=()
    for ((round = 0; round <= BENCH_ROUNDS; round++)); do
        order="own calm"
        ((round % 2 == 0)) || order="calm own"
        # Keeps the connections from being silent so long that TCP begins to probe all of them at once.
        client_ask client-own push >/dev/null
        for server in $order; do
            costly_load "$server" events_over "$1" POST '/push?key=elsewhere' "$body"
            if ((LOAD_ERRORS > 0)); then
                wrong "waiting: $LOAD_ERRORS of $LOAD_REQUESTS pushes to $server failed"
            fi
            if ((round > 0)); then
                rate[$server]+="$LOAD_RATE " cost[$server]+="$LOAD_COST "
            fi
        done
    done
    health_is own queue waiting "$WAITING" || wrong "waiting: not all requests waited while others pushed"
    row "waiting, $1 pushing: pushes a second with and without" \
        "$(short "$(median "${rate[own]}")")" "$(short "$(median "${rate[calm]}")")" \
        "$(short "$(ratios "${rate[calm]}" "${rate[own]}")")" "<= 1.2"
    compare "waiting, $1 pushing: CPU us a push with and without" "${cost[own]}" "${cost[calm]}" ""
}

measure_waiting() {
    local own_memory own_tables own_slab
    start_event_syncer own --ttl 1 --wait 600 --max-memory 8589934592
    start_event_syncer calm --ttl 1 --max-memory 8589934592
    start_nchan peer
    waiting_client own event-syncer
    waiting_memory
    own_memory=$OWN_MEMORY own_tables=$OWN_TABLES own_slab=$OWN_SLAB
    waiting_client peer nchan
    waiting_memory
    row "waiting: KB each, resident and kernel stack" "$(short "$own_memory")" "$(short "$OWN_MEMORY")" \
        "$(short "$(calculate "$own_memory / $OWN_MEMORY")")" "<= 40" "$own_memory"
    row "waiting: KB each, page tables" "$(short "$own_tables")" "$(short "$OWN_TABLES")" - ""
    row "waiting: KB each, slab (with the client's sockets)" "$(short "$own_slab")" "$(short "$OWN_SLAB")" - ""
    waiting_rounds
    client_stop client-peer
    stop peer
    waiting_push 1
    waiting_push 16
}
