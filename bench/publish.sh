# shellcheck shell=bash
# publish: POST /api/events/publish of a small payload by wrk, durable on SQLite, against XADD of the same
# fields by redis-benchmark to a Redis that keeps nothing on disk; 64 connections each.  Events live one
# second in the queue here; CPU time counts until the last has expired.  Redis' stream is deleted after each
# run, event-syncer's table grows.  The generators are not alike: wrk has two threads and speaks HTTP,
# redis-benchmark has one and speaks RESP, and each shares the cores with the server that it loads.  So the
# rates are those of a server and its generator together; the CPU time a request is the server's own.

PUBLISH_CONNECTIONS=64

# redis_load NAME COUNT: XADD by redis-benchmark; sets LOAD_REQUESTS, LOAD_RATE and LOAD_COST as costly_load
# does, and empties the stream.
redis_load() {
    local name=$1 count=$2 before after output stored
    before=$(cpu_time "$name")
    output=$(timeout $((10 * BENCH_SECONDS + 60)) redis-benchmark -h 127.0.0.1 -p "${PORT[$name]}" -q \
        -c "$PUBLISH_CONNECTIONS" -n "$count" XADD stream '*' type created payload '{"sensor":17,"value":20.25}') ||
        die "redis-benchmark failed: $output"
    after=$(cpu_time "$name")
    LOAD_REQUESTS=$count
    LOAD_RATE=$(tr '\r' '\n' <<<"$output" |
        awk 'match($0, /[0-9.]+ requests per second/) { rate = substr($0, RSTART) + 0 } END { print rate + 0 }')
    LOAD_COST=$(calculate "($after - $before) / 1000 / $count")
    stored=$(redis "$name" XLEN stream)
    redis "$name" DEL stream >/dev/null
    if ((stored != count)) || [[ $LOAD_RATE == 0 ]]; then
        wrong "publish: Redis stored $stored of $count events; redis-benchmark said: ${output: -200}"
    fi
}

measure_publish() {
    local body='{"channel":"bench","eventType":"created","payload":{"sensor":17,"value":20.25}}'
    local round server order count=20000
    local -A rate=() cost=()
    start_event_syncer own --ttl 1 --max-memory 8589934592
    start_redis peer
    for ((round = 0; round <= BENCH_ROUNDS; round++)); do
        order="own peer"
        ((round % 2 == 0)) || order="peer own"
        for server in $order; do
            if [[ $server == own ]]; then
                costly_load own events_over "$PUBLISH_CONNECTIONS" POST /api/events/publish "$body"
                ((LOAD_ERRORS == 0)) || wrong "publish: $LOAD_ERRORS of $LOAD_REQUESTS requests failed"
            else
                redis_load peer "$count"
                count=$(awk -v rate="$LOAD_RATE" -v seconds="$BENCH_SECONDS" \
                    'BEGIN { printf("%d", rate * seconds + 1) }')
            fi
            if ((round > 0)); then # the first warms up, and finds out how many requests Redis gets
                rate[$server]+="$LOAD_RATE " cost[$server]+="$LOAD_COST "
            fi
        done
    done
    note "publish: rates are those of a server and its load generator (wrk, redis-benchmark) on the same cores"
    note "publish: event-syncer: requests a second ${rate[own]}; CPU us a request ${cost[own]}"
    note "publish: Redis: requests a second ${rate[peer]}; CPU us a request ${cost[peer]}"
    compare "publish by Redis, $PUBLISH_CONNECTIONS connections: requests a second" \
        "${rate[own]}" "${rate[peer]}" ">= 1.0"
    compare "publish by Redis, $PUBLISH_CONNECTIONS connections: CPU us a request" \
        "${cost[own]}" "${cost[peer]}" ""
}
