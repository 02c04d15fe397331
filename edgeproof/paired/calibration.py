"""The comparison's rates of false alarms and of found slowdowns, on this machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic

from edgeproof.paired.comparison import compare
from edgeproof.paired.request import Request, prepared
from edgeproof.paired.result import Comparison, Rules
from edgeproof.paired.verdicts import Word

ALONE = (
    *("-c", os.devnull, "--import-mode=importlib", "--disable-plugin-autoload"),
    *("-p", "pytest_benchmark.plugin"),
)
"""Options that exclude a folder's settings, and all plugins except the needed one."""
CONFIDENCE = 0.95
_UNITS = 2_000
"""Units of work in a call: some 90 µs, in which a slowdown of 1 % is 20 units."""

# Loops, and a call that allocates, because processes differ in their memory.
_PACKAGE = """
UNITS = {units}

def loop():
    total = 0
    for number in range(UNITS[0]):
        total += number & 7
    return total

def build():
    return {{number: [number] for number in range(UNITS[1])}}

def short():
    total = 0
    for number in range(UNITS[2]):
        total += number
    return total
"""
_SUITE = """
import subject

def test_loop(benchmark):
    benchmark(subject.loop)

def test_build(benchmark):
    benchmark(subject.build)

def test_short(benchmark):
    benchmark(subject.short)
"""
_NAMES = ("test_loop", "test_build", "test_short")
_SIZES = (_UNITS, _UNITS // 2, _UNITS // 20)

Compared = Callable[[Sequence[float]], Comparison]
"""Compares two versions whose benchmarks differ by these slowdowns, in the order of _NAMES."""


@dataclass(slots=True)
class Rate:
    """The outcomes of benchmarks, or of suites, that were slowed down by the same share."""

    planted: float
    tried: int = 0
    failed: int = 0
    slower: int = 0
    undecided: int = 0
    ratios: list[float] = field(default_factory=list)

    @property
    def at_most(self) -> float:
        """The upper bound of the share that fails, after Clopper and Pearson."""
        from scipy.special import betaincinv

        if self.failed == self.tried:
            return 1.0
        return float(betaincinv(self.failed + 1, self.tried - self.failed, CONFIDENCE))

    @property
    def at_least(self) -> float:
        """The lower bound of the share that fails."""
        from scipy.special import betaincinv

        if self.failed == 0:
            return 0.0
        return float(betaincinv(self.failed, self.tried - self.failed + 1, 1 - CONFIDENCE))


@dataclass(slots=True)
class Calibration:
    """Suites of unchanged code, and planted slowdowns."""

    unchanged: Rate
    planted: list[Rate]
    seconds: list[float] = field(default_factory=list)
    processes: int = 0
    is_interrupted: bool = False


def calibrate(
    suites: int,
    slowdowns: Sequence[float],
    compared: Compared,
    *,
    say: Callable[[str], None],
    clock: Callable[[], float] = monotonic,
) -> Calibration:
    """Compare *suites* of unchanged code, and as many with each slowdown in turn on a benchmark.

    Unchanged suites count as a whole: a single benchmark that fails is an alarm. An interrupt keeps
    the finished ones.
    """
    found = Calibration(unchanged=Rate(0.0), planted=[Rate(share) for share in slowdowns])
    try:
        for number in range(suites):
            started = clock()
            one = compared([0.0] * len(_NAMES))
            _interrupt_if(one)
            _count(found, found.unchanged, one, range(len(_NAMES)))
            found.seconds.append(clock() - started)
            for first in range(0, len(slowdowns), len(_NAMES)):
                chosen = slowdowns[first : first + len(_NAMES)]
                # Each slowdown is planted in each kind of benchmark.
                places = [(number + index) % len(_NAMES) for index in range(len(chosen))]
                planted = [0.0] * len(_NAMES)
                for place, share in zip(places, chosen, strict=True):
                    planted[place] = share
                slowed = compared(planted)
                _interrupt_if(slowed)
                for index, place in enumerate(places):
                    _count(found, found.planted[first + index], slowed, [place])
            say(f"{number + 1} of {suites}: {_told(found)}")
    except KeyboardInterrupt:
        found.is_interrupted = True
    return found


def _interrupt_if(one: Comparison) -> None:
    if one.is_interrupted:  # an interrupted suite does not count
        raise KeyboardInterrupt


def _count(found: Calibration, rate: Rate, one: Comparison, places: Sequence[int]) -> None:
    names = {_NAMES[place] for place in places}
    rows = [row for row in one.rows if row.name.rpartition("::")[2] in names]
    rate.tried += 1
    rate.failed += any(row.is_regression for row in rows)
    rate.slower += any(row.verdict.word is Word.SLOWER for row in rows)
    rate.undecided += any(row.verdict.word is Word.UNDECIDED for row in rows)
    rate.ratios += [row.verdict.ratio for row in rows]
    found.processes += one.processes


def _told(found: Calibration) -> str:
    power = ", ".join(
        f"{rate.failed} of {rate.tried} at {100 * rate.planted:g} %" for rate in found.planted
    )
    alarms = f"{found.unchanged.failed} false alarms"
    return f"{alarms}; found {power}" if power else alarms


@contextmanager
def subjects(rules: Rules, *, apart: bool) -> Iterator[Compared]:
    """Yield a function that compares two made-up versions in real processes."""
    with tempfile.TemporaryDirectory(prefix="edgeproof-calibrate-") as folder:
        place = Path(folder).resolve()

        def compared(slowdowns: Sequence[float]) -> Comparison:
            for side, shares in (("base", [0.0] * len(_NAMES)), ("head", slowdowns)):
                units = [round(n * (1 + s)) for n, s in zip(_SIZES, shares, strict=True)]
                for name, text in (
                    ("subject/__init__.py", _PACKAGE.format(units=units)),
                    ("benchmarks/test_subject.py", _SUITE),
                ):
                    path = place / side / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text, encoding="utf-8")
            asked = Request(
                base="./base", head="./head", project=place, suite=("benchmarks",),
                options=ALONE, apart=apart,
            )  # fmt: skip
            ready = prepared(asked, lambda _: None)
            return compare(ready.task, rules, say=lambda *_: None)

        yield compared


def lines(found: Calibration, rules: Rules) -> Iterator[str]:
    """Yield the table and the bounds that follow from the figures."""
    yield "planted   suites  fail the gate  bound       read SLOWER  UNDECIDED  median head/base"
    for rate in (found.unchanged, *found.planted):
        if not rate.tried:
            continue
        name = f"{100 * rate.planted:g} %" if rate.planted else "nothing"
        bound = f"<= {rate.at_most:.1%}" if not rate.planted else f">= {rate.at_least:.1%}"
        yield (
            f"{name:<8}  {rate.tried:>6}  {rate.failed:>13}  {bound:<10}  {rate.slower:>11}  "
            f"{rate.undecided:>9}  {median(rate.ratios):>16.3f}"
        )
    if found.unchanged.tried:
        yield (
            f"False alarms: {found.unchanged.failed} of {found.unchanged.tried} suites of "
            f"{len(_NAMES)} benchmarks, so that at {CONFIDENCE:.0%} at most "
            f"{found.unchanged.at_most:.1%} of suites of unchanged code fail on this machine."
        )
        yield (
            f"Limit {100 * rules.limit:g} %; "
            f"{median(found.seconds) / len(_NAMES):.1f} s a benchmark of unchanged code."
        )
    if found.is_interrupted:
        yield "Interrupted: what was finished by then."
