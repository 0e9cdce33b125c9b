# shellcheck shell=bash
# keys: one push to each of a million keys by bench/keys.c over 32 pipelined connections: the last 100,000
# against the first (medians of windows of 10,000), in pushes a second and in CPU time a push; then, when
# all has expired, whether the keys are forgotten and the memory has gone back.

KEYS=1000000
KEYS_TTL=20
KEYS_MEMORY_MEGABYTES=64

keys_forgotten() {
    health_is "$1" queue events 0 && health_is "$1" queue keys 0
}

keys_given_back() {
    (($(resident "$1") <= $2))
}

measure_keys() {
    local start full end name rate cost events limit
    local -A rates=() costs=()
    start_event_syncer own --ttl "$KEYS_TTL" --max-memory 8589934592
    start=$(resident own)
    while read -r name rate cost; do
        rates[$name]=$rate costs[$name]=$cost
    done < <("$CLIENTS/keys" "${PORT[own]}" "${PROCESS[own]}" "$KEYS" 32 16)
    if [[ ${rates[refused]:-} != 0 ]]; then
        wrong "keys: ${rates[refused]:-the client failed, or} pushes were refused"
        return
    fi
    full=$(resident own)
    events=$(health own queue events)
    if ((events != KEYS)); then
        wrong "keys: $events of $KEYS events are stored: some expired while others were pushed"
    fi
    row "keys, first and last of a million: pushes a second" "${rates[last]}" "${rates[first]}" \
        "$(short "$(calculate "${rates[first]} / ${rates[last]}")")" "<= 1.2"
    row "keys, first and last of a million: CPU us a push" "${costs[last]}" "${costs[first]}" \
        "$(short "$(calculate "${costs[last]} / ${costs[first]}")")" "<= 1.2"
    row "keys: bytes resident for each of a million" "$(((full - start) * 1024 / KEYS))" - - ""
    wait_until $((KEYS_TTL + 40)) keys_forgotten own || wrong "keys: not all were forgotten"
    limit=$((start + KEYS_MEMORY_MEGABYTES * 1024))
    wait_until 10 keys_given_back own "$limit" || true
    end=$(resident own)
    row "keys: MB resident when all have expired, beside the start" "$(short "$(calculate "$end / 1024")")" \
        "$(short "$(calculate "$start / 1024")")" \
        - "<= $KEYS_MEMORY_MEGABYTES" "$(calculate "($end - $start) / 1024")"
}
