'use strict'
// The browsers' client of event streams, as Debian packages it for node. Prints a line for each thing that happens:
//   open
//   error STATUS-OR-MESSAGE
//   event ID TYPE DATA
// usage: node eventsource.js URL TYPE...      ends when its standard input does

const EventSource = require('eventsource')

const [url, ...types] = process.argv.slice(2)
const source = new EventSource(url)

source.onopen = () => console.log('open')
source.onerror = error => console.log(`error ${error.status || error.message || ''}`)
// "message" is the type of events that have none.
for (const type of ['message', ...types])
    source.addEventListener(type, event => console.log(`event ${event.lastEventId} ${event.type} ${event.data}`))

process.stdin.on('end', () => process.exit(0))
process.stdin.resume()
