"""Shapes of an arrival rate: a day's curve as a sine or as a table of rates, and random bursts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from core.context import Purpose
from core.scenario.table import Table
from core.streams import Stream
from core.units import Duration

PIECES = 96
"""Straight lines that a period of a sine is drawn with: quarters of an hour of a day."""

MOST_PERIODS = 100
"""Of a sine in one run; as many lines as a table of rates may have rows."""
MOST_SOJOURNS = 1_000_000
_Rate = Annotated[float, Field(ge=0, le=1e6)]
_Sojourn = Annotated[Duration, Field(ge=0.001)]


class Piece(NamedTuple):
    """A part of a curve: requests/s at its start and its end, and its length in seconds."""

    rate: float
    end: float
    duration: float


class Daily(Table):
    """A rate that rises and falls as a sine.

    mean: requests/s over a whole period. ratio: the highest rate over the lowest one. peak: when
    the rate is highest, in seconds from the start of the run.
    """

    mean: Annotated[float, Field(gt=0, le=1e6)]
    ratio: Annotated[float, Field(ge=1)] = 4.0
    period: Annotated[Duration, Field(gt=0)] = 86_400.0
    peak: Annotated[Duration, Field(ge=0)] = 72_000.0

    def at(self, seconds: float) -> float:
        """Return the requests/s at *seconds* from the start of the run."""
        swing = (self.ratio - 1) / (self.ratio + 1)
        turn = 2 * math.pi * (seconds - self.peak) / self.period
        # Rounded, so that no platform's cosine shows in the result.
        return round(self.mean * (1 + swing * math.cos(turn)), 9)

    @property
    def span(self) -> float:
        """Seconds of a run that states no duration."""
        return self.period

    def pieces(self, total: float) -> list[Piece]:
        """Return the curve of *total* seconds in straight lines that meet it at `PIECES` places.

        The peak is one of them. Lines have the mean of the sine over a period, and are at most
        0.06 % of its swing below the peak. Raise ValueError for more than `MOST_PERIODS` periods.
        """
        if (periods := total / self.period) > MOST_PERIODS:
            raise ValueError(
                f"daily.period is {self.period:g}s, which is {periods:,.0f} periods in the run; at "
                f"most {MOST_PERIODS}: give a longer period, or a shorter duration"
            )
        step = self.period / PIECES
        number = math.floor(total / step) + 2
        first = self.peak - math.ceil(self.peak / step) * step
        inner = [first + k * step for k in range(number + 1)]
        nodes = [0.0, *(t for t in inner if 1e-9 < t < total - 1e-9), total]
        return [Piece(self.at(start), self.at(end), end - start) for start, end in pairwise(nodes)]


class RateTable(Table):
    """A rate that is given at some times, as in a CSV file.

    rows: (seconds, requests/s), the times ascending. between: whether the rate goes in a straight
    line from one row to the next ("lines") or stays ("steps"); a last row of steps lasts as long as
    the one before. start: seconds after the first row at which the run begins. speed: how many
    times as fast as written the times run; the rates stay.
    """

    file: str = ""
    between: Literal["lines", "steps"] = "lines"
    start: Annotated[Duration, Field(ge=0)] = 0.0
    speed: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    rows: tuple[tuple[float, _Rate], ...] = ()

    @model_validator(mode="after")
    def _has_rows(self) -> Self:
        if len(self.rows) < 2:
            raise ValueError(
                f"rates has {len(self.rows)} rows, and a curve needs two; read the scenario from a "
                "file that names a CSV with the columns time and rate"
            )
        if self.start >= self._length:
            raise ValueError(
                f"rates.start is {self.start:g}s, and the table lasts {self._length:g}s; begin "
                "sooner"
            )
        return self

    @property
    def _length(self) -> float:
        (first, _), (before, _), (last, _) = self.rows[0], self.rows[-2], self.rows[-1]
        return last - first + (last - before if self.between == "steps" else 0.0)

    @property
    def span(self) -> float:
        """Seconds of a run that states no duration."""
        return (self._length - self.start) / self.speed

    def pieces(self, total: float) -> list[Piece]:
        """Return the curve of *total* seconds; ValueError if the table ends sooner."""
        if total > self.span + 1e-9:
            raise ValueError(
                f"rates last {self.span:g}s from their start on, and warm_up and duration "
                f"{total:g}s; shorten the run, lower rates.speed, or leave duration out"
            )
        times, rates = (np.array(column) for column in zip(*self.rows, strict=True))
        first = times[0] + self.start
        last = first + total * self.speed
        inner = times[(times > first) & (times < last)]
        nodes = np.concatenate(([first], inner, [last]))
        if self.between == "lines":
            at = np.interp(nodes, times, rates)
            ends = at[1:]
        else:
            at = rates[np.searchsorted(times, nodes, side="right") - 1]
            ends = at[:-1]
        lengths = np.diff(nodes) / self.speed
        return list(map(Piece, at[:-1].tolist(), ends.tolist(), lengths.tolist()))


def curve_of(traffic: Any) -> tuple[str, Daily | RateTable] | None:
    """Return the curve in the valid data of [traffic], and its name; None if there is none."""
    if isinstance(traffic, Mapping):
        if traffic.get("daily") is not None:
            return "daily", Daily.model_validate(traffic["daily"])
        if traffic.get("rates") is not None:
            return "rates", RateTable.model_validate(traffic["rates"])
    return None


class Bursts(Table):
    """A rate that a hidden state multiplies: a Markov-modulated Poisson process.

    rates: how the rates of the states compare; they are scaled so that the mean over time is that
    of the stages. sojourns: the mean time in each state, exponential. The next state is any of the
    others.
    """

    rates: Annotated[tuple[_Rate, ...], Field(min_length=2, max_length=64)]
    sojourns: Annotated[tuple[_Sojourn, ...], Field(min_length=2, max_length=64)]

    @model_validator(mode="after")
    def _states_fit(self) -> Self:
        if len(self.rates) != len(self.sojourns):
            raise ValueError(
                f"bursts has {len(self.rates)} rates and {len(self.sojourns)} sojourns; give one "
                "of each for every state"
            )
        if not any(self.rates):
            raise ValueError("bursts.rates are all 0; at least one state needs requests")
        if len(set(self.rates)) == 1:
            raise ValueError("bursts.rates are all the same, which has no effect; leave bursts out")
        return self

    @property
    def factors(self) -> tuple[float, ...]:
        """What each state multiplies the rate by; 1 on average over time."""
        # The next state is uniform, so the share of time in a state goes by its mean sojourn.
        weighted = math.fsum(r * s for r, s in zip(self.rates, self.sojourns, strict=True))
        mean = weighted / math.fsum(self.sojourns)
        return tuple(rate / mean for rate in self.rates)

    def path(self, total: float, *, seed: int, replication: int) -> list[tuple[float, float]]:
        """Return (start, factor) of each sojourn in *total* seconds, from a state drawn at random.

        Raise ValueError for more than `MOST_SOJOURNS`.
        """
        if (expected := total / min(self.sojourns)) > MOST_SOJOURNS:
            raise ValueError(
                f"traffic.bursts change {expected:,.0f} times in the run; at most "
                f"{MOST_SOJOURNS:,}: give longer sojourns"
            )
        stream = Stream(seed, Purpose.BURSTS, width=2, replication=replication)
        factors, sojourns, last = self.factors, self.sojourns, len(self.rates) - 1
        shares = np.cumsum(sojourns) / math.fsum(sojourns)
        state = min(int(np.searchsorted(shares, stream.at(0, 1), side="right")), last)
        found, time, row = [], 0.0, 0
        while time < total:
            found.append((time, factors[state]))
            # As the gaps of arrivals: no platform's log shows.
            unit = round(-math.log1p(-stream.at(row, 0)) * 2.0**32) * 2.0**-32
            time += unit * sojourns[state]
            row += 1
            other = min(int(stream.at(row, 1) * last), last - 1)
            state = other if other < state else other + 1
        return found


def modulated(
    segments: Sequence[tuple[float, float, float, float]], path: Sequence[tuple[float, float]]
) -> list[tuple[float, float, float, float]]:
    """Return *segments* cut where *path* changes, their rates multiplied by its factors.

    segments: (start, rate at the start, slope, length) in seconds, one after another from 0 on;
    the result has the expected arrivals in place of the length.
    """
    found = []
    place = 0
    for start, rate, slope, length in segments:
        at, end = start, start + length
        while at < end:
            while place + 1 < len(path) and path[place + 1][0] <= at:
                place += 1
            factor = path[place][1]
            until = min(end, path[place + 1][0]) if place + 1 < len(path) else end
            first = (rate + slope * (at - start)) * factor
            steep, lasts = slope * factor, until - at
            found.append((at, first, steep, (first + steep * lasts / 2) * lasts))
            at = until
    return found
