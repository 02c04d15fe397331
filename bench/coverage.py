"""How often the intervals cover the truth: `python -m bench.coverage [REPETITIONS]`.

Each repetition is a whole experiment of ten replications on an M/M/1 with another seed: the
interval of the mean over the simulation's own queue, and the interval of a plan's knee. The knee
is searched for by `sim.capacity` itself; its replications are Lindley's recursion, which the tests
show to be what the simulation does, so that 1,000 plans take minutes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.context import Purpose
from core.metrics.estimate import estimate_of
from core.scenario.file import parse_scenario
from core.scenario.pace import rate_of
from core.scenario.scenario import Scenario
from core.streams import Stream
from sim.capacity import plan_capacity
from sim.growth import ServerLoad
from sim.replications import Found
from sim.verified_queues import SERVICE, exponential, m_g_1, visits

REPETITIONS = 1_000
REPLICATIONS = 10
RATE, CUSTOMERS, LEFT_OUT = 60.0, 1_000, 200
MU, TARGET = 200.0, 0.1
KNEE = MU - math.log(20) / TARGET
"""Where p95 of an M/M/1 with MU services a second is TARGET: 170.04/s."""
WARM_UP = 5.0


class Lindley:
    """Replications of an M/M/1 by Lindley's recursion, all rates on the same random numbers."""

    def __init__(self, seed: int, seconds: float) -> None:
        self._seed, self._seconds = seed, seconds
        self._drawn = lru_cache(maxsize=64)(self._draw)

    def _draw(self, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        count = int(MU * 2 * (self._seconds + WARM_UP))
        drawn = Stream(self._seed, Purpose.ARRIVALS, width=2, replication=number).rows(0, count)
        units = -np.log1p(-drawn)
        return np.cumsum(units[:, 0]), units[:, 1] / MU

    def run(
        self, scenario: Scenario, numbers: Sequence[int], on_done: Callable[[int], None]
    ) -> tuple[Found, ...]:
        """Return what replications *numbers* found, in their order."""
        found = []
        for number in numbers:
            found.append(self._found(rate_of(scenario), number))
            on_done(len(found))
        return tuple(found)

    def _found(self, rate: float, number: int) -> Found:
        units, services = self._drawn(number)
        end = WARM_UP + self._seconds
        times = units[: np.searchsorted(units, end * rate)] / rate
        done = np.cumsum(services[: times.size])
        # A customer leaves when all work since the last idle moment is done.
        idle = np.maximum.accumulate(times - done + services[: times.size])
        sojourns = done + idle - times
        half = np.searchsorted(times, WARM_UP + self._seconds / 2)
        waiting = [
            max(0.0, float(sojourns[at] + times[at]) - float(times[at])) for at in (half, -1)
        ]
        load = ServerLoad(
            utilisation=float(services[: times.size].sum()) / end,
            growth=(waiting[1] - waiting[0]) / (self._seconds / 2),
        )
        p95 = float(np.quantile(sojourns[times >= WARM_UP], 0.95))
        return Found(metrics={"p95_track": p95}, loads={"CPU": load})


def of_means(repetitions: int, report: Callable[[str], None]) -> float:
    """Return the share of intervals of the mean that hold the true mean."""
    law = exponential(SERVICE)
    truth, hits = m_g_1(RATE, law), 0
    for number in range(repetitions):
        means = []
        for replication in range(REPLICATIONS):
            found = visits(
                [law], rate=RATE, customers=CUSTOMERS,
                replication=1 + number * REPLICATIONS + replication,
            )  # fmt: skip
            means.append(float(np.mean(found.sojourns[LEFT_OUT:])))
        interval = estimate_of(means).interval
        assert interval is not None
        hits += interval[0] <= truth <= interval[1]
        if number % 100 == 99:
            report(f"mean: {hits} of {number + 1}")
    return hits / repetitions


def of_knees(
    repetitions: int, seconds: float, report: Callable[[str], None]
) -> tuple[float, float, float]:
    """Return the share of knees' intervals that hold the true one, the error and the half-width.

    The error is the root of the mean squared error over the truth, the half-width the mean over it.
    """
    scenario = parse_scenario(
        {
            "name": "coverage", "duration": f"{seconds}s", "warm_up": f"{WARM_UP}s",
            "traffic": {"stages": [{"rate": 100.0}]},
            "kpis": [{"metric": "p95_track", "target": "< 100ms", "alert": "> 200ms"}],
        },
        source="coverage",
    )  # fmt: skip
    hits, squares, widths = 0, 0.0, 0.0
    for number in range(repetitions):
        knee = plan_capacity(scenario, precision=0.5, runner=Lindley(1 + number, seconds)).knee
        if knee is None:
            continue
        hits += knee.interval[0] <= KNEE <= knee.interval[1]
        squares += (knee.rate - KNEE) ** 2
        widths += (knee.interval[1] - knee.interval[0]) / 2
        if number % 100 == 99:
            report(f"knee, {seconds:g} s: {hits} of {number + 1}")
    return hits / repetitions, math.sqrt(squares / repetitions) / KNEE, widths / repetitions / KNEE


def main(arguments: Sequence[str]) -> int:
    """Print the coverage of the mean's and the knee's intervals; return the exit code."""
    repetitions = int(arguments[0]) if arguments else REPETITIONS

    def report(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    rows = []
    for seconds in (50.0, 200.0):
        share, error, width = of_knees(repetitions, seconds, report)
        told = f"error {100 * error:.2f} %, half-width {100 * width:.2f} %"
        rows.append((f"knee of p95, {seconds:g} s a rate", share, told))
    rows.append(("mean sojourn", of_means(repetitions, report), ""))
    print(f"Coverage of 95 % intervals over {repetitions:,} repetitions of {REPLICATIONS} runs:")
    for name, share, told in rows:
        error = 1.96 * math.sqrt(share * (1 - share) / repetitions)
        print(f"  {name}: {100 * share:.1f} % (±{100 * error:.1f}) {told}".rstrip())
    # Short runs are shown, not judged: a percentile of few requests is off by itself.
    return 0 if all(0.93 <= share <= 0.97 for _, share, _ in rows[1:]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
