// Starts the stores and the Workers on workerd: node start.mjs CONFIG. Lines of JSON on standard
// output tell where they listen. SIGTERM ends everything, and so does the end of the parent.

import { readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(`${process.env.EDGEPROOF_NODE_MODULES}/`);
process.env.EDGEPROOF_WORKERD = require("workerd").default; // for $MINIFLARE_WORKERD_PATH
const { Miniflare } = require("miniflare");
const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const root = path.dirname(import.meta.dirname);
const COMPATIBILITY = { compatibilityDate: "2026-04-01" };

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

// Return the modules of a Worker whose main one is `first`.
function modulesOf(first, ...others) {
  return [first, ...others].map((name) => ({
    type: "ESModule",
    path: path.join(root, name),
    contents: readFileSync(path.join(root, name), "utf8"),
  }));
}

const WORKER = [
  "index.js", "attribution.js", "cache.js", "events.js", "settings.js", "sql.js", "trace.js",
];

function isolateOptions(name, position, { kv, db }) {
  return {
    ...COMPATIBILITY,
    name,
    modules: modulesOf("local/entry.js", "local/platform.js", ...WORKER),
    modulesRoot: root,
    bindings: {
      CONFIG: config.worker, POSITION: position, ...(config.token ? { TOKEN: config.token } : {}),
    },
    serviceBindings: {
      KV_STORE: kv, DB_STORE: db, HOST: (request) => answer(request),
    },
  };
}

const pids = []; // of the runtime behind each Worker, by position
const children = () =>
  readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim().split(/\s+/);
const started = [];

// Start one runtime; return its address and process id.
async function start(workers, port = 0) {
  const before = new Set(children());
  workers[0].unsafeDirectSockets = [{ host: config.host, port }];
  const runtime = new Miniflare({ host: "127.0.0.1", port: 0, cf: false, workers });
  started.push(runtime);
  process.removeAllListeners("SIGTERM"); // Miniflare's end with another exit code
  process.removeAllListeners("SIGINT");
  process.on("SIGTERM", end).on("SIGINT", () => {});
  await runtime.ready;
  const url = await runtime.unsafeGetDirectURL(workers[0].name);
  return { url, pid: children().find((pid) => !before.has(pid)) };
}

const external = ({ url }) => ({ external: { address: url.host, http: {} } });

function answer(request) {
  const url = new URL(request.url);
  const position = Number(url.searchParams.get("position"));
  if (url.pathname === "/warm") {
    const warm = JSON.parse(readFileSync(config.warm, "utf8"));
    return Response.json({ kv: warm.kv, hot: warm.hot, l1: warm.l1[position] ?? [] });
  }
  return Response.json(figuresOf(position));
}

// Return what the process of an isolate takes; its runtime cannot tell. Its memory is no isolate's:
// without the platform's limit the engine's heap grows as it likes, so nothing is judged by it.
function figuresOf(position) {
  const stat = readFileSync(`/proc/${pids[position]}/stat`, "utf8");
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13);
  const status = readFileSync(`/proc/${pids[position]}/status`, "utf8");
  return {
    cpu_seconds: (Number(user) + Number(system)) / 100,
    rss_bytes: 1024 * Number(status.match(/VmRSS:\s+(\d+)/)[1]),
  };
}

async function end() {
  const disposed = Promise.allSettled(started.map((runtime) => runtime.dispose()));
  await Promise.race([disposed, new Promise((resolve) => setTimeout(resolve, 2000))]);
  if (process.ppid !== parent)  // nobody else is left to do it
    for (const folder of [process.env.TMPDIR, path.dirname(process.argv[2])])
      rmSync(folder, { recursive: true, force: true });
  process.exit(0); // what is left of the runtimes is killed with this process
}

const parent = process.ppid;
setInterval(() => process.ppid === parent || end(), 1000).unref();

try {
  const store = { ...COMPATIBILITY, modules: modulesOf("local/stores.js"), modulesRoot: root };
  const bindings = { SECRET: config.worker.secret };
  const kv = await start([{ ...store, name: "kv", bindings, kvNamespaces: ["KV"] }]);
  const { queue } = config;
  // The consumer is the Worker itself; its runtime is the database's, beside the queue.
  const stores = {
    kv: external(kv), db: { name: "db" },
  };
  const consumer = isolateOptions("consumer", config.isolates, stores);
  const db = await start([
    {
      ...store, name: "db", bindings, d1Databases: ["DB"], queueProducers: { QUEUE: "conversions" },
    },
    { ...consumer, queueConsumers: { conversions: queue } },
  ]);
  const urls = [];
  for (let position = 0; position < config.isolates; position += 1) {
    const port = config.port ? config.port + position : 0;
    const worker = await start(
      [isolateOptions("worker", position, { kv: external(kv), db: external(db) })], port);
    pids.push(worker.pid);
    urls.push(worker.url.origin);
  }
  say({ ready: JSON.stringify({ urls, kv: kv.url.origin, db: db.url.origin }) });
} catch (error) {
  say({ error: String(error.message ?? error).trim().replace(/\s*\n\s*/g, " ") });
  await end();
}
