# shellcheck shell=bash
# metrics: first the metrics module by bench/metrics.c, in one process without HTTP: ten million events of 100,000 users
# in a window of 30 minutes, queries of the whole of it beside the same with 10,000 events, swaps of the reference table
# while others take events in and ask beside the same without swaps, and a limit of memory that is reached.  Then the
# same job in plain Node (bench/metrics.js): a ring of buckets of event objects that every query goes through; in one
# process, then as servers that bench/ingest.c loads with batches of 1,000 events over 4 connections, in turns, and asks
# for metrics when all is in.  Both have the same events then, and must give the same answer.
# Node's memory is what is resident, event-syncer's is what it counts and what is resident.  The rates over HTTP are
# those of a server and the load generator on the same cores; the CPU time is the server's own.

METRICS_EVENTS=10000000
METRICS_USERS=100000
METRICS_BATCHES=$((250 * BENCH_SECONDS)) # a turn
METRICS_NODE=(node --max-old-space-size=12000)
declare -A METRICS=() # what bench/metrics.c said

# metrics_ratio OWN PEER: two digits, as some are very small.
metrics_ratio() {
    awk -v own="$1" -v peer="$2" 'BEGIN { ratio = own / peer; printf(ratio < 1 ? "%.2g" : "%.2f", ratio) }'
}

# metrics_limit_row counted|resident GOAL
metrics_limit_row() {
    local megabytes=${METRICS[limit_$1_mb]} limit=${METRICS[limit_mb]}
    row "metrics, memory full: MB $1, and the limit" "$(short "$megabytes")" "$limit" \
        "$(metrics_ratio "$megabytes" "$limit")" "$2" "$(calculate "$megabytes / $limit")"
}

# metrics_module: sets METRICS and makes its rows.
metrics_module() {
    local name value
    while read -r name value; do
        METRICS[$name]=$value
    done < <("$CLIENTS/metrics" "$METRICS_EVENTS" "$METRICS_USERS")
    if [[ -z ${METRICS[step_back_ms]:-} ]]; then
        wrong "metrics: the program failed"
        return 1
    fi
    row "metrics, the window filling, and full: events taken in a second" "${METRICS[ingest_full]}" \
        "${METRICS[ingest_filling]}" - ">= 1000000" "${METRICS[ingest_full]}"
    row "metrics, query of 1,800 s with ten million events, and with 10,000: us" "${METRICS[query_many_us]}" \
        "${METRICS[query_few_us]}" "$(metrics_ratio "${METRICS[query_many_us]}" "${METRICS[query_few_us]}")" "<= 1.2"
    row "metrics: bytes an event, counted and resident" "${METRICS[bytes_an_event]}" \
        "${METRICS[resident_bytes_an_event]}" - ""
    metrics_limit_row counted "<= 1.0"
    metrics_limit_row resident ""
    row "metrics, tables of 100,000 users swapped, and not: longest ingest, ms" "${METRICS[swap_ingest_longest_ms]}" \
        "${METRICS[quiet_ingest_longest_ms]}" - "<= 50" "${METRICS[swap_ingest_longest_ms]}"
    row "metrics, tables of 100,000 users swapped, and not: longest query, ms" "${METRICS[swap_query_longest_ms]}" \
        "${METRICS[quiet_query_longest_ms]}" - "<= 50" "${METRICS[swap_query_longest_ms]}"
    row "metrics: ms to swap a table, and to build it before" "${METRICS[swap_ms]}" "${METRICS[build_ms]}" - ""
}

# metrics_node: the same in Node, with a tenth of the events, or a hundredth, where its heap can't hold them.
metrics_node() {
    local events=$METRICS_EVENTS name value
    local -A peer=()
    while ((events >= METRICS_EVENTS / 100)) && [[ -z ${peer[ingest_full]:-} ]]; do
        while read -r name value; do
            peer[$name]=$value
        done < <(timeout 600 "${METRICS_NODE[@]}" --expose-gc "$BENCH_DIRECTORY/metrics.js" measure "$events" \
            "$METRICS_USERS")
        if [[ -z ${peer[ingest_full]:-} ]]; then
            note "metrics: Node did not manage $events events"
            events=$((events / 10))
        fi
    done
    if [[ -z ${peer[ingest_full]:-} ]]; then
        wrong "metrics: Node failed"
        return
    fi
    name="metrics by Node"
    ((events == METRICS_EVENTS)) || name="metrics by Node with $events events"
    row "$name, window full: events taken in a second" "${METRICS[ingest_full]}" "${peer[ingest_full]}" \
        "$(metrics_ratio "${METRICS[ingest_full]}" "${peer[ingest_full]}")" ""
    row "$name, query of 1,800 s with ten million events: us" "${METRICS[query_many_us]}" \
        "${peer[query_many_us]}" "$(metrics_ratio "${METRICS[query_many_us]}" "${peer[query_many_us]}")" "<= 1000" \
        "${METRICS[query_many_us]}"
    row "$name, query of 1,800 s with 10,000 events: us" "${METRICS[query_few_us]}" \
        "${peer[query_few_us]}" "$(metrics_ratio "${METRICS[query_few_us]}" "${peer[query_few_us]}")" ""
    row "$name: bytes resident an event" "${METRICS[resident_bytes_an_event]}" "${peer[resident_bytes_an_event]}" \
        "$(metrics_ratio "${METRICS[resident_bytes_an_event]}" "${peer[resident_bytes_an_event]}")" ""
}

