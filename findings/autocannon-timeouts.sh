#!/usr/bin/env bash
# autocannon 9.0.0: a request that times out is missing from the latencies.
#
# Expected: p99 above the time limit. Five of twenty requests waited for the whole second that
#   --timeout allows, and a percentile of latency is one of all requests that were sent; the
#   documentation counts a timeout among the errors and does not say that it is left out.
# Happens: `latency` holds the fifteen answered requests alone. Its p99 and max are the server's few
#   milliseconds, and `requests.total` is 15 as well.
# Hurts: load testers who gate on p99. The slower a service gets beyond the time limit, the better
#   its percentiles look; `errors` and `timeouts` have to be part of every gate.
set -eu
. "$(dirname "$0")/lib.sh"
node_packages autocannon@9.0.0

cat >"$work/load.cjs" <<'JS'
const autocannon = require('autocannon')
const http = require('http')

// Every fourth request is never answered.
let seen = 0
const server = http.createServer((request, response) => {
  seen += 1
  if (seen % 4 !== 0) response.end('hello')
})
server.listen(0, '127.0.0.1', async () => {
  const { requests, latency, timeouts } = await autocannon({
    url: `http://127.0.0.1:${server.address().port}`, connections: 1, amount: 20, timeout: 1
  })
  console.log(`sent ${requests.sent}, timeouts ${timeouts}`)
  console.log(`${latency.totalCount} latencies, p99 of 1 s or more: ${latency.p99 >= 1000}`)
  process.exit()
})
JS
(cd "$work" && node load.cjs) >"$work/out"
expect "every fourth of twenty requests is not answered" "sent 20, timeouts 5" \
    "sent 20, timeouts 5" "$(sed -n 1p "$work/out")"
expect "the latencies" "20 latencies, p99 of 1 s or more: true" \
    "15 latencies, p99 of 1 s or more: false" "$(sed -n 2p "$work/out")"
