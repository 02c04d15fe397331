"""Running the micro-benchmarks of this package with pytest-benchmark."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import NormalDist, fmean, median, stdev
from tempfile import TemporaryDirectory
from typing import Any, TextIO, cast

from bench.halves import Speeds
from bench.importing import import_fault
from core.errors import InputError, InvalidRun

BENCHMARKS = Path(__file__).with_name("benchmarks")
CONFIDENCE = 0.95
FEWEST_ROUNDS = 30
"""Rounds before the margin may end a measurement: with fewer, a lucky start may end it."""

OnBenchmark = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """The requested relative margin, and the most seconds that a benchmark may take for it."""

    margin: float = 0.01
    seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The times of one benchmark, in seconds per call.

    low, high: the 95 % interval of the median. margin: half of the mean's 95 % interval over the
    mean. Both hold for this process; others have another memory layout and hash seed.
    """

    name: str
    median: float
    low: float
    high: float
    mean: float
    margin: float
    rounds: int
    iterations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The results of a run; *work* is the time of the fixed work in it, in nanoseconds."""

    figures: tuple[Figure, ...]
    failed: tuple[str, ...]
    not_measured: tuple[str, ...]
    is_interrupted: bool
    work: float | None
    halves: float | None
    """The time of the fixed work in the second half over that in the first."""
    line: str
    """The first line of the results if the halves' speeds differ."""
    json: bytes = b""
    """pytest-benchmark's own format, if it was requested."""


def run_benchmarks(
    *,
    select: str | None = None,
    with_json: bool = False,
    precision: Precision = Precision(),
    on_benchmark: OnBenchmark | None = None,
    suite: Path = BENCHMARKS,
    speeds: Speeds | None = None,
) -> Run:
    """Measure the benchmarks of *suite* whose name holds *select*.

    Pytest's reports of failures go to standard error. *with_json*: also keep pytest-benchmark's own
    format. Raise InputError if pytest-benchmark is not installed, no benchmark was chosen, or
    an option cannot be used, InvalidRun if pytest itself fails.
    """
    for name in ("pytest", "pytest_benchmark"):
        if fault := import_fault(name):
            raise InputError(
                f"bench run needs pytest-benchmark; {name} is {fault}: install edgeproof[bench]"
            )
    import pytest  # an extra, and slow to import

    session = _Session(speeds or Speeds(), on_benchmark)
    # pytest-benchmark makes its storage folder even if nothing is stored.
    with TemporaryDirectory(prefix="edgeproof-bench-") as storage:
        # Without the settings of the current folder, and without rewriting imported modules.
        arguments = [
            str(suite), "-c", os.devnull, "--assert=plain", "-p", "no:cacheprovider",
            "-qq", "--no-header", "--no-summary", "--capture=no", "--import-mode=importlib",
            "-o", "python_files=bench_*.py", "-o", "console_output_style=classic",
            "--rootdir", str(suite),
            "--benchmark-only", "--benchmark-quiet", f"--benchmark-storage=file://{storage}",
            *_measuring(precision),
        ]  # fmt: skip
        if select:
            arguments += ["-k", select]
        # The requested place may have no room, and the measurements would be lost.
        file = Path(storage, "run.json")
        if with_json:
            arguments += [f"--benchmark-json={file}"]
        with redirect_stdout(cast(TextIO, _Said(sys.stderr))):
            code = pytest.main(arguments, plugins=[session])
        data = file.read_bytes() if file.exists() else b""
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise InputError(f"-k {select}: no benchmark's name holds that; leave -k out to run all")
    if code == pytest.ExitCode.USAGE_ERROR:
        raise InputError("bench run: pytest cannot use -k as given; see above")
    if code == pytest.ExitCode.INTERNAL_ERROR:
        raise InvalidRun("bench run: pytest ended by an error of its own; see above")
    # pytest returns the same code for files that it cannot import: nothing is measured then.
    has_begun = session.begun > 0 or not session.failed
    run = session.run(is_interrupted=code == pytest.ExitCode.INTERRUPTED and has_begun)
    return replace(run, json=data)


