"""What a request costs the load generator, and how late it sends, for several versions in turns.

`python -m bench.generator PYTHON...` takes the interpreters of environments with edgeproof and
loads a small local server from each in turn. It prints for each version and rate the generator's
CPU time of a request (the median over the rounds, of one core) and p99 of its lag (the median).
With --highest it looks for the highest rate of each with a median p99 lag below 2 ms, in steps of
3 %. With --locust a plain FastHttpUser of Locust, paced to the same rate with as many requests of
the same kind, runs in turn with them; it knows no lag.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_ANSWER = (
    b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: 11\r\n"
    b'Cache-Status: L1; hit; key="lookup"\r\nServer-Timing: l1;dur=0.01, total;dur=0.10\r\n\r\n'
    b'{"ok":true}'
)
_SCENARIO = """name = "generator"
start = "cold"
warm_up = "1s"
timeout = "3s"
[traffic]
stages = [{ rate = 200 }]
"""


_LOCUSTFILE = """import json
from pathlib import Path
from time import perf_counter, process_time
from locust import FastHttpUser, constant_throughput, events, task

begun = []

class Visitor(FastHttpUser):
    wait_time = constant_throughput({rate} / {users})

    @task
    def track(self):
        self.client.post("/track", data=b'{body}', headers={{"Content-Type": "application/json"}})

@events.spawning_complete.add_listener
def begin(**_):
    begun.extend((process_time(), perf_counter(), environment[0].stats.total.num_requests))

environment = []

@events.init.add_listener
def keep(environment, **_):
    globals()["environment"].append(environment)

@events.test_stop.add_listener
def end(environment, **_):
    cpu, wall, before = begun[-3:]
    sent = environment.stats.total.num_requests - before
    told = {{"cpu": (process_time() - cpu) / sent, "rate": sent / (perf_counter() - wall)}}
    Path("told.json").write_text(json.dumps(told))
"""
LOCUST = "plain FastHttpUser"
HIGHEST_LAG = 0.002
_STEP = 1.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One load: CPU seconds of a request, p99 of the lag in seconds (NaN: not known), requests/s.

    rate: what was reached, NaN where it was not asked.
    """

    cpu: float
    lag_p99: float
    rate: float = math.nan


