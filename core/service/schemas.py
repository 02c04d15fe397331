"""The JSON Schemas of what the service takes and answers, for its OpenAPI document."""

from __future__ import annotations

from typing import Any

from core.attribution.models import MODELS
from core.caching.keys import MAX_KEY_BYTES
from core.caching.statistics import COLUMNS
from core.event import MAX_ID_LENGTH, Campaign
from core.service.requests import LARGEST_EPOCH_MS, LARGEST_VALUE, MAX_KEYS
from core.units import EARLIEST_MS, LATEST_MS

Schema = dict[str, Any]

WHOLE: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string"}
EPOCH_MS: Schema = {
    "type": "integer", "minimum": 0, "maximum": LARGEST_EPOCH_MS,
    "description": "Epoch milliseconds.",
}  # fmt: skip
EVENT_TIME: Schema = {
    "type": "integer", "minimum": EARLIEST_MS, "maximum": LATEST_MS,
    "description": "Epoch milliseconds, from 1973 to 2100.",
}  # fmt: skip
IDENTIFIER: Schema = {
    "type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH,
    "pattern": "^[^\\u0000\\ufffd]+$",
}  # fmt: skip
MODEL: Schema = {"type": "string", "enum": list(MODELS)}


def part(name: str) -> Schema:
    """Return a reference to the schema of *name*."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """Return an object of exactly *properties*, all required but the *optional* ones."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def table(values: Schema) -> Schema:
    """Return an object that maps any name to one of *values*."""
    return {"type": "object", "additionalProperties": values}


def rows(items: Schema) -> Schema:
    """Return a list of *items*."""
    return {"type": "array", "items": items}


def maybe(schema: Schema) -> Schema:
    """Return *schema* or null."""
    return {**schema, "type": [schema["type"], "null"]}


def _counts(*names: str) -> Schema:
    return record(**dict.fromkeys(names, WHOLE))


def envelope(**data: Schema) -> Schema:
    """Return the envelope of a monitoring endpoint around *data*, with the time of the answer."""
    stamp = {"type": "string", "format": "date-time"}
    return record(success={"const": True}, data=record(**data, timestamp=stamp))


_OPTIONAL: Schema = {**maybe(IDENTIFIER), "minLength": 0, "pattern": "^[^\\u0000\\ufffd]*$"}
_EVENT: dict[str, Schema] = {
    **dict.fromkeys(("event_id", "user_id", "site_id", "event_name"), IDENTIFIER),
    "timestamp": EVENT_TIME,
    "utm_source": {**_OPTIONAL, "description": "Where from; (direct) without one, or with ''."},
    **dict.fromkeys(Campaign._fields, _OPTIONAL),
}
_REQUIRED = ["event_id", "user_id", "site_id", "event_name", "timestamp"]

PAGE_VIEW: Schema = {
    "type": "object",
    "properties": {**_EVENT, "conversion_id": {"type": "null"}},
    "required": _REQUIRED,
}
CONVERSION: Schema = {
    "type": "object",
    "properties": {
        **_EVENT,
        "conversion_id": IDENTIFIER,
        "value": {"type": "number", "minimum": 0, "exclusiveMaximum": LARGEST_VALUE},
    },
    "required": [*_REQUIRED, "conversion_id", "value"],
}
KEYS: Schema = {
    "type": "object",
    "properties": {
        "keys": {
            "type": "array", "minItems": 1, "maxItems": MAX_KEYS,
            "items": {"type": "string", "pattern": f"^[!-~]{{1,{MAX_KEY_BYTES}}}$"},
        }
    },
    "required": ["keys"],
    "additionalProperties": False,
}  # fmt: skip


def named(name: str) -> Schema:
    """Return the body of an invalidation by *name*, prefix or tag."""
    return record(**{name: {"type": "string", "minLength": 1}})


RUN: Schema = {
    "type": "object",
    "properties": {
        "starts_at_ms": {
            **maybe(EPOCH_MS),
            "description": "What the first process answered; null or nothing asks the first one.",
        }
    },
}

