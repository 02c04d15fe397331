"""What the platform would refuse of a run: its needs beside the limits of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from core.cost.tally import Tally
from core.cost.usage import Usage, batch_work
from core.endpoint import Endpoint
from core.scenario.prices import Prices
from core.scenario.scenario import Scenario
from core.units import format_count, format_duration, format_size

_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One limit that a run goes beyond: its name, the finding in short, and with what follows."""

    limit: str
    short: str
    text: str


def needs_of(scenario: Scenario, tally: Tally, usage: Usage) -> dict[str, float | None]:
    """Return what a run asks for, by the names that KPIs have; None where it cannot be told.

    subrequests, queries: the most of an invocation; a request is taken to have each of its reads
    answered by the deepest tier that answered any read of that name. kv_key_writes: the most of one
    key within a second.
    """
    is_known = not usage.unknown
    per_day = _DAY * usage.rate / usage.requests
    asked = [e for e in scenario.endpoints if tally.requests.get(e.name)]
    deepest = [_of_request(scenario, tally, endpoint) for endpoint in asked]
    subrequests = max((each[0] for each in deepest), default=0)
    queries = max((each[1] for each in deepest), default=0)
    if usage.queue.conversions:
        # The largest batch: its journeys are read, and one transaction stores its results.
        size = float(scenario.queue.batch_size)
        queries = max(queries, round(batch_work(scenario, size).statements))
        deliveries = 0.0
        if scenario.destination.url is not None:
            deliveries = -(-size // scenario.destination.batch_size)
        subrequests = max(subrequests, round(2 + 2 * deliveries))
    read, written = usage.units["d1.rows_read"], usage.units["d1.rows_written"]
    return {
        "subrequests": float(subrequests) if is_known else None,
        "queries": float(queries) if is_known else None,
        "kv_key_writes": None if tally.key_writes is None else float(tally.key_writes),
        "rows_read_per_day": read * per_day if is_known else None,
        "rows_written_per_day": written * per_day if is_known else None,
        "database_growth_per_day": usage.d1_bytes * per_day if is_known else None,
        "messages": (usage.queue.conversions * usage.rate / usage.requests)
        if scenario.prices.queue == "queues" and is_known
        else None,
        "cpu": tally.cpu,
    }


def _of_request(scenario: Scenario, tally: Tally, endpoint: Endpoint) -> tuple[int, int]:
    """Return the most subrequests of a request, and the most queries of D1 among them."""
    subrequests = queries = 0
    for read in endpoint.reads:
        number = 1 if read.queries is None else read.queries
        is_missed = tally.outcome(read.name, "miss", "bypass") > 0
        if tally.outcome(read.name, "l2", "miss") > 0:
            subrequests += 1
        if is_missed:
            subrequests += number + (tally.outcome(read.name, "miss") > 0)
            queries += number
    if endpoint.writes == "event":
        in_d1 = scenario.prices.queue == "d1"
        subrequests += 1 if in_d1 else 2  # a batch of statements, and a message to the queue
        queries += 3 if in_d1 else 2
    more = (endpoint.stores or 0) + (0 if endpoint.reads else endpoint.queries or 0)
    return subrequests + more, queries + more


def refusals(
    prices: Prices,
    plan: str,
    needs: Mapping[str, float | None],
    daily: Mapping[str, float] = MappingProxyType({}),
) -> tuple[Refusal, ...]:
    """Return the limits of *plan* that *needs* go beyond.

    needs: by the names of `needs_of`, which KPIs have, too. daily: units a day by "product.unit".
    """
    limits = prices.limits.free if plan == "free" else prices.limits.paid
    found = []
    if plan == "free":
        for product, unit, meter in prices.meters():
            name = f"{product}.{unit}"
            used = daily.get(name, 0.0)
            if meter.free is not None and used > meter.free:
                short = (
                    f"{format_count(used)} {_WORDS[name]} a day, {format_count(meter.free)} allowed"
                )
                found.append(
                    Refusal(limit=name, short=short, text=f"{short}; the rest is an error")
                )
    for name, most in (
        ("kv_key_writes", limits.key_writes),
        ("subrequests", float(limits.subrequests)),
        ("queries", float(limits.queries)),
        ("cpu", limits.cpu),
        ("messages", limits.messages),
    ):
        value = needs.get(name)
        if value is not None and value > most:
            what, end = _TOLD[name]
            told = format_duration if name == "cpu" else format_count
            short = f"{told(value)} {what}, {told(most)} allowed"
            found.append(Refusal(limit=name, short=short, text=f"{short}{end}"))
    growth = needs.get("database_growth_per_day")
    if growth and (days := limits.database / growth) < _SOON:
        short = f"a database of {format_size(limits.database)} is full after {_days(days)}"
        found.append(
            Refusal(
                limit="database",
                short=short,
                text=f"{short}, as it grows by {format_size(growth)} a day; delete old rows, or "
                "spread them over several databases",
            )
        )
    return tuple(found)


_SOON = 365.0
"""Days within which a database that fills up is a finding."""

_WORDS = {
    "workers.requests": "requests",
    "kv.reads": "reads of KV",
    "kv.writes": "writes of KV",
    "kv.deletes": "deletes of KV",
    "kv.lists": "lists of KV",
    "d1.rows_read": "rows read of D1",
    "d1.rows_written": "rows written of D1",
}


_TOLD = {
    "kv_key_writes": (
        "writes of one key of KV within a second", ": the others get 429, and the first stays"
    ),
    "subrequests": ("subrequests of an invocation", ""),
    "queries": ("queries of D1 of an invocation", ""),
    "cpu": ("of CPU for a request on average", ""),
    "messages": ("messages a second to one queue", ": the others get 429"),
}  # fmt: skip


def _days(days: float) -> str:
    if days < 2:
        return f"{24 * days:.0f} hours"
    return f"{days:.0f} days" if days >= 10 else f"{days:.1f} days"
