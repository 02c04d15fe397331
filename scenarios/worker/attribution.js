// How a conversion's credit is shared out over its touches: seven models, plain.

const DIRECT =
  /^(\(?\s*direct\s*\)?(\s*[/|:]\s*\(?\s*none\s*\)?)?|direct (traffic|entry|entries|visits?))$/i;
const EQUAL = "data_driven gives every touch the same credit";

export const isDirect = (channel) => DIRECT.test(channel.trim());

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const evenly = (count) => Array(count).fill(1 / count);

function inProportion(weights) {
  const total = sum(weights);
  if (total <= 0 || Math.min(...weights) === Math.max(...weights)) return evenly(weights.length);
  return weights.map((weight) => weight / total);
}

// Each takes {times, count, parameters, weights, lead, opportunity} of two touches or more.
const CREDITS = {
  last_click: ({ count }) => [...Array(count - 1).fill(0), 1],
  first_click: ({ count }) => [1, ...Array(count - 1).fill(0)],
  linear: ({ count }) => evenly(count),
  time_decay: ({ times, parameters }) =>
    inProportion(times.map((time) => 2 ** ((time - times.at(-1)) / parameters.half_life_ms))),
  u_shape({ count, parameters }) {
    const [first, middle, last] = parameters.u_shape;
    if (count === 2) return inProportion([first, last]);
    return [first, ...Array(count - 2).fill(middle / (count - 2)), last];
  },
  w_shape({ count, parameters, lead, opportunity }) {
    const [first, middle, last, others] = parameters.w_shape;
    const hasMiddle = lead !== null || count > 2;
    const atMiddle = lead ?? Math.floor((count - 1) / 2);
    const atLast = opportunity ?? count - 1;
    const milestones = new Set(hasMiddle ? [0, atLast, atMiddle] : [0, atLast]);
    const rest = count - milestones.size;
    const credits = Array(count).fill(rest ? others / rest : 0);
    for (const position of milestones) credits[position] = 0;
    credits[0] += first;
    credits[atLast] += last;
    if (hasMiddle) credits[atMiddle] += middle;
    return hasMiddle && rest ? credits : inProportion(credits);
  },
  data_driven: ({ weights }) => inProportion(weights),
};

export const MODELS = Object.keys(CREDITS);

export function roleOf(position, count) {
  if (count === 1) return "only";
  if (position === 0) return "first";
  return position === count - 1 ? "last" : "middle";
}

// Return the journeys of `rows`, which belong together by conversion, oldest touch first.
export function journeysOf(rows, milestones) {
  const journeys = new Map();
  for (const row of rows) {
    let journey = journeys.get(row.conversion_id);
    if (journey === undefined) {
      const { conversion_id, user_id, conversion_timestamp, value } = row;
      journey = { conversion_id, user_id, conversion_timestamp, value, touches: [] };
      journeys.set(conversion_id, journey);
    }
    if (row.event_timestamp !== null)
      journey.touches.push(
        { time: row.event_timestamp, channel: row.utm_source, name: row.event_name });
  }
  for (const journey of journeys.values()) {
    const marked = milestones.map((name) =>
      name ? journey.touches.findIndex((touch) => touch.name === name) : -1);
    [journey.lead, journey.opportunity] = marked.map((place) => (place < 0 ? null : place));
  }
  return [...journeys.values()];
}

// The parameters, and the newest fitted model if it fits them.
export class Scheme {
  // stored: {version, weights} of fitted_models, null without one.
  constructor(parameters, stored = null) {
    this.parameters = parameters;
    this.number = stored === null ? null : stored.version;
    this.version = null;
    this.weights = {};
    this.fallback = `no model has been fitted yet: ${EQUAL}`;
    if (stored !== null) this.#adopt(stored.weights);
  }

  #adopt(text) {
    const model = JSON.parse(text);
    this.version = model.version;
    for (const name of ["order", "direct", "lookback_ms", "own_event"]) {
      const theirs = model.parameters[name] ?? false;
      const ours = this.parameters[name] ?? false;
      if (theirs !== ours) {
        this.fallback =
          `the newest model was fitted with ${name} '${theirs}', not '${ours}': ${EQUAL}`;
        return;
      }
    }
    this.fallback = model.fallback;
    if (!this.fallback) this.weights = model.weights;
  }

  // What the SQL of journeys depends on.
  get journeys() {
    return { named: this.parameters.milestones.some(Boolean), own: this.parameters.own_event };
  }

  // Return the parts of a cache key that tell under which rules its credits were computed.
  keyParts(model) {
    const parts = [model, this.parameters.key];
    return model === "data_driven" && this.number !== null ? [...parts, this.version] : parts;
  }

  #weightsOf(channels) {
    const rest = this.weights["(other)"] ?? 0;
    return channels.map((channel) => this.weights[channel] ?? rest);
  }

  // Return the touches that count: direct traffic does not where the rule says so.
  #counted({ touches }) {
    const all = [...touches.keys()];
    if (this.parameters.direct === "own channel") return all;
    const kept = all.filter((place) => !isDirect(touches[place].channel));
    return kept.length ? kept : all;
  }

  credits(journey, model) {
    const { touches } = journey;
    const kept = this.#counted(journey);
    const count = kept.length;
    if (count <= 1) return touches.map((_, place) => (place === kept[0] ? 1 : 0));
    const shares = CREDITS[model]({
      count,
      times: kept.map((place) => touches[place].time),
      weights: this.#weightsOf(kept.map((place) => touches[place].channel)),
      parameters: this.parameters,
      lead: closest(journey.lead, kept, touches),
      opportunity: closest(journey.opportunity, kept, touches),
    });
    const credits = Array(touches.length).fill(0);
    kept.forEach((place, at) => (credits[place] = shares[at]));
    return credits;
  }

  // Return why data_driven gives all touches the same, null if it does not.
  fallbackOf(journey) {
    if (this.fallback || !journey.touches.length) return this.fallback || null;
    const channels = this.#counted(journey).map((place) => journey.touches[place].channel);
    if (this.#weightsOf(channels).some((weight) => weight > 0)) return null;
    return `no channel of this journey has an effect in the model: ${EQUAL}`;
  }
}

// Return the place among `kept` of the touch that is marked, or of the closest to it in time.
function closest(marked, kept, touches) {
  if (marked === null) return null;
  if (kept.includes(marked)) return kept.indexOf(marked);
  const away = (place) => Math.abs(touches[kept[place]].time - touches[marked].time);
  return [...kept.keys()].reduce((best, place) => (away(place) < away(best) ? place : best));
}
