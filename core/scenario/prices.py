"""The prices, included amounts and limits of the platform: one dated file, and changes to it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from core.errors import InputError
from core.scenario.table import Table
from core.texts import bounded_text, parse_toml
from core.units import Duration, Size

_MOST_OF_FILE = 100_000

Dollars = Annotated[float, Field(ge=0)]
Units = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class Meter(Table):
    """What is counted and charged.

    price: dollars for a million units, for storage for a GB-month. included: units a month of the
    paid plan. free: units a day of the free plan, None where the plan has no such limit.
    """

    price: Dollars = 0.0
    included: Units = 0.0
    free: Units | None = None


class WorkerPrices(Table):
    """Workers: dollars a month of the plan, invocations, and milliseconds of CPU."""

    base: Dollars = 0.0
    requests: Meter = Meter()
    cpu_ms: Meter = Meter()


class KvPrices(Table):
    """The key-value store."""

    reads: Meter = Meter()
    writes: Meter = Meter()
    deletes: Meter = Meter()
    lists: Meter = Meter()
    gb_months: Meter = Meter()


class D1Prices(Table):
    """The database: rows scanned, rows written (each index too), storage."""

    rows_read: Meter = Meter()
    rows_written: Meter = Meter()
    gb_months: Meter = Meter()


class QueuePrices(Table):
    """The queue."""

    operations: Meter = Meter()


class PlanLimits(Table):
    """What a plan refuses beyond.

    subrequests, queries: of one invocation; cpu: seconds of one; database: bytes of one;
    key_writes: a second, of one key; messages: a second, to one queue.
    """

    subrequests: Count = 0
    queries: Count = 0
    cpu: Duration = 0.0
    database: Size = 0
    key_writes: Units = 0.0
    messages: Units = 0.0


class Limits(Table):
    """The limits of both plans."""

    paid: PlanLimits = PlanLimits()
    free: PlanLimits = PlanLimits()


class Prices(Table):
    """All prices and limits: those of the dated file, where nothing is changed."""

    date: str = ""
    plan: Literal["paid", "free"] = "paid"
    queue: Literal["queues", "d1"] = "queues"
    workers: WorkerPrices = WorkerPrices()
    kv: KvPrices = KvPrices()
    d1: D1Prices = D1Prices()
    queues: QueuePrices = QueuePrices()
    limits: Limits = Limits()

    @model_validator(mode="before")
    @classmethod
    def _change_the_file(cls, data: Any) -> Any:
        return merged(list_prices(), data) if isinstance(data, Mapping) else data

    def meters(self) -> Iterator[tuple[str, str, Meter]]:
        """Yield product, unit and meter of all that is charged, in the order of a bill."""
        for product in ("workers", "kv", "d1", "queues"):
            table = getattr(self, product)
            for name in type(table).model_fields:
                if isinstance(meter := getattr(table, name), Meter):
                    yield product, name, meter


def price_file() -> Traversable:
    """Return the dated file that comes with edgeproof."""
    return resources.files("core.scenario").joinpath("prices.toml")


@cache
def list_prices() -> Mapping[str, Any]:
    """Return the tables of the dated file."""
    return tomllib.loads(price_file().read_text(encoding="utf-8"))


def merged(tables: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return *tables* with *changes*, table by table."""
    found = deepcopy(dict(tables))
    for name, value in changes.items():
        old = found.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            found[name] = merged(old, value)
        else:
            found[name] = value
    return found


def is_unchanged(prices: Any) -> bool:
    """Return whether *prices* are those of the file; a scenario with them is as without."""
    return bool(prices == Prices())


def read_prices(path: Path) -> dict[str, Any]:
    """Return the changes in the TOML file at *path*; InputError if it holds no prices.

    What is not a price there is refused, as in [prices] of a scenario.
    """
    try:
        changes = parse_toml(bounded_text(path, _MOST_OF_FILE, "a file of prices"))
    except FileNotFoundError:
        raise InputError(f"--prices {path}: no such file; give a TOML file of prices") from None
    except OSError as error:
        raise InputError(
            f"--prices {path}: cannot be read ({error.strerror}); give a readable TOML file"
        ) from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are
        raise InputError(f"--prices {path}: not valid TOML: {error}; mend it") from None
    try:
        Prices.model_validate(changes)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"--prices {path}: {place} is no price; the names are those of "
                "`edgeproof scenario prices`"
            ) from None
        raise InputError(
            f"--prices {path}: {place} is {str(first['input'])[:60]!r}: {first['msg']}"
        ) from None
    return changes
