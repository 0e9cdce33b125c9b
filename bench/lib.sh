# shellcheck shell=bash
# What the measures share: servers that are started on free ports and stopped at exit, CPU time, memory, the
# load generator, medians and the table.  A measure is a file NAME.sh with a function measure_NAME.

REPOSITORY=$(dirname "$BENCH_DIRECTORY")
SERVER=$(realpath -m "${EVENT_SYNCER_BINARY:-$REPOSITORY/build/event-syncer}")
CLIENTS=${BENCH_CLIENTS:-$(dirname "$SERVER")/bench}
DIRECTORY= # everything temporary
FAILURES=0
TABLE=()   # rows, fields separated by |
declare -A PORT=()    # of each server that runs
declare -A PROCESS=() # its main process
declare -A SIGNAL=()  # what ends it, TERM where nothing stands
declare -A TO_CLIENT=() FROM_CLIENT=() CLIENT_PROCESS=()

PATH=$PATH:/usr/sbin:/sbin

note() {
    echo "bench: $*" >&2
}

# A measure went wrong: the table says so and the exit status will be 1.
wrong() {
    note "WRONG: $*"
    FAILURES=$((FAILURES + 1))
}

die() {
    note "$*"
    exit 1
}

# --- the beginning and the end

nchan_module() {
    local directory
    for directory in /usr/lib/nginx/modules /usr/lib64/nginx/modules /usr/share/nginx/modules; do
        if [[ -e $directory/ngx_nchan_module.so ]]; then
            echo "$directory/ngx_nchan_module.so"
            return
        fi
    done
}

