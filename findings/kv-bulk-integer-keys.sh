#!/bin/sh
# Workers KV: a read of several keys loses those that are an array's index, such as "42".
# One would expect each key in the Map, as documented: with its value, or with null. A Worker that
# reads the settings of users 7, 42 and 99 at once finds none of them, and no error says so.
# Seen with miniflare 4.20260730.0 and workerd 1.20261117.1 (npm), Node 20, on 2026-11-29:
#   get("42"): "the value of 42"
#   get(["42"]): []
#   get(["user-42","42","042"]): [["user-42","the value of user-42"],["042","the value of 042"]]
#   get(["__proto__"]): []
# workerd makes the Map of an object's named properties: 0 to 4294967294 are no names.
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

const script = `export default {
  async fetch(request, env) {
    for (const key of ["user-42", "42", "042", "__proto__"])
      await env.KV.put(key, "the value of " + key);
    const several = async (...keys) =>
      "get(" + JSON.stringify(keys) + "): " + JSON.stringify([...(await env.KV.get(keys))]);
    return new Response([
      'get("42"): ' + JSON.stringify(await env.KV.get("42")),
      await several("42"),
      await several("user-42", "42", "042"),
      await several("__proto__"),
    ].join("\\n") + "\\n");
  },
}`;
const miniflare = new Miniflare({
  modules: true, script, compatibilityDate: "2026-04-01", kvNamespaces: ["KV"],
});
process.stdout.write(await (await miniflare.dispatchFetch("http://localhost/")).text());
await miniflare.dispose();
JS
node run.mjs > seen
cat seen
cat > expected <<'TEXT'
get("42"): "the value of 42"
get(["42"]): []
get(["user-42","42","042"]): [["user-42","the value of user-42"],["042","the value of 042"]]
get(["__proto__"]): []
TEXT
diff expected seen