class _Said:
    """Standard error for pytest, whose empty lines part what it does not print here."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_start = True

    def write(self, text: str) -> int:
        if self._is_start and not text.strip("\n"):
            return len(text)
        self._is_start = text.endswith("\n")
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _measuring(precision: Precision) -> Iterator[str]:
    """Yield the options of pytest-benchmark that set the amount of measurement.

    Its calibration assumes that all calls take as long as the first: a slow first call leaves the
    fewest rounds and no precision. With a warm-up of one call it uses the shorter of two.
    """
    yield from ("--benchmark-warmup=on", "--benchmark-warmup-iterations=1")
    # Its margin uses a normal quantile; the margin shown here uses Student's and is wider.
    normal = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    asked = precision.margin * normal / _student(FEWEST_ROUNDS)
    yield f"--benchmark-precision={asked:.9f}"
    yield f"--benchmark-confidence={CONFIDENCE}"
    yield f"--benchmark-min-rounds={FEWEST_ROUNDS}"
    yield f"--benchmark-max-time={precision.seconds:.9f}"


@dataclass(slots=True)
class _Session:
    """The reports of pytest and pytest-benchmark about the run, through their hooks."""

    speeds: Speeds
    on_benchmark: OnBenchmark | None
    names: list[str] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    measured: dict[str, Figure] = field(default_factory=dict)
    begun: int = 0

    def pytest_collection_finish(self, session: Any) -> None:
        self.names = [item.nodeid for item in session.items]

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._fails(report)

    def pytest_runtest_setup(self, item: Any) -> None:
        self.begun += 1
        self.speeds.sample()
        if self.on_benchmark is not None:
            self.on_benchmark(self.begun, len(self.names), item.nodeid)

    def pytest_runtest_teardown(self, item: Any) -> None:
        fixture = item.funcargs.get("benchmark")
        if fixture is not None and fixture.stats:  # a skipped benchmark has none
            stats = fixture.stats.stats
            self.measured[item.nodeid] = figure(item.nodeid, stats.data, fixture.stats.iterations)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._fails(report)
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    def _fails(self, report: Any) -> None:
        self.passed.discard(report.nodeid)
        if report.nodeid not in self.failed:
            self.failed.append(report.nodeid)
        print(f"{report.nodeid} fails:\n{report.longreprtext}", file=sys.stderr)

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str]:
        return report.outcome, "", ""  # no dots: a line for each benchmark is printed

    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Leave failed and interrupted benchmarks out of pytest-benchmark's file."""
        output_json["benchmarks"] = [
            one for one in output_json["benchmarks"] if one["fullname"] in self.passed
        ]

    def pytest_sessionfinish(self, session: Any) -> None:
        self.speeds.sample()

    def run(self, *, is_interrupted: bool) -> Run:
        """Return the measurements."""
        figures = tuple(
            self.measured[name]
            for name in self.names
            if name in self.passed and name in self.measured
        )
        known = {one.name for one in figures} | {*self.failed}
        return Run(
            figures=figures,
            failed=tuple(self.failed),
            not_measured=tuple(name for name in self.names if name not in known),
            is_interrupted=is_interrupted,
            work=self.speeds.work,
            halves=self.speeds.ratio(),
            line=self.speeds.line(),
        )


def figure(name: str, times: Sequence[float], iterations: int = 1) -> Figure:
    """Return the summary of *times*, the seconds per call of each round.

    The median's interval is that of its order statistics (David & Nagaraja, Order Statistics, 2003,
    section 7.1), which assumes nothing about the times' distribution. Below six rounds there is
    none at 95 %, and it is their range. The mean's margin is Student's; of one round it is
    infinite. Raise ValueError without times, or for one that is no positive number.
    """
    if not times or not all(math.isfinite(time) and time > 0 for time in times):
        raise ValueError(f"{name}: a time is no positive number")
    from scipy.stats import binom  # slow to import

    ordered, count, mean = sorted(times), len(times), fmean(times)
    rank = max(1, int(binom.ppf((1 - CONFIDENCE) / 2, count, 0.5)))
    margin = math.inf
    if count > 1:
        margin = _student(count) * stdev(times) / math.sqrt(count) / mean
    return Figure(
        name=name, median=median(ordered), low=ordered[rank - 1], high=ordered[count - rank],
        mean=mean, margin=margin, rounds=count, iterations=iterations,
    )  # fmt: skip


def _student(rounds: int) -> float:
    """Return Student's quantile for the two-sided interval of the mean of *rounds*."""
    from scipy.special import stdtrit

    return float(stdtrit(rounds - 1, (1 + CONFIDENCE) / 2))
