// What one request tells about itself: the tier that answered each cache read, and its stages.

const MEMBERS = {
  l1: ["L1; hit"],
  l2: ["L2; hit", "L1; fwd=uri-miss"], // the cache closest to the origin first
  miss: ["L2; fwd=uri-miss", "L1; fwd=uri-miss"],
  collapsed: ["L1; fwd=uri-miss; collapsed"],
  bypass: ["L2; fwd=bypass; detail=error", "L1; fwd=uri-miss"],
};

export class Trace {
  #begun = performance.now();
  #reads = [];
  #stages = [];
  #waited = 0;

  // tier: of MEMBERS; isNegative: a hit that says "there is none".
  read(name, tier, isNegative = false) {
    const detail = isNegative && (tier === "l1" || tier === "l2") ? "; detail=negative" : "";
    const group = MEMBERS[tier].map((member) =>
      `${member}${member.endsWith("hit") ? detail : ""}; read=${name}`);
    this.#reads.push(group.join(", "));
  }

  // ms: of performance.now(), which moves in steps of 1 ms: steps on the CPU read 0.
  stage(name, ms) {
    this.#stages.push(`${name};dur=${Math.max(0, ms).toFixed(3)}`);
    if (name !== "l1") this.#waited += Math.max(0, ms);
  }

  // Return what `promise` does; the wait for it is no stage.
  async wait(promise) {
    const begun = performance.now();
    try {
      return await promise;
    } finally {
      this.#waited += performance.now() - begun;
    }
  }

  // Return `response` with both headers.
  told(response) {
    const total = performance.now() - this.#begun;
    const cpu = Math.max(0, total - this.#waited);
    const timing = [`cpu;dur=${cpu.toFixed(3)}`, `total;dur=${total.toFixed(3)}`];
    response.headers.set("Server-Timing", [...this.#stages, ...timing].join(", "));
    if (this.#reads.length) response.headers.set("Cache-Status", this.#reads.join(", "));
    return response;
  }
}
