"""How well unknown services are predicted: `python -m bench.learning [--token] [SERVICE...]`.

Each service is started afresh and proved by `edgeproof prove --host` with no time written by hand:
at the scenario's rate, from what a fifth of it taught, and at twice that rate, from the same
calibration. Of fewer than 5,000 samples an error counts as within its goal where its 99 % interval
reaches into the goal. What the generator was later than usual with is taken off the measured times,
as it is when a service is learned: it is no time of the service.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.typing import NDArray

from bench.redis_server import redis_server
from core.errors import InputError
from core.metrics.kpi import parse_metric
from core.metrics.record import RunRecord, read_record
from core.scenario.file import parse_scenario
from core.wire import TOKEN_VARIABLE
from scenarios.lateness import unhurried
from scenarios.outside import border_of
from scenarios.result import LoadResult

ENOUGH = 5000
"""Samples of an endpoint from which on its error is judged without an interval."""

_RESAMPLES, _BLOCKS = 1000, 25
_STUB = """
name = "stub"
duration = "{seconds}s"
warm_up = "0s"
start = "cold"
timeout = "3s"
[traffic]
stages = [{{ rate = 40 }}]
conversions = 4000
[topology]
isolates = 1
[tiers]
single_flight = false
[endpoints.track]
status = 201
"""
_SHOP = """
name = "{name}"
duration = "{seconds}s"
warm_up = "0s"
start = "cold"
timeout = "3s"
[traffic]
stages = [{{ rate = 40 }}]
users = 2000
[endpoints]
track = {{ weight = 0.3, status = 201 }}
attribution.weight = 0.0
journey.weight = 0.7
channels.weight = 0.0
[topology]
isolates = 1
[tiers]
single_flight = false
"""
_REDIS = """
name = "redis"
duration = "{seconds}s"
warm_up = "0s"
start = "cold"
[traffic]
stages = [{{ rate = 60 }}]
[topology]
processes = 2
"""
SCENARIOS = {
    "stub": _STUB,
    "plain": _SHOP,
    "shop": _SHOP,
    "redis": _REDIS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """How far a prediction was off; seconds.

    interval: of predicted/measured - 1, by resampling blocks of the same requests on both sides.
    """

    endpoint: str
    quantile: float
    samples: int
    predicted: float
    measured: float
    interval: tuple[float, float]
    goal: float
    is_judged: bool = True

    @property
    def relative(self) -> float:
        """predicted/measured - 1."""
        return self.predicted / self.measured - 1

    @property
    def holds(self) -> bool:
        """Whether the error is within its goal, or with few samples may be."""
        low, high = self.interval
        is_within = abs(self.relative) <= self.goal
        return is_within or (self.samples < ENOUGH and low <= self.goal and high >= -self.goal)


def paired_interval(
    predicted: NDArray[np.float64], measured: NDArray[np.float64], quantile: float
) -> tuple[float, float]:
    """Return the 99 % interval of predicted/measured - 1 of a quantile of the same requests.

    Blocks of requests in a row are drawn together, since neighbours wait for the same queries.
    """
    blocks = np.array_split(np.arange(predicted.size), _BLOCKS)
    draws = np.random.default_rng(1).integers(0, _BLOCKS, (_RESAMPLES, _BLOCKS))
    errors = []
    for draw in draws.tolist():
        chosen = np.concatenate([blocks[block] for block in draw])
        p, m = (np.quantile(side[chosen], quantile) for side in (predicted, measured))
        errors.append(p / m - 1)
    low, high = np.quantile(errors, (0.005, 0.995))
    return float(low), float(high)


def errors_of(proof: Path, goals: tuple[float, float], *, outside: bool) -> list[Error]:
    """Return the errors of p50 and p95 of each endpoint of the proof in *proof*.

    outside: no percentile within two points of the share of fast answers is judged.
    """
    sides = [np.load(proof / side / "requests.npz") for side in ("predicted", "measured")]
    record = read_record(proof / "measured" / "record.json")
    rows = LoadResult.read(proof / "load").rows
    late = np.zeros(len(sides[1]["latency"]))
    late[rows.index] = rows.latency - unhurried(rows, np.isfinite(rows.latency))
    asked_in_time = sides[1]["latency"].astype(float) - np.nan_to_num(late)
    names = parse_scenario(record.scenario, source="record.json").endpoints.names
    found = []
    for code, name in enumerate(names):
        mine = sides[1]["endpoint"] == code
        if np.count_nonzero(mine) < 100:
            continue
        p, m = sides[0]["latency"][mine].astype(float), asked_in_time[mine]
        border = border_of(m) if outside else None
        share = None if border is None else float((m < border).mean())
        for quantile, goal in zip((0.5, 0.95), goals, strict=True):
            found.append(
                Error(
                    endpoint=name,
                    quantile=quantile,
                    samples=m.size,
                    predicted=float(np.quantile(p, quantile)),
                    measured=float(np.quantile(m, quantile)),
                    interval=paired_interval(p, m, quantile),
                    goal=goal,
                    is_judged=share is None or abs(quantile - share) > 0.02,
                )
            )
    return found


@contextmanager
def serving(service: str, folder: Path) -> Iterator[list[str]]:
    """Run a fresh *service* and yield its URLs."""
    with ExitStack() as stack:
        if service == "redis":
            store = stack.enter_context(redis_server(folder))
            command = ["-m", "edgeproof", "serve", str(folder / "redis.toml"), "--redis", store.url,
                       "--port", "0"]  # fmt: skip
            count = 2
        else:
            command, count = ["-m", "bench.foreign", service], 1
        kept = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, *command], stdout=subprocess.PIPE, text=True, env=kept
            )
        )
        stack.callback(process.terminate)
        assert process.stdout is not None
        yield [_url(process.stdout.readline()) for _ in range(count)]


def _url(line: str) -> str:
    text = line.strip()
    if text.isdigit():
        return f"http://127.0.0.1:{text}"
    found = [word.rstrip(".,") for word in text.split() if word.startswith("http://")]
    if not found:
        raise InputError(f"the service did not start: {text!r}")
    return found[0]


def prove(service: str, folder: Path, factor: int, *, token: bool) -> None:
    """Prove a fresh *service* at *factor* times its rate, in a folder of *folder*."""
    proof = folder / f"{service}-{factor}x"
    with serving(service, folder) as urls:
        command = ["prove", str(folder / f"{service}.toml"), "--out", str(proof), "--plain"]
        command += [word for url in urls for word in ("--host", url)]
        if factor != 1:
            known = folder / f"{service}-1x" / "calibration.toml"
            command += ["--rate", f"{factor}x", "--calibration", str(known)]
        variables = {**os.environ, **({TOKEN_VARIABLE: "of-no-use"} if token else {})}
        done = subprocess.run(
            [sys.executable, "-m", "edgeproof", *command],
            capture_output=True, text=True, check=False, env=variables,
        )  # fmt: skip
    (folder / f"{service}-{factor}x.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode not in (0, 1, 3):
        raise InputError(f"prove {service}: exit code {done.returncode}: {done.stderr[-500:]}")


def lines(service: str, factor: int, proof: Path) -> Iterator[str]:
    """Yield what a proof came to, a line each."""
    records = [read_record(proof / side / "record.json") for side in ("predicted", "measured")]
    ratios = [_hit_ratio(record) for record in records]
    audit = records[1].audit
    invalid = "" if audit is None or not audit.invalid else f"; INVALID: {audit.invalid[0]}"
    yield f"{service} at {factor}x: {records[1].planned:,} requests{invalid}"
    if None in ratios:
        yield "  hit ratio not seen"
    else:
        predicted, measured = (100 * float(ratio or 0) for ratio in ratios)
        word = "holds" if abs(predicted - measured) <= 0.5 else "MISSED"
        yield (
            f"  hit ratio    {predicted:6.2f} % predicted, {measured:6.2f} % measured: "
            f"{predicted - measured:+.2f} points (0.5)  {word}"
        )
    outside = service == "plain"
    for error in errors_of(proof, (0.1, 0.15) if outside else (0.05, 0.1), outside=outside):
        low, high = error.interval
        word = "holds" if error.holds else "MISSED"
        yield (
            f"  p{100 * error.quantile:.0f} {error.endpoint:12} {1e3 * error.predicted:8.2f} ms "
            f"predicted, {1e3 * error.measured:8.2f} ms measured: {error.relative:+.1%} "
            f"[{low:+.1%}, {high:+.1%}] ({error.goal:.0%}, n {error.samples:,})  "
            f"{word if error.is_judged else 'not judged: beside the share of fast answers'}"
        )


def _hit_ratio(record: RunRecord) -> float | None:
    return record.metric(parse_metric("hit_ratio")) if record.reads else None


def main(arguments: Sequence[str]) -> int:
    """Print how far off the predictions of the services were; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.learning", description=__doc__)
    parser.add_argument("service", nargs="*", metavar="SERVICE", help=", ".join(SCENARIOS))
    parser.add_argument("--seconds", type=int, default=60, help="of each measurement")
    parser.add_argument("--token", action="store_true", help="set EDGEPROOF_TOKEN, to no use")
    parser.add_argument("--read", action="store_true", help="judge the proofs in --out again")
    parser.add_argument("--out", type=Path, help="keep the proofs in this folder")
    options = parser.parse_args(arguments)
    folder = options.out or Path(mkdtemp(prefix="learning-"))
    folder.mkdir(parents=True, exist_ok=True)
    missed = 0
    try:
        for service in options.service or SCENARIOS:
            if service not in SCENARIOS:
                raise InputError(f"{service}: no such service; there are {', '.join(SCENARIOS)}")
            text = SCENARIOS[service].format(name=service, seconds=options.seconds)
            (folder / f"{service}.toml").write_text(text, encoding="utf-8")
            for factor in (1, 2):
                proof = folder / f"{service}-{factor}x"
                if not options.read:
                    prove(service, folder, factor, token=options.token)
                    print(f"load average of the machine: {os.getloadavg()[0]:.1f}")
                for line in lines(service, factor, proof):
                    missed += "MISSED" in line
                    print(line, flush=True)
    except InputError as error:
        print(f"bench.learning: {error}", file=sys.stderr)
        return 2
    print(f"The proofs are in {folder}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