_LATENCY = {
    "total": WHOLE,
    "failed": WHOLE,
    **dict.fromkeys(("avg", "p50", "p95", "p99", "max"), maybe(NUMBER)),
}
_ROWS: dict[str, Schema] = {
    "rows_read": {
        **WHOLE,
        "description": "Rows returned. D1 bills every row that it looks at, so it bills more.",
    },
    "rows_written": {
        **WHOLE,
        "description": "Rows changed. D1 also bills an insert for each index of the table, and an "
        "update for each index of a column that it sets; a delete for none.",
    },
    "cache_hits": {**WHOLE, "description": "Answers of tiers.query_cache."},
}
_OUTCOMES = [column for column in COLUMNS if column != "none"]
_OF_DATA_DRIVEN = ("model_version", "fallback")
_ORIGIN: dict[str, Schema] = {
    "parameters_key": {**TEXT, "description": "The same for equal parameters of attribution."},
    "model_version": {
        **maybe(TEXT), "description": "With data_driven: which fitted model; null without one.",
    },
    "fallback": {
        **maybe(TEXT),
        "description": "With data_driven: why every touch got the same credit instead; or null.",
    },
}  # fmt: skip
_SHARE = maybe({"type": "number", "minimum": 0, "maximum": 1})

SCHEMAS: dict[str, Schema] = {
    "Error": record(
        success={"const": False},
        error=record(
            code={"type": "string", "pattern": "^[a-z_]+$"},
            message={**TEXT, "minLength": 1, "description": "What is wrong, and the remedy."},
        ),
    ),
    "Accepted": record(accepted={"const": True}, duplicate={"type": "boolean"}),
    "Attribution": record(
        _OF_DATA_DRIVEN,
        conversion_id=TEXT,
        user_id=TEXT,
        model=MODEL,
        **_ORIGIN,
        conversion_timestamp=EPOCH_MS,
        value=NUMBER,
        touchpoints=rows(
            record(
                touchpoint_index=WHOLE,
                utm_source=TEXT,
                event_timestamp=EPOCH_MS,
                credit={"type": "number", "minimum": 0, "maximum": 1},
                credit_percentage={"type": "number", "minimum": 0, "maximum": 100},
                role={"type": "string", "enum": ["only", "first", "middle", "last"]},
            )
        ),
    ),
    "Journey": record(
        user_id=TEXT,
        events={
            **rows(
                record(
                    Campaign._fields,
                    event_id=TEXT,
                    event_name=TEXT,
                    utm_source=TEXT,
                    event_timestamp=EPOCH_MS,
                    conversion_id=maybe(TEXT),
                    **dict.fromkeys(Campaign._fields, TEXT),
                )
            ),
            "maxItems": 100,
        },
    ),
    "Channels": record(
        _OF_DATA_DRIVEN,
        model=MODEL,
        **_ORIGIN,
        channels=rows(
            record(
                utm_source=TEXT,
                total_attribution=NUMBER,
                total_conversions=WHOLE,
                total_value=NUMBER,
                avg_attribution_per_conversion=NUMBER,
            )
        ),
    ),
    "Latency": {**record(**_LATENCY), "description": "In milliseconds; null: nothing to tell."},
    "JudgedLatency": record(**_LATENCY, warnings=WHOLE, errors=WHOLE),
    "CacheLatency": record(l1=part("Latency"), l2=part("Latency")),
    "Histogram": {
        **record(
            buckets=rows(WHOLE), counts=rows(WHOLE), failed=WHOLE, total_ns=WHOLE, maximum_ns=WHOLE
        ),
        "description": "Log-linear: a value of v ns has the bucket v below 512, else "
        "(s << 8) + (v >> s), where s is the bits of v less 9. Histograms add up bucket by bucket.",
    },
    "Histograms": {
        **record(
            request=part("Histogram"), query=part("Histogram"), queue=part("Histogram"),
            external=part("Histogram"),
        ),
        "additionalProperties": part("Histogram"),
        "description": "By kind: these, and those that the scenario describes stages of.",
    },
    "Counters": {**table(WHOLE), "description": "Since the start."},
    "Process": record(
        cpu_seconds=NUMBER, own_cpu_seconds=NUMBER, rss_bytes=WHOLE, peak_rss_bytes=WHOLE,
        start_rss_bytes=WHOLE, speed_count=WHOLE, speed_seconds=NUMBER, delay_count=WHOLE,
        delay_error_seconds=NUMBER,
    ),
    "Scope": {"type": "string", "enum": ["service", "process"]},
    "Workers": record(
        answered={**rows(WHOLE), "description": "The workers whose figures these are."},
        silent={
            **rows(record(worker={"oneOf": [WHOLE, {"const": "consumer"}]}, reason=TEXT)),
            "description": "Those that gave none; the consumer is the process of the queue.",
        },
    ),
    "SlowRequest": record(
        name=TEXT,
        ended={**NUMBER, "description": "Seconds of the machine's clock."},
        duration={**NUMBER, "description": "Milliseconds."},
        failed={"type": "boolean"},
        stages=rows(
            record(
                kind=TEXT,
                name=TEXT,
                began={
                    **maybe(NUMBER),
                    "description": "Milliseconds after the request; null: unknown.",
                },
                duration=NUMBER,
                depth=WHOLE,
                failed={"type": "boolean"},
            )
        ),
        left_out={**WHOLE, "description": "Further stages."},
    ),
    "SlowQuery": record(
        names=rows(TEXT),
        seconds=NUMBER,
        ended_ms=EPOCH_MS,
        rows=WHOLE,
        reason={**TEXT, "description": "Why it failed; empty if it did not."},
        plan=TEXT,
    ),
    "Statement": record(**_LATENCY, **_ROWS),
    "CacheReport": record(
        reads=WHOLE,
        **dict.fromkeys(("l1_ratio", "l2_ratio", "hit_ratio", "miss_ratio"), _SHARE),
        by_type=table(_counts(*_OUTCOMES)),
        l1=record(
            **dict.fromkeys(
                ("entries", "bytes", "hits", "misses", "expired", "evicted", "invalidated",
                 "refused"), WHOLE,
            ),
            bytes_by_prefix=table(WHOLE),
        ),
        l2=record(
            **dict.fromkeys(
                ("reads", "writes", "errors", "late", "skipped", "write_errors", "corrupt",
                 "refused", "bytes_read", "bytes_written", "breaker_openings", "deletes", "lists"),
                WHOLE,
            ),
            breaker={"type": "string", "enum": ["closed", "open"]},
        ),
        loads=_counts("started", "failed", "in_background", "outlived", "overtaken", "coalesced"),
        invalidation=_counts("remembered", "received", "gaps", "not_sent"),
    ),
}  # fmt: skip

