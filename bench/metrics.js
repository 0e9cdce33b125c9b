'use strict';
/*
 * The peer of the benchmark "metrics": the same job in plain Node, the obvious way. A ring of one bucket of event
 * objects a second, a set of the ids that were seen, the reference table as a Map, and a query that goes through all
 * events of its window.
 *
 * usage: node [--expose-gc] metrics.js measure EVENTS USERS    in one process without HTTP, as bench/metrics.c does it
 *        node metrics.js serve PORT                            POST /events, PUT /reference/users, GET /metrics
 *        node metrics.js reference USERS                       prints a body for PUT /reference/users
 *
 * It is given a slightly easier job than event-syncer: NDJSON is not read, ids go when their event does (up to 120 s
 * early for late events), and the wall clock never steps back.
 */
const http = require('node:http');

const RETENTION = 1800;
const SKEW = 120;
const LATENESS = 120;
const PLACES = RETENTION + SKEW; // events may be of seconds that are to come
const SHARDS = 16; // one Set takes no more than 2^24 ids, deleted ones included
const LONGEST_BODY = 16 * 1024 * 1024;
const LONGEST_TABLE = 64 * 1024 * 1024;
const MOST_EVENTS = 256 * 1024;

const TYPES = ['click', 'view', 'purchase', 'login', 'logout', 'share', 'search', 'add_item', 'checkout', 'signup'];
const TIMESTAMP = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

function add(counts, name) {
    counts.set(name, (counts.get(name) || 0) + 1);
}

class Metrics {
    constructor(wallMs) {
        this.now = Math.floor(wallMs / 1000);
        this.places = Array.from({ length: PLACES }, () => []);
        this.seen = Array.from({ length: SHARDS }, () => new Set());
        this.setReference({});
    }

    setReference(users) {
        this.reference = new Map(Object.entries(users));
        this.plans = new Set();
        this.regions = new Set();
        for (const { plan, region } of this.reference.values()) {
            if (plan !== undefined)
                this.plans.add(plan);
            if (region !== undefined)
                this.regions.add(region);
        }
    }

    seenBeside(id) {
        return this.seen[id.charCodeAt(id.length - 1) % SHARDS];
    }

    advance(wallMs) {
        for (const now = Math.floor(wallMs / 1000); this.now < now; this.now++) {
            const place = (this.now + 1 + SKEW) % PLACES;
            for (const { event_id: id } of this.places[place])
                this.seenBeside(id).delete(id);
            this.places[place] = [];
        }
    }

    /* Returns what is wrong with an event, or null: it was taken. */
    take(event, wallMs) {
        const seen = this.seenBeside(event.event_id);
        if (seen.has(event.event_id))
            return ' already seen';
        const ts = TIMESTAMP.test(event.ts) ? Date.parse(event.ts) : NaN;
        if (Number.isNaN(ts))
            return ' has an invalid timestamp';
        if (ts > wallMs + SKEW * 1000)
            return ' timestamp is more than 2 minutes skewed.';
        if (ts < wallMs - LATENESS * 1000)
            return ' timestamp is outside the 2 minute lateness threshold.';
        seen.add(event.event_id);
        this.places[Math.floor(ts / 1000) % PLACES].push({
            event_id: event.event_id,
            user_id: event.user_id,
            type: event.type,
            ts,
        });
        return null;
    }

    ingest(events, wallMs) {
        this.advance(wallMs);
        return events.map((event) => this.take(event, wallMs));
    }

    query(window, wallMs) {
        this.advance(wallMs);
        const users = new Set();
        const plans = new Map();
        const regions = new Map();
        const types = new Map();
        let count = 0;
        let unknown = 0;
        this.plans.forEach((plan) => plans.set(plan, 0));
        this.regions.forEach((region) => regions.set(region, 0));
        for (let second = this.now - window + 1; second <= this.now; second++) {
            for (const event of this.places[second % PLACES]) {
                const user = this.reference.get(event.user_id);
                count++;
                add(types, event.type);
                if (user === undefined) {
                    unknown++;
                    continue;
                }
                users.add(event.user_id);
                if (user.plan !== undefined)
                    add(plans, user.plan);
                if (user.region !== undefined)
                    add(regions, user.region);
            }
        }
        return {
            window_sec: window,
            events_per_sec: count / window,
            unique_users: users.size,
            unknown,
            by_plan: Object.fromEntries(plans),
            by_region: Object.fromEntries(regions),
            by_type: Object.fromEntries(types),
        };
    }
}

/* One in twenty of the users is unknown. */
function referenceOf(users) {
    const metadata = {};
    for (let user = 0; user < users; user++) {
        if (user % 20 !== 0)
            metadata[`u-${user}`] = {
                plan: `plan-${user % 4}`,
                region: `region-${Math.floor(user / 3) % 6}`,
                userName: 'Somebody',
                email: 'somebody@example.com',
            };
    }
    return metadata;
}

/* --- over HTTP --- */

function isName(value) {
    return typeof value === 'string' && value !== '' && !CONTROL.test(value) &&
        (value.length <= 63 || Buffer.byteLength(value) <= 255);
}

function resultOf(metrics, event, wallMs) {
    if (event === null || typeof event !== 'object' || Array.isArray(event))
        return { event_id: null, status: 'error', message: 'Event must be an object' };
    const { event_id: id, user_id: user, type, ts } = event;
    if (!isName(id))
        return { event_id: null, status: 'error', message: 'Event is missing required fields' };
    if (!isName(user) || !isName(type) || ts === undefined || ts === null || ts === '')
        return { event_id: id, status: 'error', message: `Event ${id} is missing required fields` };
    const wrong = metrics.take(event, wallMs);
    return wrong === null ? { event_id: id, status: 'success', message: 'Event accepted' }
        : { event_id: id, status: 'error', message: `Event ${id}${wrong}` };
}

