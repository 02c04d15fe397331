// Speaks the shapes of Cloudflare's REST API over this Worker's D1 databases and KV namespace, so
// that clients of the API can be run against the platform's own engine. It is no part of a service.
//
// POST   /client/v4/accounts/{a}/d1/database/{id}/query | raw      {sql, params} or {batch: [...]}
// GET | PUT | DELETE /client/v4/accounts/{a}/storage/kv/namespaces/{id}/values/{key}
// POST   /binding        [[method, ...arguments], ...] of the KV binding, as JSON
const API = "/client/v4/accounts/";

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    if (url.pathname === "/binding") return onBinding(await request.json(), env.KV);
    const [account, product, ...rest] = url.pathname.slice(API.length).split("/");
    if (request.headers.get("authorization") !== `Bearer ${env.TOKEN}`)
      return failed(401, 10000, "Authentication error");
    if (!url.pathname.startsWith(API) || account !== env.ACCOUNT)
      return failed(404, 7003, `Could not route to ${url.pathname}`);
    if (product === "d1") return onDatabase(request, env, rest[1], rest[2]);
    if (product === "storage") return onValues(request, url, env, rest);
    return failed(404, 7003, `Could not route to ${url.pathname}`);
  },
};

async function onDatabase(request, env, id, format) {
  const database = env[id];
  if (!database?.prepare) return failed(404, 7404, `The database ${id} could not be found`);
  const body = await request.json();
  const queries = body.batch ?? [body];
  // What the binding's own batch() sends, before it makes objects of the rows: equal column names
  // would lose all values but the last.
  const session = database.withSession("first-primary");
  let results;
  try {
    results = await session._sendOrThrow(
      "/query",
      queries.map(({ sql }) => sql),
      queries.map(({ params }) => params ?? []),
      "ROWS_AND_COLUMNS",
      { setAttribute() {}, setAttributes() {} },
    );
  } catch (error) {
    return failed(400, 7500, error.message.replace(/^D1_ERROR: /, ""));
  }
  const shaped = format === "raw" ? results : results.map(withObjects);
  return Response.json({ errors: [], messages: [], result: shaped, success: true });
}

function withObjects(result) {
  const { columns, rows } = result.results;
  const objects = rows.map((row) => Object.fromEntries(columns.map((name, at) => [name, row[at]])));
  return { ...result, results: objects };
}

async function onValues(request, url, env, [, , , , ...name]) {
  const key = decodeURIComponent(name.join("/"));
  try {
    if (request.method === "GET") {
      const value = await env.KV.get(key, "arrayBuffer");
      if (value === null) return failed(404, 10009, "get: 'key not found'");
      return new Response(value, { headers: { "content-type": "application/octet-stream" } });
    }
    if (request.method === "PUT") {
      const ttl = url.searchParams.get("expiration_ttl");
      const options = ttl === null ? {} : { expirationTtl: Number(ttl) };
      await env.KV.put(key, await request.arrayBuffer(), options);
    } else if (request.method === "DELETE") await env.KV.delete(key);
    else return failed(405, 10405, "Method not allowed for this authentication scheme");
  } catch (error) {
    return failed(400, 10033, error.message);
  }
  return Response.json({ errors: [], messages: [], result: {}, success: true });
}

// Runs each call in turn: {value} or {error}; a Map is an array of its entries.
async function onBinding(calls, store) {
  const answers = [];
  for (const [method, ...given] of calls) {
    try {
      const value = (await store[method](...given)) ?? null;
      answers.push({ value: value instanceof Map ? [...value] : value });
    } catch (error) {
      answers.push({ error: `${error.name}: ${error.message}` });
    }
  }
  return Response.json(answers);
}

function failed(status, code, message) {
  const body = { errors: [{ code, message }], messages: [], result: null, success: false };
  return Response.json(body, { status });
}
