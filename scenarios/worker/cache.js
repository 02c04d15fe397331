// Three tiers: L1 is a Map in the isolate, L2 is KV, L3 is what `load` asks.

const OVERHEAD = 280; // bytes of an entry beside its key and value
const LEAST_KV_TTL = 60; // seconds; KV refuses less
const LONGEST_KEY = 512; // bytes that KV takes

export class Memory {
  // The least recently used entry goes first: a Map keeps the order of insertion.
  #entries = new Map();
  #bytes = 0;
  #bounds;

  constructor(bounds) {
    this.#bounds = bounds;
  }

  get(key, now) {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.expires <= now) {
      this.delete(key);
      return undefined;
    }
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  // value: a text, null for "there is none"; expires: epoch milliseconds.
  set(key, value, expires) {
    this.delete(key);
    const size = OVERHEAD + key.length + (value?.length ?? 0);
    if (size > this.#bounds.max_bytes) return;
    this.#entries.set(key, { value, expires, size });
    this.#bytes += size;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#bounds.max_entries && this.#bytes <= this.#bounds.max_bytes)
        break;
      this.delete(oldest);
    }
  }

  delete(key) {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#bytes -= entry.size;
    return this.#entries.delete(key);
  }

  deletePrefix(prefix) {
    return [...this.#entries.keys()].filter((key) => key.startsWith(prefix))
      .map((key) => this.delete(key)).length;
  }
}

export class TieredCache {
  #loads = new Map();

  // settings: l1 {ttl, max_entries, max_bytes}, ttl by cache type, negative_ttl, cache_ttl; seconds.
  constructor(settings) {
    this.settings = settings;
    this.l1 = new Memory(settings.l1);
  }

  // Return the text of `key`, null if there is none. request: {env, ctx, trace}; read: {name, type};
  // load: asks the database.
  async read(request, read, key, load) {
    const { trace } = request;
    const found = this.l1.get(key, Date.now());
    trace.stage("l1", 0);
    if (found !== undefined) {
      trace.read(read.name, "l1", found.value === null);
      return found.value;
    }
    // Requests of this isolate that miss the same key share one load.
    const loading = this.#loads.get(key);
    if (loading !== undefined) {
      try {
        return await trace.wait(loading);
      } finally {
        trace.read(read.name, "collapsed");
      }
    }
    const own = this.#behind(request, read, key, load).finally(() => this.#loads.delete(key));
    this.#loads.set(key, own);
    request.ctx.waitUntil(own.catch(() => {})); // others wait for it if this client leaves
    return own;
  }

  async #behind({ env, ctx, trace }, { name, type }, key, load) {
    let tier = "miss";
    const begun = performance.now();
    try {
      const { cache_ttl: cacheTtl } = this.settings;
      const { value, metadata } = await env.KV.getWithMetadata(key, { type: "text", cacheTtl });
      trace.stage("l2", performance.now() - begun);
      if (metadata && metadata.expires > Date.now()) {
        const text = metadata.none ? null : value;
        this.#keep(key, text, metadata.expires);
        trace.read(name, "l2", text === null);
        return text;
      }
    } catch (error) {
      trace.stage("l2", performance.now() - begun);
      console.error(`KV: ${error.message}`);
      tier = "bypass";
    }
    const asked = Date.now();
    let text;
    try {
      text = await load();
    } finally {
      trace.read(name, tier);
    }
    const ttl = text === null ? this.settings.negative_ttl : this.settings.ttl[type];
    if (tier === "bypass" || ttl <= 0) return text;
    const expires = asked + 1000 * ttl;
    this.#keep(key, text, expires);
    const metadata = text === null ? { expires, none: true } : { expires };
    const expirationTtl = Math.max(LEAST_KV_TTL, Math.ceil(ttl));
    ctx.waitUntil(
      env.KV.put(key, text ?? "", { expirationTtl, metadata })
        .catch((error) => console.error(`KV: ${error.message}`)),
    );
    return text;
  }

  #keep(key, text, expires) {
    this.l1.set(key, text, Math.min(expires, Date.now() + 1000 * this.settings.l1.ttl));
  }
}

const escaped = (part) =>
  encodeURIComponent(part).replace(/[!'()*~]/g, (c) =>
    `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

// Return "kind:part:part", plain ASCII; one too long for KV ends in a digest of itself.
export async function cacheKey(kind, ...parts) {
  const key = [kind, ...parts.map(escaped)].join(":");
  if (key.length <= LONGEST_KEY) return key;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  const digits = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `${key.slice(0, LONGEST_KEY - 65)}~${digits.join("")}`;
}
