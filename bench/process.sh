# shellcheck shell=bash
# process: a journal of a million lines of ten thousand users turned into revenue in a new SQLite database, in turns with `wc
# -l`, which only reads it, and with the obvious Node script, which keeps nothing.

PROCESS_LINES=1000000
PROCESS_USERS=10000

process_journal() {
    awk -v lines="$PROCESS_LINES" -v users="$PROCESS_USERS" 'BEGIN {
        srand(1);
        for (i = 0; i < lines; i++)
            printf("{\"userId\":\"user%d\",\"name\":\"%s_revenue\",\"value\":%d.%02d}\n", int(rand() * users),
                rand() < 0.9 ? "add" : "subtract", int(rand() * 1000), int(rand() * 100)) }' >"$1"
}

measure_process() {
    local journal=$DIRECTORY/journal.jsonl round
    local -A seconds=()
    process_journal "$journal"
    for ((round = 0; round <= BENCH_ROUNDS; round++)); do
        rm -f "$DIRECTORY"/revenue.db*
        seconds_of "$SERVER" process "$journal" --database "sqlite:$DIRECTORY/revenue.db"
        grep -q '^1,000,000 lines counted' "$DIRECTORY/run.log" || wrong "process: not all lines were counted"
        ((round == 0)) || seconds[own]+="$RUN_SECONDS "
        seconds_of node "$BENCH_DIRECTORY/process.js" "$journal"
        ((round == 0)) || seconds[node]+="$RUN_SECONDS "
        seconds_of wc -l "$journal"
        ((round == 0)) || seconds[wc]+="$RUN_SECONDS "
    done
    compare "process by Node, a million lines of 10,000 users: seconds" "${seconds[own]}" "${seconds[node]}" "<= 1.0"
    compare "process by wc -l, the same: seconds" "${seconds[own]}" "${seconds[wc]}" ""
}
