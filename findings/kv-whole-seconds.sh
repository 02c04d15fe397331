#!/bin/sh
# Workers KV counts a life in whole seconds: it ends at floor(now) + floor(expirationTtl).
# Seen with miniflare 4.20260730.0 and workerd 1.20261117.1 (npm), Node 20, on 2026-11-28:
#   60 put late in a second: ends 60 s after the second began
#   60.5: ends 60 s after the second began
#   59.985: KV PUT failed: 400 Invalid expiration_ttl of 59. Expiration TTL must be at least 60.
# So 60 that is put at .8 s of a second lasts some 59.2 s. The store's own time of expiry is read.
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

const miniflare = new Miniflare({
  modules: true, script: "export default {fetch() {return new Response()}}",
  compatibilityDate: "2026-04-01", kvNamespaces: ["KV"],
});
const store = await miniflare.getKVNamespace("KV");
const second = () => Math.floor(Date.now() / 1000);

async function show(what, ttl, from) {
  for (;;) {  // until the whole put lay within one second
    const wait = (from - (Date.now() % 1000) + 1000) % 1000;
    await new Promise((done) => setTimeout(done, wait));
    const began = second();
    try {
      await store.put("k", "v", { expirationTtl: ttl });
    } catch (error) {
      return console.log(`${what}: ${error.message}`);
    }
    if (second() !== began) continue;
    const { expiration } = (await store.list()).keys[0];
    return console.log(`${what}: ends ${expiration - began} s after the second began`);
  }
}
await store.put("k", "v");  // the first one takes longer
await show("60 put late in a second", 60, 700);
await show("60.5", 60.5, 100);
await show("59.985", 59.985, 100);
await miniflare.dispose();
JS
node run.mjs > seen
cat seen
cat > expected <<'TEXT'
60 put late in a second: ends 60 s after the second began
60.5: ends 60 s after the second began
59.985: KV PUT failed: 400 Invalid expiration_ttl of 59. Expiration TTL must be at least 60.
TEXT
diff expected seen
