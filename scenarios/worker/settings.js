// The settings of the Worker, with those of edgeproof's scenario "reference"; times in seconds.

const DEFAULTS = {
  l1: { ttl: 60, max_entries: 10_000, max_bytes: 16_000_000 },
  ttl: {
    attribution: 3600, channel_metrics: 1800, user_journeys: 300, security_config: 900,
    lookup_data: 600,
  },
  negative_ttl: 30,
  cache_ttl: 60, // for which KV serves a read from its own cache
  queue: { retry_delay: 1, doubles: true }, // before a batch that failed is delivered again
  refresh: 10, // between two looks for a newer fitted model
  attribution: {
    key: "32a4b7d6acf44f65", // edgeproof's name of these parameters
    half_life_ms: 604_800_000,
    lookback_ms: 2_592_000_000,
    direct: "own channel",
    u_shape: [0.4, 0.2, 0.4],
    w_shape: [0.3, 0.3, 0.3, 0.1],
    milestones: ["", ""],
    order: 1,
  },
};

// text: JSON of those that differ, or nothing.
export function settingsOf(text) {
  return { ...DEFAULTS, ...JSON.parse(text ?? "{}") };
}
