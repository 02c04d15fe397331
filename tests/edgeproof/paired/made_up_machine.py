"""A made-up machine: benchmarks whose ratio is known, without a process that measures them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeproof.paired.comparison import compare
from edgeproof.paired.processes import Event, Task, TimeUp, Turn
from edgeproof.paired.result import Comparison, Rules

TASK = Task(
    project=Path(), worlds=({}, {}), pythons=("", ""), paths=(), options=(), shared_suites=(),
    distributions=(), is_together=True,
)  # fmt: skip


class Machine:
    """Benchmarks by the ratio of their versions, on a machine whose processes differ."""

    def __init__(self, **ratios: float) -> None:
        self.ratios = ratios
        self.base, self.head = [*ratios], [*ratios]
        self.broken: dict[str, dict[str, str]] = {"base": {}, "head": {}}
        self.skipped: dict[str, dict[str, str]] = {"base": {}, "head": {}}
        self.counts: dict[str, dict[str, int]] = {"base": {}, "head": {}}
        self.between, self.seconds, self.now = 0.005, 1.0, 0.0
        self.turns: list[Turn] = []
        self.speeds: list[float] = []

    def clock(self) -> float:
        return self.now

    def repeat(self, task: Task, turn: Turn) -> Iterator[Event]:
        self.turns.append(turn)
        generator = np.random.default_rng(len(self.turns))
        chosen = [n for n in self.base if n in self.head and (not turn.only or n in turn.only)]
        yield {"event": "collected", "chosen": chosen,
               "sides": {"base": self.base, "head": self.head}}  # fmt: skip
        for name in chosen:
            self.now += self.seconds / len(chosen)
            if self.now > turn.deadline:
                raise TimeUp
            if any(name in of for of in (*self.broken.values(), *self.skipped.values())):
                continue
            ratio = self.ratio(name) * np.exp(generator.normal(0, self.between))
            values = ratio * np.exp(generator.normal(0, 0.01, 20))
            speed = self.speeds[len(self.turns) - 1] if self.speeds else 1.0
            yield {"event": "measured", "benchmark": name, "speed": speed,
                   "pairs": [[100.0, 100.0 * float(value)] for value in values]}  # fmt: skip
        for side in ("base", "head"):
            yield self.side(side, chosen)

    def ratio(self, name: str) -> float:
        return self.ratios[name]

    def side(self, name: str, chosen: list[str]) -> Event:
        extra = {n: {"plain": self.counts[name], "counts": {}} for n in chosen}
        return {"event": "side", "name": name, "broken": self.broken[name],
                "skipped": self.skipped[name], "extra": extra}  # fmt: skip

    def compared(self, **rules: Any) -> Comparison:
        return compare(
            TASK, Rules(**rules), say=lambda *_: None, clock=self.clock, repeat=self.repeat
        )
