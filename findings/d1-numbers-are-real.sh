#!/bin/sh
# D1 binds every number as REAL: an integer is a text with ".0" where a text is kept.
# Seen with miniflare 4.20260730.0 and workerd 1.20261117.1 (npm), Node 20, on 2026-11-28:
#   of 5: {"type":"real","half":2.5,"text":"5.0"}
#   in columns: {"as_integer":"integer","in_text":"5.0","as_text":"text"}
#   of true: {"type":"real","half":0.5,"text":"1.0"}
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
  compatibilityDate: "2026-04-01", d1Databases: ["DB"],
});
const database = await miniflare.getD1Database("DB");
const bound = "SELECT typeof(?1) AS type, ?1 / 2 AS half, CAST(?1 AS TEXT) AS text";
console.log(`of 5: ${JSON.stringify(await database.prepare(bound).bind(5).first())}`);
await database.prepare("CREATE TABLE kept (number INTEGER, text TEXT)").run();
await database.prepare("INSERT INTO kept VALUES (?1, ?1)").bind(5).run();
const kept = await database.prepare(
  "SELECT typeof(number) AS as_integer, text AS in_text, typeof(text) AS as_text FROM kept",
).first();
console.log(`in columns: ${JSON.stringify(kept)}`);
console.log(`of true: ${JSON.stringify(await database.prepare(bound).bind(true).first())}`);
await miniflare.dispose();
JS
node run.mjs > seen
cat seen
cat > expected <<'TEXT'
of 5: {"type":"real","half":2.5,"text":"5.0"}
in columns: {"as_integer":"integer","in_text":"5.0","as_text":"text"}
of true: {"type":"real","half":0.5,"text":"1.0"}
TEXT
diff expected seen
