# shellcheck shell=bash
# history: pages of 50 events of one channel out of a million events of ten channels, by curl over one
# connection: the latency at the beginning, in the middle and at the end of what is stored, on SQLite and, where
# it is installed, on PostgreSQL, in turns.  (wrk can't be used: to its percentiles it adds requests that it
# did not send, for the time that others took.)  The databases are filled behind the server's back while it is
# stopped; each round reads another channel, each request another page, and a channel whose 50 events lie far
# apart is read too.

HISTORY_EVENTS=1000000
HISTORY_CHANNELS=10
HISTORY_APART=$((HISTORY_EVENTS / 50))

# history_sql SERIES MILLISECONDS: SQL that fills the tables; SERIES is a table of the numbers n from 1,
# MILLISECONDS makes a time of milliseconds.  Each event's number is its id.
history_sql() {
    cat <<END
BEGIN;
$1
SELECT n, CASE WHEN n % $HISTORY_APART = 0 THEN 'apart' ELSE 'channel' || (n % $HISTORY_CHANNELS) END, 'created',
    '{"sensor":' || (n % 1000) || ',"value":20.25,"unit":"celsius"}', $2 FROM series;
UPDATE event_counter SET last_id = $HISTORY_EVENTS;
COMMIT;
END
}

history_fill_sqlite() {
    history_sql "INSERT INTO events WITH RECURSIVE series(n) AS
        (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < $HISTORY_EVENTS)" "1700000000000 + n" |
        sqlite3 "$1" || die "can't fill $1"
}

history_fill_postgresql() {
    history_sql "INSERT INTO events WITH series AS (SELECT generate_series(1, $HISTORY_EVENTS) AS n)" \
        "to_timestamp(1700000000 + n / 1000.0)" | psql -q -v ON_ERROR_STOP=1 "$1" || die "can't fill $1"
    psql -q -c 'VACUUM ANALYZE' "$1"
}

# history_url NAME CHANNEL AFTER: the address of a page, or of several for curl, which reads ranges.
history_url() {
    echo "http://127.0.0.1:${PORT[$1]}/api/events/history?channel=$2&afterId=$3&limit=50"
}

# history_right NAME CHANNEL AFTER: is it a page of 50 events of the channel, beginning where it should?
history_right() {
    local page
    page=$(curl -s -m 10 "$(history_url "$1" "$2" "$3")")
    [[ $(grep -o "\"channel\":\"$2\"" <<<"$page" | wc -l) == 50 && $page =~ \"id\":([0-9]+) ]] &&
        ((BASH_REMATCH[1] > $3 && BASH_REMATCH[1] <= $3 + HISTORY_APART))
}

# history_load NAME CHANNEL AFTER COUNT: so many pages over one connection, each beginning one id further; sets
# LATENCY_MEDIAN and LATENCY_99, in milliseconds.
history_load() {
    local status counted
    read -r status counted LATENCY_MEDIAN LATENCY_99 < <(
        curl -s -o "$DIRECTORY/page" -w '%{http_code} %{time_total}\n' \
            "$(history_url "$1" "$2" "[$3-$(($3 + $4 - 1))]")" | sort -g -k 2 |
            awk '{ status = status > $1 ? status : $1; time[NR] = $2 * 1000 }
                END { print status, NR, time[int(NR / 2) + 1], time[int(NR * 0.99) + 1] }'
    )
    if [[ $status != 200 ]] || ((counted != $4)); then
        wrong "history: $1 answered $counted of $4 requests, status $status"
    fi
}

# history_rounds PLACE AFTER [CHANNEL]: rows for the pages that begin after an id and the next ones.
history_rounds() {
    local place=$1 after=$2 count=$((1000 * BENCH_SECONDS)) round server channel
    local -a order
    local -A middle=() worst=()
    for ((round = 0; round <= BENCH_ROUNDS; round++)); do
        order=("${HISTORY_SERVERS[@]}")
        ((round % 2 == 0)) || mapfile -t order < <(printf '%s\n' "${HISTORY_SERVERS[@]}" | tac)
        channel=${3:-channel$((round % (HISTORY_CHANNELS - 1) + 1))}
        for server in "${order[@]}"; do
            history_right "$server" "$channel" "$after" ||
                wrong "history: $server's page of $channel after $after is not what was stored"
            history_load "$server" "$channel" "$after" "$count"
            if ((round > 0)); then # the first warms up
                middle[$server]+="$LATENCY_MEDIAN " worst[$server]+="$LATENCY_99 "
            fi
        done
    done
    for server in "${HISTORY_SERVERS[@]}"; do
        note "history on $server, $place: median ms ${middle[$server]}; 99% ms ${worst[$server]}"
        # shellcheck disable=SC2086 # they are lists of numbers
        history_row "history on $server, $place: median ms" "$(median ${middle[$server]})"
        # shellcheck disable=SC2086 # they are lists of numbers
        history_row "history on $server, $place: 99% ms" "$(median ${worst[$server]})"
    done
}

# history_row MEASURE MILLISECONDS
history_row() {
    row "$1" "$(short "$2")" - - "< 2" "$2"
}

measure_history() {
    HISTORY_SERVERS=(sqlite)
    start_event_syncer sqlite
    stop sqlite
    history_fill_sqlite "$DIRECTORY/sqlite/event-syncer.db"
    start_event_syncer sqlite
    if start_postgresql database; then
        start_event_syncer postgresql --database "$DATABASE_OF_POSTGRESQL"
        stop postgresql
        history_fill_postgresql "$DATABASE_OF_POSTGRESQL"
        start_event_syncer postgresql --database "$DATABASE_OF_POSTGRESQL"
        HISTORY_SERVERS+=(postgresql)
    fi
    history_rounds "first page" 0
    history_rounds "middle page" $((HISTORY_EVENTS / 2))
    history_rounds "last page" $((HISTORY_EVENTS - 50 * HISTORY_CHANNELS - 1000 * BENCH_SECONDS))
    history_rounds "events far apart" 0 apart
    if [[ -n ${PROCESS[database]:-} ]]; then
        stop postgresql # it has connections to the other
        stop database
    fi
}
