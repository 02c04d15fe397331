// The service as a Worker: track, attribution, channels and journey over KV, D1 and a queue.
// Bindings: KV (a namespace), DB (a D1 database with the schema of core/query/schema), QUEUE (of
// conversion ids, consumed by this Worker), SETTINGS (JSON; see settings.js).

import { journeysOf, MODELS, roleOf, Scheme } from "./attribution.js";
import { cacheKey, TieredCache } from "./cache.js";
import { eventOf, identifierOf, modelOf, Problem } from "./events.js";
import { settingsOf } from "./settings.js";
import * as sql from "./sql.js";
import { Trace } from "./trace.js";

const MOST_EVENTS = 100;
const MOST_CHANNELS = 50;
const LONGEST_DELAY = 43_200; // seconds; the queue takes no more
const TOUCHES_PER_ROW = 1000; // of the table credits

// What lives as long as the isolate.
let isolate = null;

export function isolateOf(env) {
  if (isolate === null) {
    const settings = settingsOf(env.SETTINGS);
    isolate = { settings, cache: new TieredCache(settings), scheme: null, schemeDue: 0 };
  }
  return isolate;
}

// Run a query and note how long it took; its wait in the database's queue apart, where it is told.
async function query(trace, ask) {
  const begun = performance.now();
  const result = await ask();
  const { meta } = Array.isArray(result) ? result[0] : result;
  const wait = meta.queue_wait ?? null; // ms; of an emulated database only
  trace?.stage("l3", performance.now() - begun - (wait ?? 0));
  if (wait !== null) trace?.stage("l3wait", wait);
  return result;
}

async function rowsOf({ env, trace }, text, ...parameters) {
  const statement = env.DB.prepare(text).bind(...parameters);
  return (await query(trace, () => statement.all())).results;
}

// Return the rules that credit is shared out by. data_driven follows the newest fitted model; a
// request waits for it only if the isolate knows none yet.
export async function schemeOf(request, model) {
  const state = isolateOf(request.env);
  if (model !== "data_driven") return state.scheme ?? new Scheme(state.settings.attribution);
  const { attribution, refresh } = state.settings;
  const look = async (trace) => {
    const [row] = await rowsOf({ ...request, trace }, sql.NEWER_MODEL, state.scheme?.number ?? 0);
    if (row !== undefined || state.scheme === null)
      state.scheme = new Scheme(attribution, row ?? null);
  };
  if (Date.now() >= state.schemeDue && state.scheme !== null) {
    state.schemeDue = Date.now() + 1000 * refresh;
    request.ctx.waitUntil(look(null).catch((error) => console.error(`D1: ${error.message}`)));
  } else if (state.scheme === null) {
    await look(request.trace);
    state.schemeDue = Date.now() + 1000 * refresh;
  }
  return state.scheme;
}

const known = async (request, read, key, load) =>
  isolateOf(request.env).cache.read(request, read, key, load);

async function track(request) {
  const { env, trace } = request;
  const { event, size } = await trace.wait(eventOf(request.http));
  const site = JSON.parse(await known(
    request, { name: "config", type: "security_config" }, await cacheKey("config", event.site_id),
    async () => {
      const [row] = await rowsOf(request, sql.SITE, event.site_id);
      return row === undefined ? null : JSON.stringify([row.enabled, row.max_event_bytes]);
    }));
  if (site === null || !site[0])
    throw new Problem(403, "not_accepted", "site_id is not a site that takes events");
  if (size > site[1])
    throw new Problem(403, "not_accepted", `event of ${size} bytes; the site takes ${site[1]}`);
  const user = JSON.parse(await known(
    request, { name: "lookup", type: "lookup_data" }, await cacheKey("lookup", event.user_id),
    async () => {
      const [row] = await rowsOf(request, sql.USER, event.user_id);
      return row === undefined ? null : JSON.stringify([row.segment, row.profile]);
    }));
  const writes = [
    env.DB.prepare(sql.INSERT_CAMPAIGN_EVENT).bind(
      event.event_id, event.user_id, event.event_name, event.utm_source, event.timestamp,
      user?.[0] ?? "new", event.conversion_id, ...event.campaign),
  ];
  if (event.conversion_id !== null)
    writes.push(env.DB.prepare(sql.INSERT_CONVERSION).bind(
      event.conversion_id, event.event_id, event.user_id, event.timestamp, event.value));
  const [written] = await query(trace, () => env.DB.batch(writes));
  // A duplicate is queued again: its first request may have failed here. Processing twice is none.
  if (event.conversion_id !== null) await trace.wait(env.QUEUE.send(event.conversion_id));
  const answer = { accepted: true, duplicate: written.meta.changes === 0 };
  return Response.json(answer, { status: 202 });
}

