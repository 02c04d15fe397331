#!/bin/sh
# D1 takes five terms of a compound SELECT; a subquery counts anew. Plain SQLite takes 500.
# Seen with miniflare 4.20260730.0 and workerd 1.20261117.1 (npm), Node 20, on 2026-11-28:
#   5 terms: 5 rows
#   6 terms: D1_ERROR: too many terms in compound SELECT: SQLITE_ERROR
#   4 terms and 2 nested: 6 rows
#   a view of 6 terms: D1_ERROR: too many terms in compound SELECT: SQLITE_ERROR
#   VALUES of 6 rows: 6 rows
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
const terms = (count) => Array(count).fill("SELECT 1 AS a").join(" UNION ALL ");
const show = async (what, sql) => {
  try {
    console.log(`${what}: ${(await database.prepare(sql).all()).results.length} rows`);
  } catch (error) {
    console.log(`${what}: ${error.message}`);
  }
};
await show("5 terms", terms(5));
await show("6 terms", terms(6));
await show("4 terms and 2 nested", `${terms(4)} UNION ALL SELECT * FROM (${terms(2)})`);
await show("a view of 6 terms", `CREATE VIEW six AS ${terms(6)}`);
await show("VALUES of 6 rows", "VALUES (1), (2), (3), (4), (5), (6)");
await miniflare.dispose();
JS
node run.mjs > seen
cat seen
cat > expected <<'TEXT'
5 terms: 5 rows
6 terms: D1_ERROR: too many terms in compound SELECT: SQLITE_ERROR
4 terms and 2 nested: 6 rows
a view of 6 terms: D1_ERROR: too many terms in compound SELECT: SQLITE_ERROR
VALUES of 6 rows: 6 rows
TEXT
diff expected seen
