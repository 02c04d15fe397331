"""kill -9 of a running service at random points: `python -m bench.kills --points 1000`.

Visitors send touches and conversions to two workers as fast as they are answered, and again what
was not. At random moments a worker or the consumer is killed, also while another one starts. At the
end every accepted event has to be in the database, and every conversion credited once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.shoppers import Shoppers
from core.errors import EdgeproofError
from core.scenario.file import load_scenario
from core.service.crew import RunningService
from core.service.launcher import running_service
from scenarios.catalogue import find_scenario

_LONGEST_PAUSE = 0.3
_SHOWN = 50


def kill_at_random(
    service: RunningService, points: int, rng: np.random.Generator, killed: Counter[str]
) -> None:
    """Kill *points* times, mend after each, and count in *killed* who it was."""
    for number in range(1, points + 1):  # Ctrl-C ends it, and what was done is checked
        time.sleep(float(rng.uniform(0, _LONGEST_PAUSE)))
        mortals = [one for one in service.processes if one.name.startswith(("worker", "the cons"))]
        victim = mortals[int(rng.integers(len(mortals)))]
        os.kill(victim.pid, signal.SIGKILL)
        while not victim.ended():
            time.sleep(0.001)
        service.mend()
        killed[victim.name] += 1
        if number % _SHOWN == 0:
            print(f"  {number:,} of {points:,}", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Kill, check, and print what was found; return 1 if something is lost or doubled."""
    parser = argparse.ArgumentParser(prog="python -m bench.kills", description=__doc__)
    parser.add_argument("--points", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=100.0, help="requests/s")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    scenario = load_scenario(
        find_scenario("baseline"),
        overrides=["topology.processes=2", "topology.isolates=1", "queue.wait=20ms"],
    )
    rng = np.random.Generator(np.random.Philox(key=options.seed))
    with TemporaryDirectory(prefix="edgeproof-kills-") as temporary:
        folder = Path(temporary)
        try:
            with running_service(
                scenario, token=None, folder=folder, emulate=False, populate=False,
                mends=options.points + 1,
            ) as service:  # fmt: skip
                shoppers = Shoppers(service.urls, rate=options.rate, seed=options.seed)
                shoppers.start()
                killed: Counter[str] = Counter()
                with suppress(KeyboardInterrupt):
                    kill_at_random(service, options.points, rng, killed)
                shoppers.stop()
        except EdgeproofError as error:
            print(f"FAIL: {error}")
            return 1
        faults = shoppers.accepted.faults(folder / "cdp.sqlite")
    whom = ", ".join(f"{name} {count:,}" for name, count in sorted(killed.items()))
    accepted = shoppers.accepted
    print(f"{sum(killed.values()):,} kills ({whom}); {len(shoppers.failures):,} requests failed,")
    print(
        f"{len(accepted.touches):,} touches and {len(accepted.conversions):,} conversions accepted"
    )
    for fault in faults:
        print(f"FAIL: {fault}")
    if not faults:
        print("PASS: nothing accepted is lost, no conversion is credited twice")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