async function attribution(request) {
  const { url } = request;
  const conversion = identifierOf(url, "/attribution/", "conversion id");
  const model = modelOf(url, MODELS);
  const scheme = await schemeOf(request, model);
  const key = await cacheKey("attribution", conversion, ...scheme.keyParts(model));
  const text = await known(request, { name: "attribution", type: "attribution" }, key, async () => {
    const rows = await rowsOf(
      request, sql.conversionJourney(scheme.journeys), scheme.parameters.lookback_ms, conversion);
    const [journey] = journeysOf(rows, scheme.parameters.milestones);
    return journey === undefined ? null : JSON.stringify(creditsDocument(journey, model, scheme));
  });
  if (text === null)
    throw new Problem(404, "no_conversion", `conversion '${conversion}' is not known`);
  return json(text);
}

function creditsDocument(journey, model, scheme) {
  const { conversion_id, user_id, conversion_timestamp, value, touches } = journey;
  const credits = scheme.credits(journey, model);
  return {
    conversion_id,
    user_id,
    model,
    ...originOf(scheme, model, scheme.fallbackOf(journey)),
    conversion_timestamp,
    value,
    touchpoints: touches.map(({ time, channel }, place) => ({
      touchpoint_index: place,
      utm_source: channel,
      event_timestamp: time,
      credit: credits[place],
      credit_percentage: 100 * credits[place],
      role: roleOf(place, touches.length),
    })),
  };
}

function originOf(scheme, model, fallback) {
  const origin = { parameters_key: scheme.parameters.key };
  if (model !== "data_driven") return origin;
  return { ...origin, model_version: scheme.version, fallback: fallback || null };
}

async function channels(request) {
  const model = modelOf(request.url, MODELS);
  const scheme = await schemeOf(request, model);
  const key = await cacheKey("channels", ...scheme.keyParts(model));
  return json(await known(request, { name: "channels", type: "channel_metrics" }, key, async () => {
    const rows = await rowsOf(request, sql.CHANNEL_PERFORMANCE, model, MOST_CHANNELS);
    return JSON.stringify({
      model,
      ...originOf(scheme, model, scheme.fallback),
      channels: rows.map((row) => ({
        ...row,
        avg_attribution_per_conversion:
          row.total_conversions ? row.total_attribution / row.total_conversions : 0,
      })),
    });
  }));
}

async function journey(request) {
  const user = identifierOf(request.url, "/journey/", "user id");
  const key = await cacheKey("journey", user);
  const text = await known(request, { name: "journey", type: "user_journeys" }, key, async () => {
    const rows = await rowsOf(request, sql.USER_JOURNEY, user, MOST_EVENTS);
    if (!rows.length) return null;
    return JSON.stringify({ user_id: user, events: rows.reverse().map(eventDocument) });
  });
  if (text === null) throw new Problem(404, "no_journey", `user '${user}' has no events`);
  return json(text);
}

function eventDocument({ event_id, event_name, utm_source, event_timestamp, conversion_id, ...more }) {
  const campaign = Object.entries(more).filter(([, value]) => value !== null);
  return {
    event_id, event_name, utm_source, event_timestamp, conversion_id,
    ...Object.fromEntries(campaign),
  };
}

const json = (text) => new Response(text, { headers: { "Content-Type": "application/json" } });

const ENDPOINTS = [
  ["POST", /^\/track$/, track],
  ["GET", /^\/attribution\/./, attribution],
  ["GET", /^\/channels$/, channels],
  ["GET", /^\/journey\/./, journey],
];

