// What requests say, checked.

const LARGEST_ID = 200;
const LARGEST_BODY = 65_536;
const LARGEST_VALUE = 1e15;
const [EARLIEST, LATEST] = [Date.UTC(1973, 0, 1), Date.UTC(2100, 0, 1)];
const CAMPAIGN = ["utm_medium", "utm_campaign", "utm_term", "utm_content"];

export class Problem extends Error {
  constructor(status, code, message, headers = {}) {
    super(message);
    this.headers = headers;
    this.status = status;
    this.code = code;
  }

  response() {
    const error = { code: this.code, message: this.message };
    return Response.json({ success: false, error }, { status: this.status, headers: this.headers });
  }
}

const bad = (message) => new Problem(400, "bad_request", message);
const shown = (value) => (JSON.stringify(value) ?? "missing").slice(0, 60);

export function identifier(value, name) {
  const isText = typeof value === "string" && value !== "" && !value.includes("\0");
  if (!isText || value.length > 2 * LARGEST_ID || [...value].length > LARGEST_ID)
    throw bad(`${name} is ${shown(value)}; it is a text of 1 to ${LARGEST_ID} characters`);
  if (!value.isWellFormed() || value.includes("\ufffd"))
    throw bad(`${name} is not valid Unicode; send it as UTF-8`);
  return value;
}

// Return the event of a tracking request, and the size of its body in bytes.
export async function eventOf(request) {
  const body = await request.arrayBuffer();
  if (body.byteLength > LARGEST_BODY)
    throw new Problem(413, "too_large", `the body is larger than ${LARGEST_BODY} bytes`);
  let data;
  try {
    data = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (error) {
    throw bad(`the body is not JSON: ${error.message}`);
  }
  if (data === null || typeof data !== "object" || Array.isArray(data))
    throw bad("the body is not a JSON object");
  const maybe = (name) =>
    data[name] == null || data[name] === "" ? null : identifier(data[name], name);
  const { timestamp, value } = data;
  if (!Number.isInteger(timestamp) || timestamp < EARLIEST || timestamp > LATEST)
    throw bad(`timestamp is ${shown(timestamp)}; it is epoch milliseconds, from 1973 to 2100`);
  const converts = data.conversion_id != null;
  if (converts && !(typeof value === "number" && value >= 0 && value < LARGEST_VALUE))
    throw bad(`value is ${shown(value)}; a conversion's value is a number from 0 on`);
  const event = {
    timestamp,
    event_id: identifier(data.event_id, "event_id"),
    user_id: identifier(data.user_id, "user_id"),
    site_id: identifier(data.site_id, "site_id"),
    event_name: identifier(data.event_name, "event_name"),
    utm_source: maybe("utm_source") ?? "(direct)",
    campaign: CAMPAIGN.map(maybe),
    conversion_id: converts ? identifier(data.conversion_id, "conversion_id") : null,
    value: converts ? value : null,
  };
  return { event, size: body.byteLength };
}

// Return the id at the end of the path, behind `prefix`.
export function identifierOf(url, prefix, name) {
  let text;
  try {
    text = decodeURIComponent(url.pathname.slice(prefix.length));
  } catch {
    throw bad(`the ${name} in the path is not UTF-8; percent-encode it`);
  }
  return identifier(text, name);
}

export function modelOf(url, models) {
  const given = url.searchParams.getAll("model");
  if (given.length !== 1) throw bad("give one ?model=, such as ?model=linear");
  if (!models.includes(given[0]))
    throw bad(`model is ${shown(given[0])}; use one of ${models.join(", ")}`);
  return given[0];
}
