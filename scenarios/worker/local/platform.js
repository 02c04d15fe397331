// KV, D1 and the queue as the Worker's bindings have them, behind the latencies of a scenario. The
// real ones run in processes of their own: in the local runtime a query holds up whatever else its
// process does.

const SIX = 6; // D1 connections of one invocation: the platform's limit

// A small generator of random numbers in [0, 1), of which a seed decides all.
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Return a sampler of milliseconds from equally spaced quantiles.
function sampler(table, uniform) {
  return () => {
    const position = uniform() * (table.length - 1);
    const low = Math.floor(position);
    return table[low] + (position - low) * (table[low + 1] - table[low]);
  };
}

export class Platform {
  // config: of start.mjs; position: of the process, stores: the binding that leads to them.
  constructor(config, position, stores) {
    const { latencies } = config;
    const drawn = (purpose) => random(config.seed * 1009 + position * 97 + purpose);
    this.rounding = drawn(0);
    this.kvRead = sampler(latencies.kv_read, drawn(1));
    this.kvColdRead = sampler(latencies.kv_cold_read, drawn(2));
    this.kvWrite = sampler(latencies.kv_write, drawn(3));
    this.trip = sampler(latencies.round_trip, drawn(4));
    this.read = sampler(latencies.read_execution, drawn(5));
    this.write = sampler(latencies.write_execution, drawn(6));
    this.writeShare = latencies.write_share;
    this.hotFor = 1000 * config.kv_cache_ttl;
    this.hot = new Map();
    this.origin = null; // epoch ms that the lives of the warm entries count from
    this.stores = stores;
    this.operations = { kv: 0, db: 0 };
    this.secret = config.secret;
  }

  // The runtime's timers take whole milliseconds: a part of one is rounded at random, so that
  // waits are right on average.
  async sleep(ms) {
    const whole = Math.floor(ms);
    const rounded = whole + (this.rounding() < ms - whole ? 1 : 0);
    if (rounded > 0) await new Promise((resolve) => setTimeout(resolve, rounded));
  }

  async ask(store, path, body, method = "POST") {
    const headers = { Authorization: `Bearer ${this.secret}` };
    const response = await this.stores[store].fetch(
      `http://${store}${path}`, { method, headers, body });
    if (!response.ok) throw new Error(await response.text());
    return response;
  }
}

export class DelayedKV {
  #platform;

  constructor(platform) {
    this.#platform = platform;
  }

  async getWithMetadata(key) {
    const platform = this.#platform;
    platform.operations.kv += 1;
    const now = Date.now();
    const isHot = (platform.hot.get(key) ?? 0) > now;
    const latency = isHot ? platform.kvRead() : platform.kvColdRead();
    const asking = platform.ask("kv", `/get/${encodeURIComponent(key)}`, undefined, "GET")
      .then((response) => response.json());
    const [found] = await Promise.all([asking, platform.sleep(latency)]);
    platform.hot.set(key, now + latency + platform.hotFor);
    const { metadata } = found;
    if (metadata?.residual !== undefined)
      found.metadata = { ...metadata, expires: platform.origin + metadata.residual };
    return found;
  }

  async put(key, value, { expirationTtl, metadata }) {
    this.#platform.operations.kv += 1;
    await this.#platform.sleep(this.#platform.kvWrite());
    await this.#platform.ask("kv", "/put", JSON.stringify([[key, value, expirationTtl, metadata]]));
  }

  async delete(key) {
    this.#platform.hot.delete(key);
    await this.#platform.ask("kv", "/delete", JSON.stringify([key]));
  }

  async deletePrefix(prefix) {
    for (const key of this.#platform.hot.keys())
      if (key.startsWith(prefix)) this.#platform.hot.delete(key);
    const response = await this.#platform.ask("kv", "/delete-prefix", JSON.stringify(prefix));
    return response.json();
  }
}

class Statement {
  constructor(database, sql, params = []) {
    Object.assign(this, { database, sql, params });
  }

  bind(...params) {
    return new Statement(this.database, this.sql, params);
  }

  async all() {
    const [result] = await this.database.run([this]);
    return result;
  }
}

// One of an invocation: six operations at a time, the others wait.
export class DelayedD1 {
  #platform;
  #running = 0;
  #waiting = [];

  constructor(platform) {
    this.#platform = platform;
  }

  prepare(sql) {
    return new Statement(this, sql);
  }

  batch(statements) {
    return this.run(statements);
  }

  async run(statements) {
    if (this.#running >= SIX) await new Promise((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
    try {
      return await this.#operate(statements);
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }

  async #operate(statements) {
    const platform = this.#platform;
    platform.operations.db += 1;
    const sent = Date.now();
    const trip = platform.trip();
    const writes = !statements[0].sql.trimStart().startsWith("SELECT");
    const execution = writes ? platform.write() : platform.read();
    await platform.sleep(trip / 2);
    const body = JSON.stringify({
      statements: statements.map(({ sql, params }) => [sql, params]),
      execution,
      share: writes ? platform.writeShare : 0,
    });
    // The database tells how long the executions before this one and its own take. The engine's
    // time is part of that, and only where it took longer it shows.
    const { error, results, wait, taken } = await (await platform.ask("db", "/run", body)).json();
    await platform.sleep(sent + trip + wait + taken - Date.now());
    if (error) throw new Error(error);
    for (const result of results) result.meta.queue_wait = wait;
    return results;
  }
}

export class RemoteQueue {
  #platform;

  constructor(platform) {
    this.#platform = platform;
  }

  async send(message) {
    await this.#platform.ask("db", "/send", JSON.stringify(message));
  }
}
