-- What wrk sends, and what it prints for the scripts: after "--" come the method and the body.
-- The answer is one line: RESULT requests, requests a second, errors.

function init(arguments)
    wrk.method = arguments[1]
    if arguments[2] and arguments[2] ~= "" then
        wrk.body = arguments[2]
        wrk.headers["Content-Type"] = "application/json"
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    print(string.format("RESULT %d %.1f %d", summary.requests, summary.requests / (summary.duration / 1e6),
        errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