# metrics_start_node NAME: an HTTP server.
# shellcheck disable=SC2004 # the arrays of lib.sh are associative
metrics_start_node() {
    local name=$1 home=$DIRECTORY/$1 port
    mkdir -p "$home"
    port=$(free_port)
    "${METRICS_NODE[@]}" "$BENCH_DIRECTORY/metrics.js" serve "$port" >"$home/log" 2>&1 &
    PROCESS[$name]=$!
    if ! wait_until 10 port_taken "$port" || process_gone "${PROCESS[$name]}"; then
        cat "$home/log" >&2
        die "Node did not start"
    fi
    PORT[$name]=$port
}

# metrics_load NAME ROUND: sets LOAD_RATE, events a second, and LOAD_COST, microseconds of CPU time an event.
metrics_load() {
    local before after
    before=$(cpu_time "$1")
    read -r _ LOAD_RATE < <("$CLIENTS/ingest" events "${PORT[$1]}" "$METRICS_BATCHES" $(($2 * METRICS_BATCHES))) ||
        die "metrics: the client failed"
    after=$(cpu_time "$1")
    LOAD_COST=$(calculate "($after - $before) / 1000000 / $METRICS_BATCHES")
}

# metrics_ask NAME COUNT: sets LOAD_RATE, the median in microseconds.
metrics_ask() {
    read -r _ LOAD_RATE < <("$CLIENTS/ingest" query "${PORT[$1]}" "$2") || die "metrics: the client failed"
}

# metrics_answer NAME: the fields of an answer, a line each, in an order of their own.
metrics_answer() {
    curl -s -m 60 "http://127.0.0.1:${PORT[$1]}/metrics?window=1800" | tr '{},' '\n' | sort
}

metrics_http() {
    local round server order events=$(((BENCH_ROUNDS + 1) * METRICS_BATCHES * 1000))
    local -a values
    local -A rate=() cost=() latency=() queries=([own]=1000 [peer]=3)
    start_event_syncer own --max-metrics-memory 8589934592
    metrics_start_node peer
    node "$BENCH_DIRECTORY/metrics.js" reference "$METRICS_USERS" >"$DIRECTORY/reference"
    for server in own peer; do
        curl -s -f -m 60 -o /dev/null -T "$DIRECTORY/reference" "http://127.0.0.1:${PORT[$server]}/reference/users" ||
            die "metrics: $server did not take the reference table"
    done
    for ((round = 0; round <= BENCH_ROUNDS; round++)); do
        order="own peer"
        ((round % 2 == 0)) || order="peer own"
        for server in $order; do
            metrics_load "$server" "$round"
            ((round > 0)) || continue # the first warms up
            rate[$server]+="$LOAD_RATE " cost[$server]+="$LOAD_COST "
        done
    done
    for ((round = 0; round < BENCH_ROUNDS; round++)); do
        for server in own peer; do
            metrics_ask "$server" "${queries[$server]}"
            latency[$server]+="$LOAD_RATE "
        done
    done
    [[ $(metrics_answer own) == $(metrics_answer peer) ]] || wrong "metrics: event-syncer and Node answer differently"
    [[ $(health own metrics events) == "$events" ]] || wrong "metrics: not all of $events events are in the window"
    note "metrics: event-syncer: events a second ${rate[own]}; CPU us an event ${cost[own]}; query us ${latency[own]}"
    note "metrics: Node: events a second ${rate[peer]}; CPU us an event ${cost[peer]}; query us ${latency[peer]}"
    compare "metrics by Node, POST /events: events a second" "${rate[own]}" "${rate[peer]}" ""
    compare "metrics by Node, POST /events: CPU us an event" "${cost[own]}" "${cost[peer]}" ""
    for server in own peer; do
        read -r -a values <<<"${latency[$server]}"
        latency[$server]=$(median "${values[@]}")
    done
    row "metrics by Node, GET /metrics, $events events: us" "$(short "${latency[own]}")" "$(short "${latency[peer]}")" \
        "$(metrics_ratio "${latency[own]}" "${latency[peer]}")" "<= 1000" "${latency[own]}"
}

measure_metrics() {
    note "metrics: Node is $(node --version)"
    if metrics_module; then
        metrics_node
    fi
    metrics_http
}
