# shellcheck shell=bash
# metrics: the metrics module by bench/metrics.c, in one process without HTTP: ten million events of 100,000 users in a
# window of 30 minutes, queries of the whole of it beside the same with 10,000 events, and swaps of the reference table
# while others take events in and ask, beside the same without swaps.

METRICS_EVENTS=10000000
METRICS_USERS=100000

measure_metrics() {
    local name value
    local -A got=()
    while read -r name value; do
        got[$name]=$value
    done < <("$CLIENTS/metrics" "$METRICS_EVENTS" "$METRICS_USERS")
    if [[ -z ${got[step_back_ms]:-} ]]; then
        wrong "metrics: the program failed"
        return
    fi
    row "metrics, the window filling, and full: events taken in a second" "${got[ingest_full]}" "${got[ingest_filling]}" \
        - ">= 1000000" "${got[ingest_full]}"
    row "metrics, query of 1,800 s with ten million events, and with 10,000: us" "${got[query_many_us]}" \
        "${got[query_few_us]}" "$(short "$(calculate "${got[query_many_us]} / ${got[query_few_us]}")")" "<= 1.2"
    row "metrics: bytes an event" "${got[bytes_an_event]}" - - ""
    row "metrics, tables of 100,000 users swapped, and not: longest ingest, ms" "${got[swap_ingest_longest_ms]}" \
        "${got[quiet_ingest_longest_ms]}" - "<= 50" "${got[swap_ingest_longest_ms]}"
    row "metrics, tables of 100,000 users swapped, and not: longest query, ms" "${got[swap_query_longest_ms]}" \
        "${got[quiet_query_longest_ms]}" - "<= 50" "${got[swap_query_longest_ms]}"
    row "metrics: ms to swap a table, and to build it before" "${got[swap_ms]}" "${got[build_ms]}" - ""
}
