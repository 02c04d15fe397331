"""What a pause between requests costs: `python -m bench.pauses [shop|plain] [--rounds N]`.

One client asks a service for the same journey: at 8 requests/s, at 40/s, and at 40/s for a fifth of
the time, in turns, so that what else the machine does meets all of them. A calibration of a
scenario of 40 requests/s sends as in the last of them.
"""

from __future__ import annotations

import argparse
import http.client
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.learning import serving
from core.errors import InputError

PATH = "/api/journey/u1"
TURNS = (("8/s", 8.0, 8.0, 0.0), ("40/s", 40.0, 4.0, 6.0), ("40/s for 2 of 8 s", 40.0, 2.0, 6.0))
"""Name, requests/s, seconds of sending, seconds of silence after it."""


def ask(connection: http.client.HTTPConnection) -> float:
    """Return the seconds of one request."""
    began = time.perf_counter()
    connection.request("GET", PATH)
    connection.getresponse().read()
    return time.perf_counter() - began


def turn(
    connection: http.client.HTTPConnection, rate: float, seconds: float, rng: np.random.Generator
) -> list[float]:
    """Return the latencies of Poisson arrivals at *rate* for *seconds*."""
    due = time.perf_counter()
    end = due + seconds
    found: list[float] = []
    while (due := due + float(rng.exponential(1 / rate))) < end:
        time.sleep(max(0.0, due - time.perf_counter()))
        found.append(ask(connection))
    return found


def main(arguments: Sequence[str]) -> int:
    """Print the quartile and the median of each way of sending, and their ratios to 40/s."""
    parser = argparse.ArgumentParser(prog="python -m bench.pauses", description=__doc__)
    parser.add_argument("service", nargs="?", default="shop", choices=("shop", "plain"))
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args(arguments)
    found: dict[str, list[float]] = {name: [] for name, *_ in TURNS}
    rng = np.random.default_rng(1)
    try:
        with (
            TemporaryDirectory() as folder,
            serving(options.service, Path(folder)) as (url,),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", int(url.rsplit(":", 1)[1]))
            for _ in range(20):
                ask(connection)
            for _ in range(options.rounds):
                for name, rate, seconds, silence in TURNS:
                    found[name] += turn(connection, rate, seconds, rng)
                    time.sleep(silence)
    except (InputError, OSError, subprocess.SubprocessError) as error:
        print(f"bench.pauses: {error}", file=sys.stderr)
        return 2
    usual = np.quantile(found["40/s"], (0.25, 0.5))
    for name, latencies in found.items():
        lower, median = np.quantile(latencies, (0.25, 0.5))
        print(
            f"{name:18} n {len(latencies):5,}  quartile {1e3 * lower:5.2f} ms "
            f"({lower / usual[0]:.2f})  median {1e3 * median:5.2f} ms ({median / usual[1]:.2f})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
