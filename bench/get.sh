# shellcheck shell=bash
# get: GET /blocking-get with timeout=0 of a key without events by wrk, against nginx that only returns an
# answer of the same size: the CPU time of the server for a request and the requests a second, with 64 and
# 256 connections.

measure_get() {
    local path='/blocking-get?key=empty&groupId=g&timeout=0' header connections
    start_event_syncer own
    header=$(header_size "http://127.0.0.1:${PORT[own]}$path")
    start_bare_nginx peer '[]' "$header" "$path"
    note "get: headers of $header and $(header_size "http://127.0.0.1:${PORT[peer]}$path") bytes"
    for connections in 64 256; do
        compare_load "get, $connections connections" own peer true "$connections" GET "$path"
    done
}
