// The real KV, D1 and queue, asked over HTTP by the Workers beside them; one process runs one of
// the stores. Everything takes the bearer token of this start.

const PAGE = 1000;
const AT_ONCE = 200;
let freeAt = 0; // epoch ms at which the database's executions so far end

async function each(items, act) {
  for (let start = 0; start < items.length; start += AT_ONCE)
    await Promise.all(items.slice(start, start + AT_ONCE).map(act));
}

async function keysOf(kv, prefix) {
  const keys = [];
  let cursor;
  do {
    const page = await kv.list({ prefix, cursor, limit: PAGE });
    keys.push(...page.keys.map(({ name }) => name));
    cursor = page.list_complete ? undefined : page.cursor;
  } while (cursor);
  return keys;
}

const ROUTES = {
  async put({ KV }, items) {
    await each(items, ([key, value, expirationTtl, metadata]) =>
      KV.put(key, value, { expirationTtl, metadata }));
  },

  async delete({ KV }, keys) {
    await each(keys, (key) => KV.delete(key));
  },

  async "delete-prefix"({ KV }, prefix) {
    const keys = await keysOf(KV, prefix);
    await each(keys, (key) => KV.delete(key));
    return keys.length;
  },

  // One execution at a time, first come first served. A statement that writes counts its rows.
  async run({ DB }, { statements, execution, share }) {
    const arrived = Date.now();
    let results = [];
    let error = null;
    try {
      results = await DB.batch(statements.map(([sql, params]) => DB.prepare(sql).bind(...params)));
    } catch (fault) {
      error = fault.message;
    }
    const rows = results.reduce((sum, { meta }) => sum + Math.max(1, meta.changes), 0);
    const taken = execution + share * Math.max(0, rows - 1);
    const begins = Math.max(arrived, freeAt);
    freeAt = begins + taken;
    return { error, results, wait: begins - arrived, taken };
  },

  async seed({ DB }, statements) {
    await DB.batch(statements.map(([sql, params]) => DB.prepare(sql).bind(...params)));
  },

  async send({ QUEUE }, message) {
    await QUEUE.send(message);
  },
};

export default {
  async fetch(request, env) {
    if (request.headers.get("Authorization") !== `Bearer ${env.SECRET}`)
      return new Response("not authorised", { status: 401 });
    const { pathname } = new URL(request.url);
    try {
      if (request.method === "GET" && pathname.startsWith("/get/")) {
        const key = decodeURIComponent(pathname.slice("/get/".length));
        const { value, metadata } = await env.KV.getWithMetadata(key, { type: "text" });
        return Response.json({ value, metadata });
      }
      const route = ROUTES[pathname.slice(1)];
      if (route === undefined) return new Response("no such path", { status: 404 });
      return Response.json((await route(env, await request.json())) ?? null);
    } catch (error) {
      return new Response(error.message, { status: 500 });
    }
  },
};