class _Server(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # of TCP

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /api/"):
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif data.startswith(b"POST") and b"\r\n\r\n{" in data:
            self._transport.write(_ANSWER % b"202 Accepted")
        elif data.startswith((b"GET", b"{")):
            is_get = data.startswith(b"GET")
            self._transport.write(_ANSWER % (b"200 OK" if is_get else b"202 Accepted"))


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def load(python: str, url: str, folder: Path, *, rate: float, seconds: float) -> Sent:
    """Load *url* with the edgeproof of *python*; RuntimeError if it leaves no record."""
    scenario = folder / "generator.toml"
    scenario.write_text(_SCENARIO, encoding="utf-8")
    out = folder / "run"
    done = subprocess.run(
        [
            os.path.abspath(python), "-m", "edgeproof", "load", str(scenario), "--host", url,
            "--rate", f"{rate:g}",
            "--set", f"duration={seconds:g}s", "--max-rate", "100000", "--out", str(out), "--plain",
        ],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    try:
        facts = json.loads((out / "load" / "audit.json").read_text(encoding="utf-8"))["facts"]
        audit = json.loads((out / "record.json").read_text(encoding="utf-8"))["audit"]
    except OSError:
        raise RuntimeError(
            f"{python}: no result: {done.stdout[-500:]}{done.stderr[-500:]}"
        ) from None
    return Sent(cpu=facts["cpu_seconds"] / audit["sent"], lag_p99=audit["lag_p99"])


def plain_locust(python: str, url: str, folder: Path, *, rate: float, seconds: float) -> Sent:
    """Load *url* with a FastHttpUser of *python*'s Locust; RuntimeError if it tells nothing."""
    users = max(1, min(50, round(rate / 50)))
    body = json.dumps({"event_id": "e", "user": "u", "kind": "view", "profile": "x" * 200})
    text = _LOCUSTFILE.format(rate=rate, users=users, body=body)
    (folder / "locustfile.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            os.path.abspath(python), "-m", "locust", "--headless", "--host", url, "--users",
            f"{users}", "--spawn-rate", f"{users}", "--run-time", f"{seconds + 1:g}s",
        ],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    except OSError:
        raise RuntimeError(f"{LOCUST}: no result: {done.stderr[-500:]}") from None
    return Sent(cpu=told["cpu"], lag_p99=math.nan, rate=told["rate"])


@contextmanager
def server() -> Iterator[str]:
    """Start the small server in a process of its own and yield its URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import asyncio, bench.generator as g; asyncio.run(g._serve())"],
        stdout=subprocess.PIPE,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the server has no pipe")
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


Send = Callable[[str, float], Sent]


def costs(senders: Sequence[str], rates: Sequence[float], send: Send, *, rounds: int) -> None:
    """Print a line for each of *senders* and *rates*; *send* loads once."""
    found: dict[tuple[str, float], list[Sent]] = defaultdict(list)
    for number in range(rounds):
        for rate in rates:
            for sender in senders[:: -1 if number % 2 else 1]:
                found[sender, rate].append(send(sender, rate))
    print(f"{'rate/s':>8}{'CPU us':>9}{'p99 lag ms':>12}  sender")
    for (sender, rate), loads in sorted(found.items(), key=lambda item: item[0][1]):
        cpu = statistics.median(each.cpu for each in loads) * 1e6
        lag = statistics.median(each.lag_p99 for each in loads) * 1e3
        reached = statistics.median(each.rate for each in loads)
        at = "" if math.isnan(reached) else f" (reached {reached:.0f}/s)"
        print(f"{rate:>8g}{cpu:>9.0f}{_lag(lag):>12}  {sender}{at}")


def _lag(milliseconds: float) -> str:
    return "-" if math.isnan(milliseconds) else f"{milliseconds:.2f}"


def highest(senders: Sequence[str], start: float, send: Send, *, rounds: int) -> None:
    """Print for each of *senders* the highest rate from *start* on with a lag below the limit.

    All go up in the same steps, in turns; one that is above the limit twice in a row ends there.
    """
    best = dict.fromkeys(senders, 0.0)
    above = dict.fromkeys(senders, 0)
    rate = start
    while going := [sender for sender in senders if above[sender] < 2]:
        lags: dict[str, list[float]] = defaultdict(list)
        for number in range(rounds):
            for sender in going[:: -1 if number % 2 else 1]:
                lags[sender].append(send(sender, rate).lag_p99)
        for sender in going:
            is_late = statistics.median(lags[sender]) >= HIGHEST_LAG
            above[sender] = above[sender] + 1 if is_late else 0
            best[sender] = best[sender] if is_late else rate
        rate *= _STEP
    print(f"highest rate/s with p99 lag below {HIGHEST_LAG * 1e3:g} ms")
    for sender, reached in best.items():
        print(f"{reached:>8.0f}  {reached / best[senders[0]]:.3f}  {sender}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of versions and rates, or the highest rates."""
    parser = argparse.ArgumentParser(prog="python -m bench.generator", description=__doc__)
    parser.add_argument("python", nargs="+", help="interpreter of an environment with edgeproof")
    parser.add_argument("--rates", default="500,1500", help="requests/s, separated by commas")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--locust", action="store_true", help="a plain FastHttpUser, too")
    parser.add_argument("--highest", type=float, metavar="RATE", help="search from RATE upwards")
    options = parser.parse_args(arguments)
    with server() as url:

        def send(sender: str, rate: float) -> Sent:
            with tempfile.TemporaryDirectory() as folder:
                one = plain_locust if sender == LOCUST else load
                python = options.python[0] if sender == LOCUST else sender
                return one(python, url, Path(folder), rate=rate, seconds=options.seconds)

        if options.highest is not None:
            highest(options.python, options.highest, send, rounds=options.rounds)
            return
        senders = [*options.python, *([LOCUST] if options.locust else [])]
        rates = [float(rate) for rate in options.rates.split(",")]
        costs(senders, rates, send, rounds=options.rounds)


if __name__ == "__main__":
    main()
