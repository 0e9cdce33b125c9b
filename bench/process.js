// The obvious way to sum a journal: each line parsed, revenue summed by user in a Map. Keeps nothing, checks little.
'use strict';
const { createReadStream } = require('node:fs');
const { createInterface } = require('node:readline');

async function main() {
    const sums = new Map();
    let lines = 0;
    for await (const line of createInterface({ input: createReadStream(process.argv[2]) })) {
        const { userId, name, value } = JSON.parse(line);
        sums.set(userId, (sums.get(userId) ?? 0) + (name === 'add_revenue' ? value : -value));
        lines++;
    }
    console.log(`${lines} lines, ${sums.size} users`);
}

main();
