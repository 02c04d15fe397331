#!/bin/sh
# A queue's consumer that throws gets the messages again that it had acknowledged; a dead-letter
# queue counts attempts from 1; two retries, three deliveries, are the default.
# Seen with miniflare 4.20260730.0 and workerd 1.20261117.1 (npm), Node 20, on 2026-11-29:
#   acked: a:1 b:1            (a is acknowledged, then the consumer throws)
#   acked: a:2 b:2
#   fails: c:1, c:2, c:3      (the platform's default is three retries, four deliveries)
#   dead: c:1
#   first: d:1                (ack, then retry: the first one counts)
# Expected: a message that was acknowledged does not come again, whatever becomes of the others of
#   its batch. A consumer that stores each message before it acknowledges it stores the first ones
#   twice here, unless it knows what it has stored.
# Exit code 0: as above. 1: something changed, and the difference is shown.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > package.json <<'JSON'
{"private": true, "type": "module", "dependencies": {"miniflare": "4.20260730.0"},
 "overrides": {"workerd": "1.20261117.1"}}
JSON
npm install --silent --no-audit --no-fund > npm.log 2>&1 || { cat npm.log; exit 2; }
cat > run.mjs <<'JS'
import { Miniflare } from "miniflare";

const script = `
const told = [];
export default {
  async fetch(request, env) {
    if (request.method === "GET") return Response.json(told);
    const { queue, bodies } = await request.json();
    await env[queue].sendBatch(bodies.map((body) => ({ body })));
    return new Response();
  },
  async queue({ queue, messages }) {
    told.push([queue, messages.map(({ body, attempts }) => body + ":" + attempts).join(" ")]);
    if (queue === "acked") messages[0].ack();
    if (queue === "acked" || queue === "fails") throw new Error("of this consumer");
    if (queue === "first") { messages[0].ack(); messages[0].retry(); }
  },
};`;
const consumer = (more) => ({ maxBatchTimeout: 0.2, ...more });
const miniflare = new Miniflare({
  modules: true, script, compatibilityDate: "2026-04-01", host: "127.0.0.1", port: 0,
  handleRuntimeStdio() {},  // the errors that the consumer throws
  queueProducers: { acked: "acked", fails: "fails", first: "first" },
  queueConsumers: {
    acked: consumer({ maxRetries: 1 }), fails: consumer({ deadLetterQueue: "dead" }),
    dead: consumer(), first: consumer(),
  },
});
const url = await miniflare.ready;
const sent = { acked: ["a", "b"], fails: ["c"], first: ["d"] };
for (const [queue, bodies] of Object.entries(sent)) {
  await fetch(url, { method: "POST", body: JSON.stringify({ queue, bodies }) });
}
let told;
do {
  await new Promise((done) => setTimeout(done, 200));
  told = await (await fetch(url)).json();
} while (!told.some(([queue]) => queue === "dead") || told.length < 7);
await new Promise((done) => setTimeout(done, 1000));  // a message that came again would be here
told = await (await fetch(url)).json();
for (const queue of ["acked", "fails", "dead", "first"]) {
  console.log(`${queue}: ${told.filter(([of]) => of === queue).map(([, what]) => what).join(", ")}`);
}
await miniflare.dispose();
JS
timeout 60 node run.mjs > seen 2> said || { cat said; exit 1; }
cat seen
cat > expected <<'TEXT'
acked: a:1 b:1, a:2 b:2
fails: c:1, c:2, c:3
dead: c:1
first: d:1
TEXT
diff expected seen
