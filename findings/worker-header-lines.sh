#!/bin/sh
# A Worker sends headers that it appends as lines of their own, though it reads them as one value.
# Seen with miniflare 4.20260730.0 and workerd 1.20261117.1 (npm), Node 20, on 2026-11-28:
#   in the Worker: l1;dur=1, l2;dur=2
#   on the wire: Cache-Status: L2; fwd=uri-miss
#   on the wire: Cache-Status: L1; fwd=uri-miss
#   on the wire: Server-Timing: l1;dur=1
#   on the wire: Server-Timing: l2;dur=2
# A client that looks a header up in a dictionary of single values sees one of the two.
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
import http from "node:http";
import { Miniflare } from "miniflare";

const script = `export default {
  async fetch() {
    const headers = new Headers();
    headers.append("Cache-Status", "L2; fwd=uri-miss");
    headers.append("Cache-Status", "L1; fwd=uri-miss");
    headers.append("Server-Timing", "l1;dur=1");
    headers.append("Server-Timing", "l2;dur=2");
    return new Response(headers.get("Server-Timing"), { headers });
  },
}`;
const miniflare = new Miniflare({
  modules: true, script, compatibilityDate: "2026-04-01", host: "127.0.0.1", port: 0,
});
const url = await miniflare.ready;
await new Promise((done, fail) => {
  http.get(url, async (answer) => {
    let body = "";
    for await (const part of answer) body += part;
    console.log(`in the Worker: ${body}`);
    for (let at = 0; at < answer.rawHeaders.length; at += 2) {
      const [name, value] = answer.rawHeaders.slice(at, at + 2);
      if (/^(cache-status|server-timing)$/i.test(name)) {
        console.log(`on the wire: ${name}: ${value}`);
      }
    }
    done();
  }).on("error", fail);
});
await miniflare.dispose();
JS
node run.mjs > seen
cat seen
cat > expected <<'TEXT'
in the Worker: l1;dur=1, l2;dur=2
on the wire: Cache-Status: L2; fwd=uri-miss
on the wire: Cache-Status: L1; fwd=uri-miss
on the wire: Server-Timing: l1;dur=1
on the wire: Server-Timing: l2;dur=2
TEXT
diff expected seen
