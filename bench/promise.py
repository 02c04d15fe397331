"""A promise about speed: its two sides, its limit, and the measurement in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from bench.paired import FEWEST_BLOCKS, Ratio, paired_ratio

Pairs = Sequence[tuple[float, float]]
"""The times of the measure and of ours in each turn of one process, in the promise's unit."""

Timer = Callable[[int], float]
"""Makes the given number of calls and returns the nanoseconds of one."""

LOOKS = (FEWEST_BLOCKS, 2 * FEWEST_BLOCKS, 4 * FEWEST_BLOCKS)
"""Processes after which a promise is judged. If it were judged after each process, an interval
would sooner or later clear a limit by chance."""

CONFIDENCE = 1 - 0.05 / len(LOOKS)
"""The confidence of the interval at each look: all looks together have 95 % (Bonferroni)."""

SERVICE_HIT = 1.3
"""The limit of the service's L1 hit, as a multiple of the CPU of the bare route."""


class Turns(Protocol):
    """Times two things in turns, in this process.

    rounds: the number of turns; a measurement with long turns makes a tenth of them.
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

    measure: returns the pairs of one fresh process. lacks: returns what the measurement lacks here,
    "" for nothing. rate: a promised rate and its unit, such as touches a second; the measure is
    then the time that the rate allows, and the limit is 1.
    """

    name: str
    says: str
    limit: float
    measure: Callable[[Turns], Pairs]
    lacks: Callable[[], str] = lambda: ""
    rate: tuple[float, str] | None = None


class Word(StrEnum):
    """The verdict on a promise."""

    KEPT = "KEPT"
    BROKEN = "BROKEN"
    UNDECIDED = "UNDECIDED"
    NOT_MEASURED = "NOT MEASURED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The findings about a promise; ratio is None if there are too few processes."""

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
    lies above. A time that is not a positive number, or a process without turns, makes it
    UNDECIDED.
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
        # Processes that waited long for a processor have fewer turns; an interval needs equal ones.
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