function endpointOf(method, path) {
  const there = ENDPOINTS.filter(([, pattern]) => pattern.test(path));
  if (!there.length) throw new Problem(404, "not_found", "no such path");
  const found = there.find(([name]) => name === (method === "HEAD" ? "GET" : method));
  if (found) return found[2];
  const taken = there.map(([name]) => (name === "GET" ? "GET, HEAD" : name)).join(", ");
  throw new Problem(405, "method_not_allowed", `this path takes ${taken}`, { Allow: taken });
}

function problemOf(error) {
  if (error instanceof Problem) return error;
  console.error(error.stack ?? String(error));
  if (String(error.message).startsWith("D1_"))
    return new Problem(503, "store_error", `${error.message}; try again later`);
  return new Problem(500, "internal", `unexpected ${error.name}; see the Worker's log`);
}

export default {
  async fetch(http, env, ctx) {
    const trace = new Trace();
    const url = new URL(http.url);
    let response;
    try {
      response = await endpointOf(http.method, url.pathname)({ http, url, env, ctx, trace });
    } catch (error) {
      response = problemOf(error).response();
    }
    return trace.told(response);
  },

  // Store the credits of a batch of conversions, in one transaction of three statements. A batch
  // that fails is delivered again, and what it has stored by then is left out.
  async queue(batch, env, ctx) {
    try {
      await store(batch, env, ctx);
    } catch (error) {
      console.error(error.stack ?? String(error));
      const { retry_delay: delay, doubles } = isolateOf(env).settings.queue;
      for (const message of batch.messages) {
        const seconds = delay * (doubles ? 2 ** (message.attempts - 1) : 1);
        message.retry({ delaySeconds: Math.min(Math.ceil(seconds), LONGEST_DELAY) });
      }
    }
  },
};

async function store(batch, env, ctx) {
  const ids = JSON.stringify([...new Set(batch.messages.map((message) => message.body))]);
  const request = { env, ctx, trace: null };
  const scheme = await schemeOf(request, "data_driven");
  const rows = await rowsOf(
    request, sql.waitingJourneys(scheme.journeys), scheme.parameters.lookback_ms, ids);
  const found = journeysOf(rows, scheme.parameters.milestones);
  if (!found.length) return;
  const { credits, totals } = resultsOf(found, scheme);
  const processed = JSON.stringify(found.map((each) => each.conversion_id));
  const writes = [
    env.DB.prepare(sql.MARK_PROCESSED).bind(scheme.parameters.key, scheme.number, processed)];
  if (credits.length)
    writes.push(
      env.DB.prepare(sql.INSERT_CREDITS).bind(JSON.stringify(credits)),
      env.DB.prepare(sql.addToChannels(MODELS)).bind(JSON.stringify(totals)));
  await env.DB.batch(writes);
}

// Return the rows of `journeys`: each one's credits, and what each channel gains under each model.
export function resultsOf(journeys, scheme) {
  const credits = [];
  const gained = new Map();
  for (const { conversion_id, touches, value, ...marked } of journeys) {
    const shares = MODELS.map((model) => scheme.credits({ touches, ...marked }, model));
    const names = touches.map(({ channel }) => channel);
    for (let first = 0; first < names.length; first += TOUCHES_PER_ROW) {
      const part = [names, ...shares].map((each) => each.slice(first, first + TOUCHES_PER_ROW));
      credits.push([conversion_id, first, names.length, JSON.stringify(part)]);
    }
    const ofChannel = new Map();
    names.forEach((channel, place) => {
      const before = ofChannel.get(channel) ?? MODELS.map(() => 0);
      ofChannel.set(channel, before.map((sum, at) => sum + shares[at][place]));
    });
    for (const [channel, own] of ofChannel) {
      const sums = gained.get(channel) ?? MODELS.map(() => [0, 0, 0]);
      gained.set(channel, sums.map(([credit, conversions, total], at) =>
        [credit + own[at], conversions + 1, total + own[at] * value]));
    }
  }
  const now = Date.now();
  const totals = [...gained].map(([channel, sums]) => [channel, now, ...sums.flat()]);
  return { credits, totals };
}
