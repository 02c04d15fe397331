"""Where the stages of an answer lie in time, back from the moment it left the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.endpoint import Endpoint, Read
from core.scenario.scenario import Scenario
from core.wire import BYPASS, L2_HIT, MISS
from scenarios.result import Rows

Samples = Mapping[str, Mapping[int, Sequence[float]]]
"""Seconds that Server-Timing tells, by stage and row."""


@dataclass(slots=True)
class Layout:
    """Where the stages of one answer lie: seconds before the answer left the service."""

    l2: list[tuple[str, float]] = field(default_factory=list)  # its place in [tiers], seconds
    queries: list[tuple[bool, float, float, float]] = field(default_factory=list)
    """(is_write, seconds before the end at which its middle lies, taken, told wait)"""


def layouts_of(
    scenario: Scenario,
    rows: Rows,
    places: NDArray[np.int64],
    outcomes: NDArray[np.int64],
    samples: Samples,
) -> dict[int, Layout]:
    """Return where the stages of each answer at *places* lie, by its row; in the order of the plan.

    outcomes: what each read of each row came to; shape (rows, reads).
    """
    hot = _HotKeys(scenario)
    order = places[np.argsort(rows.intended_ns[places], kind="stable")].tolist()
    layouts = {}
    for row in order:
        endpoint = scenario.endpoints.endpoints[rows.endpoint[row]]
        codes = outcomes[row].tolist()
        l2, l3 = samples["l2"].get(row, []), samples["l3"].get(row, [])
        waits = samples["l3wait"].get(row, [])
        steps = _steps(endpoint, codes, len(l2), len(l3))
        layout = layouts[row] = Layout()
        position = {"l2": len(l2), "l3": len(l3)}
        before = 0.0
        asked: list[tuple[Read | None, float]] = []
        for tier, read, is_write in reversed(steps):
            position[tier] -= 1
            at = position[tier]
            if at < 0:
                continue
            if tier == "l2":
                asked.append((read, l2[at]))
                before += l2[at]
                continue
            wait = waits[at] if len(waits) == len(l3) else np.nan
            whole = l3[at] + (0.0 if np.isnan(wait) else wait)
            layout.queries.append((is_write, before + whole / 2, whole, wait))
            before += whole
        time = rows.intended_ns[row] / 1e9
        for read, seconds in reversed(asked):
            if read is None:
                continue
            key = (int(rows.host[row]), read, int(rows.subject[row]))
            if (stage := hot.ask(key, time, time + float(rows.latency[row]))) is not None:
                layout.l2.append((stage, seconds))
    return layouts


def _steps(
    endpoint: Endpoint, codes: Sequence[int], l2: int, l3: int
) -> list[tuple[str, Read | None, bool]]:
    """Return the tiers that an answer asked, in order, with the read that each was for.

    The last: whether it is a write. Writes come last. Database stages beyond them and those that
    the reads need are queries, or belong to the write where the endpoint makes no other query.
    """
    steps: list[tuple[str, Read | None, bool]] = []
    misses = 0
    for read, code in zip(endpoint.reads, codes, strict=False):
        if code in (L2_HIT, MISS, BYPASS):
            steps.append(("l2", read, False))
        if code in (MISS, BYPASS):
            steps.append(("l3", read, False))
            misses += 1
    writes = (endpoint.stores or 0) + (endpoint.writes is not None)
    more = max(0, l3 - misses - writes)
    other = endpoint.reads[-1] if endpoint.reads else None
    is_write = other is None and writes > 0 and not endpoint.queries
    steps += [("l3", other, is_write)] * more + [("l3", None, True)] * writes
    asked = sum(tier == "l2" for tier, _, _ in steps)
    return [("l2", None, False)] * max(0, l2 - asked) + steps


class _HotKeys:
    """Which keys were read in L2 within its cache_ttl, by host."""

    def __init__(self, scenario: Scenario) -> None:
        self._ttl = scenario.tiers.l2.cache_ttl
        self._sites = scenario.traffic.sites
        self._read: dict[tuple[int, str, int], float] = {}

    def ask(self, key: tuple[int, Read, int], sent: float, answered: float) -> str | None:
        """Return the stage of a read; None if another of its key is still under way.

        *key*: host, read, subject. A key is hot once a read of it is answered. Until then another
        read may be cold, or wait for the first.
        """
        host, read, subject = key
        place = (host, read.cache_type, read.number(subject, self._sites))
        before = self._read.get(place)
        self._read[place] = answered if before is None else max(before, answered)
        if before is not None and sent < before:
            return None
        is_hot = before is not None and sent < before + self._ttl
        return "l2.read" if is_hot else "l2.cold_read"