install_peers() {
    local missing=() administrator=()
    command -v nginx >/dev/null || missing+=(nginx)
    command -v wrk >/dev/null || missing+=(wrk)
    command -v curl >/dev/null || missing+=(curl)
    command -v redis-server >/dev/null || missing+=(redis-server)
    command -v redis-benchmark >/dev/null || missing+=(redis-tools)
    command -v sqlite3 >/dev/null || missing+=(sqlite3)
    command -v node >/dev/null || missing+=(nodejs)
    command -v slowhttptest >/dev/null || missing+=(slowhttptest)
    [[ -n $(nchan_module) ]] || missing+=(libnginx-mod-nchan)
    ((${#missing[@]} > 0)) || return 0
    ((EUID == 0)) || administrator=(sudo)
    note "installing ${missing[*]}"
    "${administrator[@]}" apt-get update -q >&2 || true
    "${administrator[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >&2 ||
        die "can't install ${missing[*]}: please install them yourself"
}

bench_begin() {
    local client
    install_peers
    [[ -x $SERVER ]] || die "$SERVER is missing: run make"
    for client in cputime longpoll roundtrip keys streams metrics ingest probe; do
        [[ -x $CLIENTS/$client ]] || die "$CLIENTS/$client is missing: run make bench"
    done
    ulimit -Sn "$(ulimit -Hn)"
    DIRECTORY=$(mktemp -d "${TMPDIR:-/tmp}/bench.XXXXXX")
    trap bench_end EXIT
    trap 'exit 1' INT TERM HUP
}

bench_end() {
    local status=$?
    trap - EXIT
    stop_all || true
    if ((status != 0 && ${#TABLE[@]} > 0)); then
        note "stopped early; this much was measured:"
        print_table
    fi
    rm -rf "$DIRECTORY"
    exit "$status"
}

# wait_until SECONDS COMMAND...: repeats the command until it succeeds; fails when the time is over.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS <= deadline)) || return 1
        sleep 0.05
    done
}

# --- servers

process_gone() {
    ! kill -0 "$1" 2>/dev/null
}

# stop_process PID [SIGNAL]: ends a process and returns its exit status.
stop_process() {
    kill -"${2:-TERM}" "$1" 2>/dev/null || true
    wait_until 12 process_gone "$1" || kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null
}

# stop NAME: ends a server. One that is gone already, or does not end as it should, has spoilt what was
# measured.
stop() {
    local process=${PROCESS[$1]} status=0 state=running
    ! process_gone "$process" || state=gone
    stop_process "$process" "${SIGNAL[$1]:-TERM}" || status=$?
    if [[ $state == gone ]] || ((status != 0)); then
        wrong "server $1: it was $state, exit status $status; its last words:"
        tail -n 20 "$DIRECTORY/$1/log" >&2 || true
    fi
    unset "PROCESS[$1]" "PORT[$1]" "SIGNAL[$1]"
}

stop_all() {
    local name
    for name in "${!TO_CLIENT[@]}"; do
        client_stop "$name"
    done
    for name in "${!PROCESS[@]}"; do
        stop "$name"
    done
}

# start_event_syncer NAME [OPTION...]: a server of its own, with the files it makes in a directory of its own.
start_event_syncer() {
    local name=$1 home=$DIRECTORY/$1
    shift
    mkdir -p "$home"
    rm -f "$home/port"
    (cd "$home" && exec "$SERVER" serve --listen 127.0.0.1:0 --port-file "$home/port" --log-level warn "$@") \
        >"$home/log" 2>&1 &
    PROCESS[$name]=$!
    if ! wait_until 10 test -s "$home/port"; then
        tail "$home/log" >&2
        die "event-syncer did not start"
    fi
    PORT[$name]=$(<"$home/port")
}

port_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && port_taken "$port"; do :; done
    echo "$port"
}

# start_nginx NAME [PREAMBLE] <<<LOCATIONS: an nginx with one worker a core; the preamble stands before its
# http block.
start_nginx() {
    local name=$1 preamble=${2:-} home=$DIRECTORY/$1 locations port
    locations=$(cat)
    mkdir -p "$home"
    port=$(free_port)
    cat >"$home/nginx.conf" <<END
$preamble
daemon off;
worker_processes auto;
pid $home/pid;
error_log $home/log warn;
events { worker_connections 16384; }
http {
    access_log off;
    server_tokens off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path $home/body;
    proxy_temp_path $home/proxy;
    fastcgi_temp_path $home/fastcgi;
    uwsgi_temp_path $home/uwsgi;
    scgi_temp_path $home/scgi;
    default_type application/json;
    server {
        listen 127.0.0.1:$port backlog=4096;
        $locations
    }
}
END
    nginx -p "$home" -c "$home/nginx.conf" >"$home/output" 2>&1 &
    PROCESS[$name]=$!
    if ! wait_until 10 port_taken "$port" || process_gone "${PROCESS[$name]}"; then
        cat "$home/output" "$home/log" >&2 || true
        die "nginx did not start"
    fi
    PORT[$name]=$port
}

# start_nchan NAME: nginx with nchan: POST /publish?key=K, long polls on GET /subscribe?key=K, event streams on
# GET /stream?key=K; GET /status is nginx's stub_status.
start_nchan() {
    start_nginx "$1" "load_module $(nchan_module);" <<'END'
location /publish {
    nchan_publisher;
    nchan_channel_id $arg_key;
    nchan_message_timeout 1m;
}
location /subscribe {
    nchan_subscriber longpoll;
    nchan_channel_id $arg_key;
}
location /stream {
    nchan_subscriber eventsource;
    nchan_channel_id $arg_key;
}
location = /status {
    stub_status;
}
END
}

# start_redis NAME: a Redis that keeps nothing on disk.
start_redis() {
    local name=$1 home=$DIRECTORY/$1 port
    mkdir -p "$home"
    port=$(free_port)
    redis-server --port "$port" --bind 127.0.0.1 --dir "$home" --save '' --appendonly no >"$home/log" 2>&1 &
    PROCESS[$name]=$!
    PORT[$name]=$port
    if ! wait_until 10 redis "$name" PING >/dev/null || process_gone "${PROCESS[$name]}"; then
        cat "$home/log" >&2
        die "redis-server did not start"
    fi
}

# redis NAME COMMAND...: a command to a Redis; prints the answer.
redis() {
    timeout 60 redis-cli -e -p "${PORT[$1]}" "${@:2}" 2>/dev/null
}

# start_postgresql NAME: a PostgreSQL with its files in a directory of its own; sets DATABASE_OF_POSTGRESQL, its
# URL.  Fails where none is installed.  Stop its clients first.
start_postgresql() {
    local name=$1 home=$DIRECTORY/$1 port programs user=()
    programs=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    if [[ ! -x $programs/postgres || ! -x $programs/initdb ]] || ! command -v psql >/dev/null; then
        note "no PostgreSQL here: without it"
        return 1
    fi
    mkdir -p "$home"
    if ((EUID == 0)); then # as whom it refuses to run
        user=(setpriv --reuid postgres --regid postgres --clear-groups)
        chmod a+x "$DIRECTORY"
        chown postgres "$home"
    fi
    (cd "$home" && exec "${user[@]}" "$programs/initdb" -N -D "$home/data" -U postgres -A trust -E UTF8 \
        --locale=C.UTF-8) >"$home/log" 2>&1 || die "initdb failed: $(tail -n 3 "$home/log")"
    port=$(free_port)
    (cd "$home" && exec "${user[@]}" "$programs/postgres" -D "$home/data" -p "$port" -h 127.0.0.1 -k '') \
        >>"$home/log" 2>&1 &
    PROCESS[$name]=$!
    SIGNAL[$name]=INT # which does not wait for its clients
    PORT[$name]=$port
    DATABASE_OF_POSTGRESQL=postgres://postgres@127.0.0.1:$port/postgres
    if ! wait_until 20 psql -q -c 'SELECT 1' "$DATABASE_OF_POSTGRESQL" >/dev/null 2>&1; then
        tail "$home/log" >&2
        die "PostgreSQL did not start"
    fi
}

# All processes of a server: the main one and its children.
processes() {
    echo "${PROCESS[$1]}"
    pgrep -P "${PROCESS[$1]}" || true
}

# The CPU time of a server so far, in nanoseconds, finished threads included.
cpu_time() {
    local list
    mapfile -t list < <(processes "$1")
    "$CLIENTS/cputime" "${list[@]}"
}

# The resident memory of a server in kilobytes; pages that its processes share count once.
resident() {
    local process
    for process in $(processes "$1"); do
        cat "/proc/$process/smaps_rollup"
    done | awk '/^Pss:/ { sum += $2 } END { print sum + 0 }'
}

# The page tables of a server in kilobytes.
page_tables() {
    local process
    for process in $(processes "$1"); do
        cat "/proc/$process/status"
    done | awk '/^VmPTE:/ { sum += $2 } END { print sum + 0 }'
}

# meminfo FIELD: a line of /proc/meminfo, in kilobytes.
meminfo() {
    awk -v field="$1:" '$1 == field { print $2 }' /proc/meminfo
}

# memory_snapshot NAME: kilobytes resident, of page tables, of kernel stacks and of slab; the last two are
# the whole system's, so what other programs do meanwhile is in them.
memory_snapshot() {
    echo "$(resident "$1") $(page_tables "$1") $(meminfo KernelStack) $(meminfo Slab)"
}

# health NAME OBJECT FIELD: a number of event-syncer's /health.
health() {
    local text pattern="\"$2\": *\\{[^}]*\"$3\": *([0-9]+)"
    text=$(curl -s -m 5 "http://127.0.0.1:${PORT[$1]}/health") || return 1
    [[ $text =~ $pattern ]] || return 1
    echo "${BASH_REMATCH[1]}"
}

# health_is NAME OBJECT FIELD NUMBER
health_is() {
    [[ $(health "$1" "$2" "$3") == "$4" ]]
}

# events_over NAME: returns when all events have expired.
events_over() {
    wait_until 60 health_is "$1" queue events 0 || wrong "events did not expire"
}

# header_size URL [CURL OPTION...]: the bytes of an answer before its body.
header_size() {
    local url=$1
    shift
    curl -s -m 5 -o /dev/null -w '%{size_header}' "$@" "$url"
}

# --- clients that obey commands on their standard input

# client_start NAME PROGRAM [ARGUMENT...]
client_start() {
    local name=$1 pipe=$DIRECTORY/$1.pipe to from
    shift
    rm -f "$pipe.in" "$pipe.out"
    mkfifo "$pipe.in" "$pipe.out"
    "$@" <"$pipe.in" >"$pipe.out" &
    CLIENT_PROCESS[$name]=$!
    exec {to}<>"$pipe.in" {from}<"$pipe.out"
    TO_CLIENT[$name]=$to
    FROM_CLIENT[$name]=$from
}

# client_ask NAME COMMAND: gives a command and prints the answer.
client_ask() {
    local answer
    echo "$2" >&"${TO_CLIENT[$1]}"
    IFS= read -r -t 120 answer <&"${FROM_CLIENT[$1]}" || die "client $1 does not answer"
    echo "$answer"
}

client_stop() {
    local to=${TO_CLIENT[$1]} from=${FROM_CLIENT[$1]}
    stop_process "${CLIENT_PROCESS[$1]}" || true
    unset "TO_CLIENT[$1]" "FROM_CLIENT[$1]" "CLIENT_PROCESS[$1]"
    exec {to}>&- {from}<&-
}

# --- load

# load NAME CONNECTIONS SECONDS METHOD PATH [BODY]: runs wrk and sets LOAD_REQUESTS, LOAD_RATE (a second),
# LOAD_ERRORS (refused, broken or timed-out requests).
load() {
    local name=$1 connections=$2 seconds=$3 threads=2 output
    shift 3
    ((connections >= 2)) || threads=1
    output=$(wrk -t "$threads" -c "$connections" -d "${seconds}s" --timeout 10s -s "$BENCH_DIRECTORY/request.lua" \
        "http://127.0.0.1:${PORT[$name]}$2" -- "$1" "${3:-}")
    # shellcheck disable=SC2034 # the measures read them
    read -r LOAD_REQUESTS LOAD_RATE LOAD_ERRORS < <(awk '$1 == "RESULT" { print $2, $3, $4 }' <<<"$output") ||
        die "wrk failed: $output"
    ((LOAD_REQUESTS > 0)) || die "wrk got no answer from $name"
}

# costly_load NAME SETTLE CONNECTIONS METHOD PATH [BODY]: load() for BENCH_SECONDS that also sets LOAD_COST,
# the CPU time of the server in microseconds a request. SETTLE is a command that returns when all
# consequences are over.
costly_load() {
    local name=$1 settle=$2 connections=$3 before after
    shift 3
    before=$(cpu_time "$name")
    load "$name" "$connections" "$BENCH_SECONDS" "$@"
    "$settle" "$name"
    after=$(cpu_time "$name")
    # shellcheck disable=SC2034 # the measures read it
    LOAD_COST=$(calculate "($after - $before) / 1000 / $LOAD_REQUESTS")
}

# start_bare_nginx NAME BODY HEADER_SIZE PATH: an nginx that answers everything with the body, and with a
# header of that size as far as a header can be padded.
start_bare_nginx() {
    local name=$1 body=$2 wanted=$3 path=$4 size padding name_of_padding=X-Padding
    start_nginx "$name" <<<"location / { return 200 '$body'; }"
    size=$(header_size "http://127.0.0.1:${PORT[$name]}$path")
    padding=$((wanted - size - ${#name_of_padding} - 4))
    ((padding > 0)) || return 0
    stop "$name"
    padding=$(printf '%*s' "$padding" '' | tr ' ' x)
    start_nginx "$name" <<<"location / { add_header $name_of_padding $padding; return 200 '$body'; }"
}

# compare_load MEASURE OWN PEER SETTLE CONNECTIONS METHOD PATH [BODY]: turns of load on both servers and the
# rows for CPU time a request and requests a second.
compare_load() {
    local measure=$1 own=$2 peer=$3 settle=$4 connections=$5 round server order
    local -A cost=() rate=()
    shift 5
    for ((round = 0; round <= BENCH_ROUNDS; round++)); do
        order="$own $peer"
        ((round % 2 == 0)) || order="$peer $own"
        for server in $order; do
            if [[ $server == "$own" ]]; then
                costly_load "$server" "$settle" "$connections" "$@"
            else
                costly_load "$server" true "$connections" "$@"
            fi
            if ((LOAD_ERRORS > 0)); then
                wrong "$measure: $LOAD_ERRORS of $LOAD_REQUESTS requests to $server failed"
            fi
            if ((round > 0)); then # the first warms up
                cost[$server]+="$LOAD_COST "
                rate[$server]+="$LOAD_RATE "
            fi
        done
    done
    compare "$measure: CPU us a request" "${cost[$own]}" "${cost[$peer]}" "<= 1.0"
    compare "$measure: requests a second" "${rate[$own]}" "${rate[$peer]}" ">= 1.0"
}

# seconds_of COMMAND...: sets RUN_SECONDS; the output goes to run.log.
seconds_of() {
    local before after
    before=$(date +%s%N)
    "$@" >"$DIRECTORY/run.log" 2>&1 || wrong "$1 failed: $(tail -n 2 "$DIRECTORY/run.log")"
    after=$(date +%s%N)
    # shellcheck disable=SC2034 # the measures read it
    RUN_SECONDS=$(calculate "($after - $before) / 1000000000")
}

# --- numbers

# calculate EXPRESSION: arithmetic with fractions.
calculate() {
    awk "BEGIN { printf(\"%.6g\", ($1)) }"
}

# median NUMBER...
median() {
    printf '%s\n' "$@" | sort -g | awk '{ value[NR] = $1 }
        END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'
}

# ratios "A1 A2 ..." "B1 B2 ...": the median of A1/B1, A2/B2, ...
ratios() {
    local -a first second quotients=()
    local index
    read -r -a first <<<"$1"
    read -r -a second <<<"$2"
    for index in "${!first[@]}"; do
        quotients+=("$(calculate "${first[index]} / ${second[index]}")")
    done
    median "${quotients[@]}"
}

# --- the table

# row MEASURE OWN PEER RATIO GOAL [JUDGED]: GOAL is "<= N" or ">= N" for the ratio, or for JUDGED if that is
# given; empty where a row only informs.
row() {
    local met='' goal=$5
    if [[ -n $goal ]]; then
        met=no
        if [[ $(calculate "(${6:-$4} $goal) ? 1 : 0") == 1 ]]; then
            met=yes
        fi
    fi
    TABLE+=("$1|$2|$3|$4|${goal:--}|${met:--}")
}

# compare_ratio MEASURE "OWN1 OWN2 ..." "PEER1 PEER2 ..." "RATIO1 RATIO2 ..." GOAL: a row of medians.
compare_ratio() {
    local -a own peer quotients
    read -r -a own <<<"$2"
    read -r -a peer <<<"$3"
    read -r -a quotients <<<"$4"
    row "$1" "$(short "$(median "${own[@]}")")" "$(short "$(median "${peer[@]}")")" \
        "$(short "$(median "${quotients[@]}")")" "$5"
}

# compare MEASURE "OWN1 OWN2 ..." "PEER1 PEER2 ..." GOAL: a row of medians and of the median of the ratios.
compare() {
    compare_ratio "$1" "$2" "$3" "$(ratios "$2" "$3")" "$4"
}

# short NUMBER: no more digits than mean something.
short() {
    awk -v number="$1" 'BEGIN { printf((number >= 1000 ? "%.0f" : (number >= 100 ? "%.1f" : "%.2f")), number) }'
}

print_table() {
    printf '%s\n' "measure|event-syncer|peer|ratio|goal|met" "${TABLE[@]}" | awk -F'|' '
        { for (field = 1; field <= NF; field++) {
              cell[NR, field] = $field
              if (length($field) > width[field]) width[field] = length($field) } }
        END { for (line = 1; line <= NR; line++) {
              text = ""
              for (field = 1; field <= 6; field++)
                  text = text sprintf((field == 1 ? "%-" : "  %") width[field] "s", cell[line, field])
              print text } }'
    if ((FAILURES > 0)); then
        echo "$FAILURES measurements went wrong; see the messages above"
    fi
}
