# shellcheck shell=bash
# send: two hundred thousand lines of ten thousand users sent by `event-syncer send` with 8 and 64 connections to a server,
# which syncs its journal before it answers; beside POST /push by the same number of connections of wrk, which is not stored.

SEND_LINES=200000
SEND_USERS=10000

send_lines() {
    awk -v lines="$SEND_LINES" -v users="$SEND_USERS" 'BEGIN {
        srand(2);
        for (i = 0; i < lines; i++)
            printf("{\"userId\":\"user%d\",\"name\":\"add_revenue\",\"value\":%d.%02d}\n", int(rand() * users),
                int(rand() * 1000), int(rand() * 100)) }' >"$1"
}

measure_send() {
    local file=$DIRECTORY/events.jsonl body='{"userId":"user1","name":"add_revenue","value":12.34}' connections round
    send_lines "$file"
    start_event_syncer own --max-memory 8589934592
    for connections in 8 64; do
        local rate='' push=''
        for ((round = 0; round <= BENCH_ROUNDS; round++)); do
            seconds_of "$SERVER" send "$file" --url "http://127.0.0.1:${PORT[own]}" --connections "$connections"
            ((round == 0)) || rate+="$(calculate "$SEND_LINES / $RUN_SECONDS") "
            load own "$connections" "$BENCH_SECONDS" POST '/push?key=bench' "$body"
            ((round == 0)) || push+="$LOAD_RATE "
        done
        compare "send, $connections connections, durable, and pushes by wrk: lines a second" "$rate" "$push" ""
    done
    if (($(wc -l <"$DIRECTORY/own/server-events.jsonl") != SEND_LINES * 2 * (BENCH_ROUNDS + 1))); then
        wrong "send: the journal does not hold all lines"
    fi
}
