"""kill -9 of a running service at random points: `python -m bench.kills --points 1000`.

Visitors send touches and conversions to two workers as fast as they are answered, and again what
was not. At random moments a worker or the consumer is killed, also one that is starting. At the end
of each life of the service every accepted event has to be in the database, and every conversion
credited once.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.forked import forked
from bench.shoppers import Shoppers
from core.errors import EdgeproofError
from core.scenario.file import load_scenario
from core.scenario.scenario import Scenario
from core.service.crew import RunningService, ServiceProcess, begun
from core.service.launcher import running_service
from scenarios.catalogue import find_scenario

OVERRIDES = (
    "topology.processes=2", "topology.isolates=1", "queue.wait=20ms",
    # A delivery whose consumer is killed counts: after three of them a conversion is a dead letter,
    # which is kept and yet not credited.
    "queue.retries=100",
)  # fmt: skip
_LONGEST_PAUSE, _SHORT_PAUSE = 0.6, 0.02
_LOOK_SECONDS = 0.002
_MORTALS = ("worker", "the cons")


@dataclass(slots=True)
class Life:
    """What happened between a start of the service and its end.

    killed: by who it was; starting: how many of them had not said that they were ready.
    """

    killed: Counter[str] = field(default_factory=Counter)
    starting: int = 0
    touches: int = 0
    conversions: int = 0
    failures: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: Life) -> None:
        """Count what happened in *other*, too."""
        self.killed += other.killed
        self.starting += other.starting
        self.touches += other.touches
        self.conversions += other.conversions
        self.failures += other.failures
        self.faults += other.faults

    @property
    def kills(self) -> int:
        return self.killed.total()


class Killer:
    """Kills *points* times in a thread of its own, while somebody else mends."""

    def __init__(
        self, service: RunningService, points: int, rng: np.random.Generator, life: Life
    ) -> None:
        self._service, self._points, self._rng, self._life = service, points, rng, life
        self._struck: set[ServiceProcess] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._life.kills < self._points:
            # Every fifth time another one is struck while the last one is hardly mended.
            longest = _SHORT_PAUSE if self._rng.random() < 0.2 else _LONGEST_PAUSE
            if self._stop.wait(float(self._rng.uniform(0, longest))):
                return
            mortals = [one for one in self._service.processes if one.name.startswith(_MORTALS)]
            self._strike(mortals[int(self._rng.integers(len(mortals)))])

    def _strike(self, victim: ServiceProcess) -> None:
        if victim in self._struck or victim.ended():
            return  # it waits to be mended
        self._struck.add(victim)
        is_ready = victim.is_ready
        victim.kill()
        if victim.was_killed():
            self._life.killed[victim.name] += 1
            self._life.starting += not is_ready


def live(scenario: Scenario, points: int, *, rate: float, seed: int, forks: bool) -> Life:
    """Run the service, kill it *points* times, let it end, and return what was found."""
    life = Life()
    rng = np.random.Generator(np.random.Philox(key=seed))
    with TemporaryDirectory(prefix="edgeproof-kills-") as temporary:
        folder = Path(temporary)
        with running_service(
            scenario, token=None, folder=folder, emulate=False, populate=False,
            mends=2 * points, begin=forked if forks else begun,
        ) as service:  # fmt: skip
            shoppers = Shoppers(service.urls, rate=rate, seed=seed)
            shoppers.start()
            with suppress(KeyboardInterrupt), Killer(service, points, rng, life) as killer:
                while not killer.is_done:  # Ctrl-C ends it, and what was done is checked
                    service.mend()
                    time.sleep(_LOOK_SECONDS)
            service.mend()
            shoppers.stop()
        life.faults += service.faults
        life.faults += shoppers.accepted.faults(folder / "cdp.sqlite")
    life.touches = len(shoppers.accepted.touches)
    life.conversions = len(shoppers.accepted.conversions)
    life.failures = len(shoppers.failures)
    return life


def main(arguments: Sequence[str]) -> int:
    """Kill, check, and print what was found; return 1 if something is lost or doubled."""
    parser = argparse.ArgumentParser(prog="python -m bench.kills", description=__doc__)
    parser.add_argument("--points", type=int, default=1_000)
    parser.add_argument("--points-per-life", type=int, default=100, metavar="N")
    parser.add_argument("--rate", type=float, default=100.0, help="requests/s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--interpreters", action="store_true",
        help="begin each process as a new interpreter (a second each), not as a copy of one",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    scenario = load_scenario(
        find_scenario("baseline"),
        overrides=OVERRIDES,
    )
    life = Life()
    number = 0
    while (left := options.points - life.kills) > 0 and not life.faults:
        points = min(left, options.points_per_life)
        number += 1
        try:
            one = live(
                scenario, points, rate=options.rate, seed=1_000 * options.seed + number,
                forks=not options.interpreters,
            )  # fmt: skip
        except EdgeproofError as error:
            print(f"FAIL: {error}")
            return 1
        life.add(one)
        print(f"  {life.kills:,} of {options.points:,}", flush=True)
        if one.kills < points:  # Ctrl-C
            break
    return told(life, number)


def told(life: Life, lives: int) -> int:
    """Print what was found; return the exit code."""
    whom = ", ".join(f"{name} {count:,}" for name, count in sorted(life.killed.items()))
    print(
        f"{life.kills:,} kills ({whom}; {life.starting:,} of them while starting) in {lives} lives "
        f"of the service; {life.failures:,} requests failed,"
    )
    print(f"{life.touches:,} touches and {life.conversions:,} conversions accepted")
    for fault in life.faults:
        print(f"FAIL: {fault}")
    if life.faults:
        return 1
    if life.conversions < life.kills:
        print("INVALID: fewer conversions than kills: most of these struck an idle service")
        return 1
    print("PASS: nothing accepted is lost, no conversion is credited twice")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
