#!/usr/bin/env bash
# prom-client 15.1.3 (tdigest 0.1.3): the p90 of a Summary is a time that no definition allows.
#
# Expected: 10 ms as p90 of nineteen requests at 10 ms and one at 1,000 ms. Rank 18 of 20 is 10, and
#   so is every interpolation between ranks 18 and 19: each of the nine common definitions of a
#   quantile (Hyndman and Fan, 1996) says 10. The documentation: summaries calculate percentiles
#   of observed values.
# Happens: the summary's t-digest joins equal values into one centroid and interpolates in a line
#   from the centroid of the nineteen to that of the one. p90 is 851.5 and p50 is 59.5.
# Hurts: load testers and dashboards with times in whole milliseconds, which are nearly all equal on
#   a fast endpoint: a single slow request moves the median sixfold. A Histogram, or times that
#   are not rounded before observe(), avoid it (1, 2, ..., 100 gives 90.5).
set -eu
. "$(dirname "$0")/lib.sh"
node_packages prom-client@15.1.3 tdigest@0.1.3

cat >"$work/summary.cjs" <<'JS'
const { Summary } = require('prom-client')

async function show(name, times) {
  const summary = new Summary({ name, help: name, percentiles: [0.5, 0.9] })
  for (const time of times) summary.observe(time)
  const { values } = await summary.get()
  const [p50, p90] = values.slice(0, 2).map((row) => row.value)
  console.log(`p50 ${p50}, p90 ${p90}`)
}

(async () => {
  await show('rounded', [...Array(19).fill(10), 1000])
  await show('spread', Array.from({ length: 100 }, (_, i) => i + 1))
})()
JS
(cd "$work" && node summary.cjs) >"$work/out"
expect "19 x 10 ms and 1 x 1,000 ms" "p50 10, p90 10" "p50 59.5, p90 851.5" \
    "$(sed -n 1p "$work/out")"
expect "1, 2, ..., 100 ms" "p50 50.5, p90 90.5" "p50 50.5, p90 90.5" "$(sed -n 2p "$work/out")"
