"""The cost of a run: a bill by unit, for a million requests and for a month at the run's rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from core.cost.refusals import Refusal, needs_of, refusals
from core.cost.savings import Saving, savings
from core.cost.tally import Tally, tally_of
from core.cost.usage import MILLION, Usage, usage_of
from core.metrics.record import RunRecord
from core.query.row_counts import row_counts
from core.scenario.prices import Meter, Prices
from core.scenario.scenario import Scenario

DAY = 86_400.0
MONTH = 30 * DAY

PRODUCTS = {"workers": "Workers", "kv": "KV", "d1": "D1", "queues": "Queues"}
UNITS = {
    "requests": "requests",
    "cpu_ms": "CPU ms",
    "reads": "reads",
    "writes": "writes",
    "deletes": "deletes",
    "lists": "lists",
    "rows_read": "rows read",
    "rows_written": "rows written",
    "operations": "operations",
    "gb_months": "GB stored",
}
"""Words for the units, as reports write them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One unit of the bill.

    product, unit: as prices name them. price: of a million, or of a GB-month. per_million: units
    for a million requests, million_dollars: at the list price. month: units in a month, included:
    of them by the plan, month_dollars: what the others cost. Storage has no figure for a million
    requests; its month is the mean over the first one.
    """

    product: str
    unit: str
    price: float
    per_million: float
    million_dollars: float
    month: float
    included: float
    month_dollars: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a run costs, where it could be told, and what the platform would refuse.

    per_million: dollars at list prices, without included amounts, base and storage. per_month:
    dollars of a month at the run's rate, with all of these. figures: of KPIs, by name. unknown: why
    there is no bill; lines, savings and figures of money are then empty. prices_date, rows_date,
    rows_engine: of the tables.
    """

    lines: tuple[Line, ...]
    base: float
    per_million: float | None
    per_month: float | None
    rate: float
    plan: str
    figures: Mapping[str, float]
    savings: tuple[Saving, ...]
    refused: tuple[Refusal, ...]
    refused_free: tuple[Refusal, ...]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]
    prices_date: str
    rows_date: str
    rows_engine: str

    def million_of(self, product: str) -> float:
        """Return the dollars of a million requests that *product* takes."""
        return sum(line.million_dollars for line in self.lines if line.product == product)

    def month_of(self, product: str) -> float:
        """Return the dollars of a month that *product* takes, without the plan's base."""
        return sum(line.month_dollars for line in self.lines if line.product == product)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as JSON reads it back; equal costs give equal data."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the cost that `to_json` wrote; KeyError or TypeError if it is none."""
        of_lists: dict[str, Any] = {
            "lines": Line, "savings": Saving, "refused": Refusal, "refused_free": Refusal
        }  # fmt: skip
        fields = {name: data[name] for name in cls.__dataclass_fields__}
        for name, kind in of_lists.items():
            fields[name] = tuple(kind(**each) for each in data[name])
        for name in ("unknown", "notes"):
            fields[name] = tuple(data[name])
        return cls(**fields)


def cost_of(scenario: Scenario, tally: Tally) -> Cost:
    """Return what the requests of *tally* cost in the system of *scenario*, at its prices.

    Raise ValueError without a request.
    """
    if not tally.total:
        raise ValueError("no request, so no cost")
    prices, usage, counts = scenario.prices, usage_of(scenario, tally), row_counts()
    lines = () if usage.unknown else tuple(_lines(prices, usage))
    base = prices.workers.base if prices.plan == "paid" else 0.0
    per_million = sum(line.million_dollars for line in lines)
    per_month = base + sum(line.month_dollars for line in lines)
    needs = needs_of(scenario, tally, usage)
    figures = {name: value for name, value in needs.items() if value is not None}
    if not usage.unknown:
        figures |= {"cost_per_million": per_million, "cost_per_month": per_month}
    daily = {f"{line.product}.{line.unit}": line.month * DAY / MONTH for line in lines}
    return Cost(
        lines=lines,
        base=base,
        per_million=None if usage.unknown else per_million,
        per_month=None if usage.unknown else per_month,
        rate=tally.rate,
        plan=prices.plan,
        figures=figures,
        savings=() if usage.unknown else savings(scenario, usage),
        refused=refusals(prices, prices.plan, needs, daily),
        refused_free=refusals(prices, "free", needs, daily),
        unknown=usage.unknown,
        notes=usage.notes,
        prices_date=prices.date,
        rows_date=counts.measured,
        rows_engine=f"workerd {counts.versions['workerd']}",
    )


def cost_of_record(
    scenario: Scenario, record: RunRecord, *, key_writes: int | None = None
) -> Cost | None:
    """Return the cost of the run of *record*, None if no request of it was judged."""
    tally = tally_of(record, key_writes=key_writes)
    return cost_of(scenario, tally) if tally.total else None


def recorded(record: RunRecord) -> Cost | None:
    """Return the cost that *record* holds, None if it has none."""
    return Cost.from_json(record.cost) if record.cost else None


def _lines(prices: Prices, usage: Usage) -> Sequence[Line]:
    lines = []
    per_request = 1 / usage.requests
    a_month = usage.rate * MONTH * per_request
    stored = {"kv.gb_months": usage.kv_bytes / 1e9, "d1.gb_months": usage.d1_bytes * a_month / 2e9}
    for product, unit, meter in prices.meters():
        name = f"{product}.{unit}"
        if name in stored:
            lines.append(_line(prices, product, unit, meter, 0.0, stored[name], of_storage=True))
            continue
        used = usage.units[name]
        lines.append(
            _line(prices, product, unit, meter, used * per_request * MILLION, used * a_month)
        )
    return lines


def _line(
    prices: Prices,
    product: str,
    unit: str,
    meter: Meter,
    per_million: float,
    month: float,
    *,
    of_storage: bool = False,
) -> Line:
    scale = 1.0 if of_storage else MILLION
    is_paid = prices.plan == "paid"
    return Line(
        product=product,
        unit=unit,
        price=meter.price,
        per_million=per_million,
        million_dollars=per_million * meter.price / scale,
        month=month,
        included=meter.included if is_paid else 0.0,
        month_dollars=max(0.0, month - meter.included) * meter.price / scale if is_paid else 0.0,
    )
