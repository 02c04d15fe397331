"""A promise about speed: what is held against what, its limit, and how one process measures it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from bench.paired import FEWEST_BLOCKS, Ratio, paired_ratio

Pairs = Sequence[tuple[float, float]]
"""What the measure and ours took in each turn of one process; their unit is the promise's own."""

Timer = Callable[[int], float]
"""Makes so many calls and returns the nanoseconds of one."""

LOOKS = (FEWEST_BLOCKS, 2 * FEWEST_BLOCKS, 4 * FEWEST_BLOCKS)
"""Processes after which a promise is judged. Judged after each one, an interval would at some time
clear a limit by chance."""

CONFIDENCE = 1 - 0.05 / len(LOOKS)
"""Of the interval at each look, so that those of all looks hold at 95 % together (Bonferroni)."""

SERVICE_HIT = 1.3
"""The service's L1 hit takes at most so many times the CPU of the bare route."""


class Turns(Protocol):
    """Times two things in turns, in this process.

    rounds: how many turns are wanted; one whose turns take long makes a tenth of them.
    """

    @property
    def rounds(self) -> int: ...

    def __call__(self, base: Timer, ours: Timer, *, calls: int | None = None) -> Pairs:
        """Return nanoseconds a call of both in each turn.

        A turn takes half a millisecond, unless *calls* says how many calls it makes.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Ours takes at most *limit* times what the measure takes.

    measure: returns the pairs of one process, which is fresh. lacks: says what is missing to
    measure it here, "" for nothing. rate: where a rate is promised, such as touches a second, it
    and its unit; the measure is then the time that it allows, and the limit 1.
    """

    name: str
    says: str
    limit: float
    measure: Callable[[Turns], Pairs]
    lacks: Callable[[], str] = lambda: ""
    rate: tuple[float, str] | None = None


class Word(StrEnum):
    """What is said of a promise."""

    KEPT = "KEPT"
    BROKEN = "BROKEN"
    UNDECIDED = "UNDECIDED"
    NOT_MEASURED = "NOT MEASURED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found of a promise; ratio is None where there are too few processes."""

    word: Word
    ratio: Ratio | None = None
    reason: str = ""

    @property
    def is_decided(self) -> bool:
        """Whether more processes would change nothing."""
        return self.word is not Word.UNDECIDED


def judged(promise: Promise, blocks: Sequence[Pairs]) -> Verdict:
    """Return the verdict on *promise* from the pairs of each process.

    KEPT: the interval of the ratio, at 95 % over all looks, lies at or below the limit; BROKEN: it
    lies above. A time that is no positive number, or a process without turns, makes it UNDECIDED.
    """
    if len(blocks) < FEWEST_BLOCKS:
        return _undecided(
            f"{len(blocks)} of at least {FEWEST_BLOCKS} processes were measured; "
            "give a larger --budget"
        )
    length = min(map(len, blocks))
    if not length:
        return _undecided("a process measured nothing")
    try:
        # One that waited for a processor for long has fewer turns; an interval takes equal ones.
        ratios = [[ours / base for base, ours in of[:length]] for of in blocks]
        ratio = paired_ratio(ratios, confidence=CONFIDENCE)
    except (ValueError, ZeroDivisionError):
        return _undecided("a time is no positive number")
    if ratio.high <= promise.limit:
        return Verdict(word=Word.KEPT, ratio=ratio)
    if ratio.low > promise.limit:
        return Verdict(word=Word.BROKEN, ratio=ratio)
    return _undecided("the interval holds the limit", ratio)


def _undecided(reason: str, ratio: Ratio | None = None) -> Verdict:
    return Verdict(word=Word.UNDECIDED, ratio=ratio, reason=reason)