function postEvents(metrics, body) {
    const events = Array.isArray(body) ? body : [body];
    if (events.length > MOST_EVENTS)
        return [413, { error: `the body holds more than ${MOST_EVENTS} events` }];
    const wallMs = Date.now();
    metrics.advance(wallMs);
    return [200, { results: events.map((event) => resultOf(metrics, event, wallMs)) }];
}

function putReference(metrics, body) {
    metrics.setReference(body.user_metadata);
    return [200, { message: 'Reference table updated successfully' }];
}

function getMetrics(metrics, text) {
    const window = /^\d+$/.test(text) ? Number(text) : 0;
    if (window < 1 || window > RETENTION)
        return [400, { error: `window must be whole seconds, 1 to ${RETENTION}` }];
    return [200, metrics.query(window, Date.now())];
}

function answer(response, [status, body]) {
    const text = JSON.stringify(body);
    response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
    response.end(text);
}

function withBody(request, response, longest, handle) {
    const chunks = [];
    let length = 0;
    request.on('data', (chunk) => {
        length += chunk.length;
        if (length <= longest)
            chunks.push(chunk);
    });
    request.on('end', () => {
        if (length > longest) {
            answer(response, [413, { error: 'the body is too large' }]);
            return;
        }
        let body;
        try {
            body = JSON.parse(Buffer.concat(chunks).toString());
        } catch (error) {
            answer(response, [400, { error: error.message }]);
            return;
        }
        answer(response, handle(body));
    });
}

function serve(port) {
    const metrics = new Metrics(Date.now());
    const server = http.createServer((request, response) => {
        const url = new URL(request.url, 'http://localhost');
        const route = `${request.method} ${url.pathname}`;
        if (route === 'POST /events')
            withBody(request, response, LONGEST_BODY, (body) => postEvents(metrics, body));
        else if (route === 'PUT /reference/users')
            withBody(request, response, LONGEST_TABLE, (body) => putReference(metrics, body));
        else if (route === 'GET /metrics')
            answer(response, getMetrics(metrics, url.searchParams.get('window') || ''));
        else
            answer(response, [404, { error: 'there is nothing here' }]);
    });
    server.listen(port, '127.0.0.1');
    process.on('SIGTERM', () => process.exit(0));
}

/* --- in one process --- */

let wallMs = 1759926896000;
let nextId = 0;

function draw(below) {
    return Math.floor(Math.random() * below);
}

/* Through JSON, so that the strings are of the kind that a server gets. */
function batchOf(count, users) {
    const events = [];
    for (let i = 0; i < count; i++) {
        const late = draw(4) === 0 ? draw(5000) : 0;
        events.push({
            event_id: `7f3c9a52-${(nextId++).toString(16).padStart(16, '0')}`,
            user_id: `u-${draw(users)}`,
            type: TYPES[draw(TYPES.length)],
            ts: new Date(wallMs - late).toISOString(),
        });
    }
    return JSON.parse(JSON.stringify(events));
}

/* Runs the clock on with so many events in all, and returns the milliseconds that they took alone. */
function run(metrics, users, seconds, events) {
    let done = 0;
    let took = 0;
    for (let second = 1; second <= seconds; second++) {
        wallMs += 1000;
        for (const until = Math.floor(events * second / seconds); done < until;) {
            const batch = batchOf(Math.min(until - done, 1000), users);
            const begin = performance.now();
            const results = metrics.ingest(batch, wallMs);
            took += performance.now() - begin;
            if (results.some((wrong) => wrong !== null))
                throw new Error('an event was refused');
            done += batch.length;
        }
    }
    return took;
}

/* The median in microseconds. */
function measureQueries(metrics, users, queries) {
    const times = [];
    for (let i = 0; i < queries; i++) {
        run(metrics, users, 1, 5);
        const begin = performance.now();
        metrics.query(RETENTION, wallMs);
        times.push((performance.now() - begin) * 1000);
    }
    return times.sort((left, right) => left - right)[queries >> 1];
}

function resident() {
    global.gc();
    global.gc();
    return process.memoryUsage.rss();
}

function measure(events, users) {
    const metadata = referenceOf(users);
    let metrics = new Metrics(wallMs);
    metrics.setReference(metadata);
    run(metrics, users, RETENTION, 10000);
    console.log('query_few_us', measureQueries(metrics, users, 201).toFixed(1));
    metrics = new Metrics(wallMs);
    metrics.setReference(metadata);
    const before = resident();
    const filling = run(metrics, users, RETENTION, events);
    console.log('ingest_filling', (events / filling * 1000).toFixed(0));
    console.log('resident_bytes_an_event', ((resident() - before) / events).toFixed(1));
    console.log('query_many_us', measureQueries(metrics, users, 7).toFixed(1));
    const full = run(metrics, users, RETENTION / 10, events / 10);
    console.log('ingest_full', (events / 10 / full * 1000).toFixed(0));
}

const [command, first, second] = process.argv.slice(2);
if (command === 'measure')
    measure(Number(first), Number(second));
else if (command === 'serve')
    serve(Number(first));
else if (command === 'reference')
    console.log(JSON.stringify({ user_metadata: referenceOf(Number(first)), ts: new Date().toISOString() }));
else
    throw new Error('usage: metrics.js measure EVENTS USERS | serve PORT | reference USERS');
