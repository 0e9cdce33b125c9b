# shellcheck shell=bash
# push: POST /push of a small JSON value by wrk, against nginx that only returns an answer of the same size:
# the CPU time of the server for a request and the requests a second, with 64 and 256 connections.  Events
# live one second here; CPU time counts until the last has expired, so that what it costs to forget them is
# part of the price.

measure_push() {
    local path='/push?key=bench' body='{"sensor":17,"value":20.25}' header connections
    start_event_syncer own --ttl 1 --max-memory 8589934592
    header=$(header_size "http://127.0.0.1:${PORT[own]}$path" -H 'Content-Type: application/json' -d "$body")
    start_bare_nginx peer '{"message":"Data pushed successfully","id":1234567}' "$header" "$path"
    note "push: headers of $header and $(header_size "http://127.0.0.1:${PORT[peer]}$path" -d x) bytes"
    for connections in 64 256; do
        compare_load "push, $connections connections" own peer events_over "$connections" POST "$path" "$body"
    done
}
