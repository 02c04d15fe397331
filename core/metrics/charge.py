"""What a run costs on the platform or needs of it: figures that a KPI may name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One figure of a run's cost, the metric FUNCTION(NAME), or ALIAS for short.

    title: what is counted, as reports write it. unit: dollars, bytes, or a count.
    """

    function: str
    name: str
    alias: str
    title: str
    unit: Literal["dollars", "count", "bytes"]

    @property
    def general(self) -> str:
        """The general notation."""
        return f"{self.function}({self.name})"


CHARGES = (
    Charge(
        function="cost", name="per_million", alias="cost_per_million", unit="dollars",
        title="list price of a million requests on the platform, storage not included",
    ),
    Charge(
        function="cost", name="per_month", alias="cost_per_month", unit="dollars",
        title="bill of a month at this rate, with the plan's base and what it includes",
    ),
    Charge(
        function="most", name="subrequests", alias="subrequests", unit="count",
        title="most subrequests of one invocation",
    ),
    Charge(
        function="most", name="queries", alias="queries", unit="count",
        title="most queries of D1 in one invocation",
    ),
    Charge(
        function="most", name="key_writes", alias="kv_key_writes", unit="count",
        title="most writes of one key of KV within a second",
    ),
    Charge(
        function="daily", name="rows_read", alias="rows_read_per_day", unit="count",
        title="rows that D1 reads in a day at this rate",
    ),
    Charge(
        function="daily", name="rows_written", alias="rows_written_per_day", unit="count",
        title="rows that D1 writes in a day at this rate",
    ),
    Charge(
        function="daily", name="database", alias="database_growth_per_day", unit="bytes",
        title="bytes that the database grows by in a day at this rate",
    ),
)  # fmt: skip
"""The figures of cost, in the order of reports."""


def charge_of(text: str) -> Charge | None:
    """Return the figure that *text* names, by either name; None if it names none."""
    words = text.replace(" ", "")
    return next((each for each in CHARGES if words in (each.alias, each.general)), None)