ABOUT = {"scope": part("Scope"), "workers": part("Workers")}
"""What every monitoring answer says of whose figures it gives."""

_LATENCIES = {
    "requests": part("JudgedLatency"),
    "queries": part("JudgedLatency"),
    "cache": part("CacheLatency"),
    "queue": part("JudgedLatency"),
}

SCHEMAS |= {
    "Stats": envelope(
        performance=record(**_LATENCIES, external=part("JudgedLatency")),
        cumulative={
            "oneOf": [
                record(
                    histograms=part("Histograms"),
                    counters=part("Counters"),
                    process=part("Process"),
                ),
                record(
                    histograms=part("Histograms"),
                    counters=part("Counters"),
                    processes=rows(part("WorkerProcess")),
                ),
            ],
            "description": "process where ?scope=process, processes otherwise.",
        },
        **ABOUT,
    ),
    "WorkerProcess": record(worker=WHOLE, **SCHEMAS["Process"]["properties"]),
    "CacheStats": envelope(cache=part("CacheReport"), **ABOUT),
    "QueryStats": envelope(
        queries=part("JudgedLatency"),
        by_name=table(part("Latency")),
        statements=table(part("Statement")),
        slow=rows(part("SlowQuery")),
        **ABOUT,
    ),
    "LatencySummary": envelope(
        latency=record(
            **_LATENCIES,
            requests_by_endpoint=table(part("Latency")),
            externalAPIs=part("JudgedLatency"),
            slow_requests=rows(part("SlowRequest")),
        ),
        **ABOUT,
    ),
    "Invalidated": envelope(
        invalidated={
            **record(("l2",), l1=WHOLE, l2=WHOLE),
            "description": "l1: of the workers that answered; l2: not where ?scope=process.",
        },
        **ABOUT,
    ),
    "RunStart": envelope(starts_in=NUMBER, starts_at_ms=EPOCH_MS),
    "Figures": envelope(
        latencies=rows(
            record(kind=TEXT, name=TEXT, histogram=part("Histogram"), warnings=WHOLE, errors=WHOLE)
        ),
        counters=part("Counters"),
        processes=rows(part("WorkerProcess")),
        statements=table(record(histogram=part("Histogram"), **_ROWS)),
        slow=rows(part("SlowQuery")),
        slow_requests=rows(part("SlowRequest")),
        caches={"type": "object"},
        apart=rows({"type": "object", "description": "The consumer's, with of=metrics."}),
    ),
}
