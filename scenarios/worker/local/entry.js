// The Worker behind a scenario's latencies, and what a load test asks of it beside its endpoints:
// POST /api/performance/run (a clean start) and GET /api/performance/stats.

import worker, { isolateOf, schemeOf } from "../index.js";
import { DelayedD1, DelayedKV, Platform, RemoteQueue } from "./platform.js";

const AHEAD_MS = 500; // until a run that was prepared begins
const PREFIX = "/api/performance";

let platform = null;

// Return the Worker's bindings; those of the database are an invocation's own.
function bindingsOf(env) {
  platform ??= new Platform(env.CONFIG, env.POSITION, { kv: env.KV_STORE, db: env.DB_STORE });
  return {
    SETTINGS: env.CONFIG.settings,
    KV: new DelayedKV(platform),
    DB: new DelayedD1(platform),
    QUEUE: new RemoteQueue(platform),
  };
}

const counters = {};

function count(name, number = 1) {
  counters[name] = (counters[name] ?? 0) + number;
}

async function answered(http, env, ctx, pathname) {
  const response = await worker.fetch(http, bindingsOf(env), ctx);
  count(`requests_${pathname.split("/")[1]}`);
  count(`responses_${Math.floor(response.status / 100)}xx`);
  return response;
}

async function statistics(env) {
  const process = await (await env.HOST.fetch(`http://host/?position=${env.POSITION}`)).json();
  const operations = {
    l2_operations: platform?.operations.kv ?? 0, l3_operations: platform?.operations.db ?? 0,
  };
  const cumulative = { histograms: {}, counters: { ...counters, ...operations }, process };
  return Response.json({ success: true, data: { scope: "process", cumulative } });
}

// Empty the caches, and fill them with what they hold when a run begins.
async function beginRun(http, env, ctx) {
  const { starts_at_ms: stated } = await http.json();
  const bindings = bindingsOf(env);
  await schemeOf({ env: bindings, ctx, trace: null }, "data_driven");
  const { KV } = bindings;
  const warm = await (await env.HOST.fetch(`http://host/warm?position=${env.POSITION}`)).json();
  if (stated == null) {  // the first process of the service fills what they share
    await KV.deletePrefix("");
    const items = warm.kv.map(([key, value, residual]) =>
      [key, value ?? "", 3600 * 24, value === null ? { residual, none: true } : { residual }]);
    for (let start = 0; start < items.length; start += 1000)
      await platform.ask("kv", "/put", JSON.stringify(items.slice(start, start + 1000)));
  }
  const starts = stated ?? Date.now() + AHEAD_MS;
  const { l1 } = isolateOf({ SETTINGS: env.CONFIG.settings }).cache;
  l1.deletePrefix("");
  for (const [key, value, residual] of warm.l1) l1.set(key, value, starts + residual);
  platform.hot = new Map(warm.hot.map(([key, ms]) => [key, starts + ms]));
  platform.origin = starts;
  const data = { starts_in: Math.max(0, starts - Date.now()) / 1000, starts_at_ms: starts };
  return Response.json({ success: true, data });
}

async function invalidate(http, env) {
  const body = await http.json();
  const { KV } = bindingsOf(env);
  const { l1 } = isolateOf({ SETTINGS: env.CONFIG.settings }).cache;
  let invalidated;
  if (Array.isArray(body.keys)) {
    invalidated = { l1: body.keys.filter((key) => l1.delete(key)).length, l2: body.keys.length };
    for (const key of body.keys) await KV.delete(key);
  } else if (typeof body.prefix === "string" && body.prefix) {
    invalidated = { l1: l1.deletePrefix(body.prefix), l2: await KV.deletePrefix(body.prefix) };
  } else {
    return refused(400, "bad_request", "give keys or prefix");
  }
  return Response.json({ success: true, data: { invalidated, scope: "process" } });
}

const refused = (status, code, message) =>
  Response.json({ success: false, error: { code, message } }, { status });

function isAllowed(http, env) {
  return env.TOKEN && http.headers.get("Authorization") === `Bearer ${env.TOKEN}`;
}

export default {
  async fetch(http, env, ctx) {
    const { pathname } = new URL(http.url);
    if (!pathname.startsWith(PREFIX)) return answered(http, env, ctx, pathname);
    const asked = `${http.method} ${pathname.slice(PREFIX.length)}`;
    if (asked === "GET /stats") return statistics(env);
    if (asked !== "POST /run" && asked !== "POST /cache-invalidate")
      return refused(404, "not_found", "no such path");
    if (!isAllowed(http, env))
      return refused(env.TOKEN ? 401 : 403, "not_allowed", "give the token of EDGEPROOF_TOKEN");
    return (asked === "POST /run" ? beginRun : invalidate)(http, env, ctx);
  },

  queue: (batch, env, ctx) => worker.queue(batch, bindingsOf(env), ctx),
};
