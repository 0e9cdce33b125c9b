# shellcheck shell=bash
# hanging: POST /push while two hundred calls of an upstream hang, beside a server without any, in turns.  The upstream
# takes connections and never answers.

HANGING_CALLS=200

start_hanging() {
    mkdir -p "$DIRECTORY/$1"
    node -e 'const server = require("net").createServer(() => {});
        process.on("SIGTERM", () => process.exit(0));
        server.listen(0, "127.0.0.1", () => console.log(server.address().port));' \
        >"$DIRECTORY/$1/port" 2>"$DIRECTORY/$1/log" &
    # shellcheck disable=SC2034 # lib.sh stops it
    PROCESS[$1]=$!
    wait_until 10 test -s "$DIRECTORY/$1/port" || die "the hanging upstream did not start"
    PORT[$1]=$(<"$DIRECTORY/$1/port")
}

hanging_calls_are_under_way() {
    local under_way
    under_way=$(curl -s "http://127.0.0.1:${PORT[$1]}/health" | sed -n 's/.*"under_way":\([0-9]*\).*/\1/p')
    ((under_way >= HANGING_CALLS))
}

measure_hanging() {
    local path='/push?key=bench' body='{"sensor":17,"value":20.25}' calls
    start_hanging upstream
    start_event_syncer peer --max-memory 8589934592
    start_event_syncer own --max-memory 8589934592 --upstream "http://127.0.0.1:${PORT[upstream]}" \
        --upstream-timeout 60 --upstream-calls $((HANGING_CALLS + 8))
    curl -s --no-progress-meter -m 120 -o "$DIRECTORY/hanging" -Z --parallel-immediate --parallel-max "$HANGING_CALLS" \
        -d '{"name":"hello","userId":"1"}' "http://127.0.0.1:${PORT[own]}/addEvent?call=[1-$HANGING_CALLS]" &
    calls=$!
    wait_until 10 hanging_calls_are_under_way own || wrong "hanging: the calls are not under way"
    compare_load "push while 200 upstream calls hang, and without" own peer true 64 POST "$path" "$body"
    hanging_calls_are_under_way own || wrong "hanging: the calls have ended too early"
    kill "$calls" 2>/dev/null || true
    wait "$calls" 2>/dev/null || true
}
