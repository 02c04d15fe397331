// Runs worker.js on workerd with the D1 databases that argv[2], a JSON object, names. Prints its
// address as one line and ends with its standard input.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const require = createRequire(`${process.env.EDGEPROOF_NODE_MODULES}/`);
const { Miniflare } = require("miniflare");
const { account, token, databases } = JSON.parse(process.argv[2]);

const miniflare = new Miniflare({
  modules: true,
  scriptPath: fileURLToPath(new URL("worker.js", import.meta.url)),
  compatibilityDate: "2026-04-01",
  host: "127.0.0.1",
  port: 0,
  bindings: { ACCOUNT: account, TOKEN: token },
  d1Databases: databases,
  kvNamespaces: ["KV"],
});
process.stdin.resume();
process.stdin.on("end", async () => {
  await miniflare.dispose();
  process.exit(0);
});
console.log(JSON.stringify({ url: (await miniflare.ready).href }));
