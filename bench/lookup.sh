# shellcheck shell=bash
# lookup: the events of one user by curl over one connection, each request another user, with a hundred events and
# with a million in the database, in turns, on SQLite and, where it is installed, on PostgreSQL.  Each user has
# ten events.  The databases are filled behind the server's back while it is stopped.

LOOKUP_EVENTS_OF_USER=10

# lookup_sql EVENTS SERIES_OF_USERS SERIES_OF_EVENTS FALSE: each SERIES is a table of the numbers n from 0.
lookup_sql() {
    cat <<END
BEGIN;
INSERT INTO planned_users (user_id) $2 SELECT 'user' || n FROM series;
INSERT INTO planned_events (position, id, name, user_id, details, from_upstream) $3
    SELECT n + 1, 'e' || n, 'hello', 'user' || (n % ($1 / $LOOKUP_EVENTS_OF_USER)), '"room 5"', $4 FROM series;
UPDATE event_counter SET last_position = $1;
COMMIT;
END
}

lookup_fill() {
    local server=$1 count=$2 users=$(($2 / LOOKUP_EVENTS_OF_USER))
    if [[ $server == *postgresql ]]; then
        lookup_sql "$count" "WITH series AS (SELECT generate_series(0, $users - 1) AS n)" \
            "WITH series AS (SELECT generate_series(0, $count - 1) AS n)" false |
            psql -q -v ON_ERROR_STOP=1 "$(lookup_database "$server")" || die "can't fill the database of $server"
        psql -q -c 'VACUUM ANALYZE' "$(lookup_database "$server")"
    else
        lookup_sql "$count" \
            "WITH RECURSIVE series(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n < $users - 1)" \
            "WITH RECURSIVE series(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n < $count - 1)" 0 |
            sqlite3 "$DIRECTORY/$server/event-syncer.db" || die "can't fill the database of $server"
    fi
}

# lookup_database SERVER: the URL of a database of the cluster, named like the server.
lookup_database() {
    echo "${DATABASE_OF_POSTGRESQL%/*}/$1"
}

lookup_start() {
    local server=$1
    if [[ $server == *postgresql ]]; then
        start_event_syncer "$server" --database "$(lookup_database "$server")"
    else
        start_event_syncer "$server"
    fi
}

# lookup_load SERVER USERS COUNT: so many requests over one connection, for users in turn; sets LATENCY_MEDIAN in
# milliseconds.
lookup_load() {
    local status counted size last=$(($2 < $3 ? $2 - 1 : $3 - 1)) turns=$(($3 / ($2 < $3 ? $2 : $3)))
    read -r status counted size LATENCY_MEDIAN < <(
        curl -s -o "$DIRECTORY/list" -w '%{http_code} %{time_total} %{size_download}\n' \
            "http://127.0.0.1:${PORT[$1]}/getEventsByUserId/user[0-$last]?turn=[1-$turns]" | sort -g -k 2 |
            awk '{ status = status > $1 ? status : $1; size = size == 0 || $3 < size ? $3 : size; time[NR] = $2 * 1000 }
                END { print status, NR, size, time[int(NR / 2) + 1] }'
    )
    if [[ $status != 200 ]] || ((counted != turns * (last + 1) || size < 50 * LOOKUP_EVENTS_OF_USER)); then
        wrong "lookup: $1 answered $counted requests, status $status, the shortest with $size bytes"
    fi
}

# lookup_compare ENGINE: turns on both servers of an engine, and a row.
lookup_compare() {
    local round size
    local -A middle=()
    for ((round = 0; round <= BENCH_ROUNDS; round++)); do
        for size in few many; do
            lookup_load "${size}_$1" $((LOOKUP_COUNT[$size] / LOOKUP_EVENTS_OF_USER)) $((1000 * BENCH_SECONDS))
            if ((round > 0)); then # the first warms up
                middle[$size]+="$LATENCY_MEDIAN "
            fi
        done
    done
    compare "lookup on $1, a million events and a hundred: median ms" "${middle[many]}" "${middle[few]}" "<= 1.5"
}

measure_lookup() {
    local engine size
    local -a engines=(sqlite)
    local -A LOOKUP_COUNT=([few]=100 [many]=1000000)
    if start_postgresql database; then
        engines+=(postgresql)
    fi
    for engine in "${engines[@]}"; do
        for size in few many; do
            if [[ $engine == postgresql ]]; then
                psql -q -c "CREATE DATABASE ${size}_postgresql" "$DATABASE_OF_POSTGRESQL"
            fi
            lookup_start "${size}_$engine"
            stop "${size}_$engine"
            lookup_fill "${size}_$engine" "${LOOKUP_COUNT[$size]}"
            lookup_start "${size}_$engine"
        done
        lookup_compare "$engine"
        stop "few_$engine"
        stop "many_$engine"
    done
    if [[ -n ${PROCESS[database]:-} ]]; then
        stop database
    fi
}
