"""The miss ratios of a scenario over its caches' size and TTLs: as it is, mixed, in theory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InputError
from core.metrics.estimate import Estimate, estimate_of
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from sim.curves.passable import not_passed
from sim.curves.points import REQUEST, AxisName, Found, Point, Simulations, passed
from sim.curves.scenario_reads import Drawn, drawn
from sim.curves.theory import Popularity, database_share, l1_miss
from sim.curves.tiered import Answered

REPLICATIONS, SHUFFLES = 5, 5
FACTORS = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
MOST_PLACES = 12_000_000
"""Keys times isolates that L1s have places for."""

_POINTS, _SIMULATED_POINTS = 14, 5
_APART = 0.005

Tell = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares of the counted reads: answered by L1, by L2, by neither; and loads of the database.

    A read that joined another's load was answered by neither, and loaded nothing.
    """

    l1: Estimate
    l2: Estimate
    origin: Estimate
    loaded: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What was found over one setting: entries of L1, seconds of its TTL, or times L2's TTLs.

    own: the scenario's setting. real: by number of isolates. mixed (random orders) and theory are
    of the base number of isolates; theory: misses of L1, and of both tiers, at each place.
    """

    name: AxisName
    places: tuple[float, ...]
    own: float
    real: dict[str, tuple[Shares, ...]]
    mixed: tuple[Shares, ...] = ()
    theory: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioCurve:
    """The curves of a scenario.

    isolates: by name, those that were asked for and the scenario's own. base: the number of
    isolates of random orders and theory. At the scenario's size and TTLs: at_own and mixed_at_own
    by isolates, and theory_at_own, misses of L1 and of both; simulated: the same by whole
    simulations of the scenario. why: why every point was simulated, "" where passes gave them.
    """

    scenario: Scenario
    isolates: tuple[str, ...]
    own: str
    base: str
    axes: tuple[Axis, ...]
    at_own: dict[str, Shares]
    mixed_at_own: dict[str, Shares]
    theory_at_own: dict[str, tuple[float, float]]
    simulated: Shares | None
    replications: int
    reads: int
    keys: int
    is_trace: bool
    span: float
    why: str = ""
    notes: tuple[str, ...] = ()

    def axis(self, name: AxisName) -> Axis:
        """Return the axis called *name*."""
        return next(each for each in self.axes if each.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be found; without places the usual ones.

    mixes: random orders. check: whether the scenario is simulated as a whole, too.
    """

    isolates: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    ttls: tuple[float, ...] = ()
    l2_factors: tuple[float, ...] = ()
    mixes: int = SHUFFLES
    replications: int = REPLICATIONS
    check: bool = True


def scenario_curve(
    scenario: Scenario, asked: Asked, *, tell: Tell = lambda share, step: None
) -> ScenarioCurve:
    """Return the curves of *scenario*.

    Raise InputError if its requests cannot be made, or have too many keys for so many isolates.
    """
    prepared = prepare_measured(scenario)
    base = str(scenario.topology.isolates)
    own = REQUEST if scenario.tiers.l1.scope == REQUEST else base
    names = tuple(dict.fromkeys((*asked.isolates, own)))
    first = drawn(scenario, 0, longest=0.0)
    _check_places(scenario, first, (*names, base))
    why = not_passed(scenario, prepared)
    mixes = 0 if prepared.has_effects else asked.mixes
    simulations = Simulations(scenario)
    whole: list[Answered] = []
    places = _places(scenario, asked, first, few=bool(why))
    if not why and asked.check:
        tell(0.0, "the scenario as a whole")
        numbers = range(asked.replications)
        whole = simulations.answered(Point(isolates=own), numbers, 0, lambda _: None)
        why = _held_back(scenario, simulations, names, places["size"][-1])
        if why:
            places = _places(scenario, asked, first, few=True)
    numeric = [*dict.fromkeys(name for name in (*names, base) if name != REQUEST)]
    points = [Point(isolates=name) for name in names]
    for axis in ("size", "ttl"):
        points += [_at(axis, place, name) for name in numeric for place in places[axis]]
    points += [_at("l2_ttl", place, own) for place in places["l2_ttl"]]
    if mixes:
        points += [
            Point(isolates=each.isolates, axis=each.axis, place=each.place, is_mixed=True)
            for each in points
            if each.axis in (None, "l2_ttl") or each.isolates == base
        ]
    turns = sum(mixes if point.is_mixed else asked.replications for point in points)
    done = 0

    def step(text: str) -> None:
        nonlocal done
        tell(min(0.99, done / turns), text)
        done += 1

    if why:
        found = simulations.all(points, asked.replications, mixes, step)
    else:
        found = passed(scenario, points, asked.replications, mixes, step)
    theory = None if why else _Theory(scenario, first.popularity, tuple(first.bases))
    notes = [] if not whole else _apart(found[Point(isolates=own)], whole)
    if simulations.saturated:
        notes.append(
            f"The {' and the '.join(simulations.saturated)} cannot keep up with this traffic: "
            "reads then wait and fail, which no curve here knows. See `edgeproof simulate`."
        )
    axes = tuple(
        _axis(scenario, found, name, places[name], [own] if name == "l2_ttl" else numeric,
              own if name == "l2_ttl" else base, theory)
        for name in ("size", "ttl", "l2_ttl")
    )  # fmt: skip
    mixed = {name: found.get(Point(isolates=name, is_mixed=True)) for name in names}
    return ScenarioCurve(
        scenario=scenario, isolates=names, own=own, base=base, axes=axes,
        at_own={name: shares_of(found[Point(isolates=name)]) for name in names},
        mixed_at_own={name: shares_of(each) for name, each in mixed.items() if each},
        theory_at_own={} if theory is None else {n: theory.at(Point(isolates=n)) for n in names},
        simulated=shares_of(whole) if whole else None,
        replications=asked.replications, reads=found[Point(isolates=own)][0].reads,
        keys=int(np.count_nonzero(first.rates)), is_trace=first.history is not None, why=why,
        span=float(first.times[-1] - first.times[0]),
        notes=tuple(notes),
    )  # fmt: skip


def shares_of(runs: Sequence[Answered]) -> Shares:
    """Return the mean shares of *runs* with their intervals."""

    def share(count: Callable[[Answered], int]) -> Estimate:
        return estimate_of([count(run) / max(1, run.reads) for run in runs])

    return Shares(
        l1=share(lambda run: run.l1), l2=share(lambda run: run.l2),
        origin=share(lambda run: run.loaded + run.joined), loaded=share(lambda run: run.loaded),
    )  # fmt: skip


def _at(axis: AxisName, place: float, isolates: str) -> Point:
    return Point(isolates=isolates, axis=axis, place=place)


def _check_places(scenario: Scenario, first: Drawn, names: Sequence[str]) -> None:
    processes = scenario.topology.process_count
    for name in names:
        count = processes * (scenario.topology.isolates if name == REQUEST else int(name))
        if count * (first.key_count + 1) > MOST_PLACES:
            raise InputError(
                f"--isolates {name}: {count:,} isolates over all processes, with "
                f"{first.key_count:,} keys each, are more than {MOST_PLACES:,} places; give fewer"
            )


def _places(
    scenario: Scenario, asked: Asked, first: Drawn, *, few: bool
) -> dict[AxisName, tuple[float, ...]]:
    keys = max(1, int(np.count_nonzero(first.rates)))
    l1, points = scenario.tiers.l1, _SIMULATED_POINTS if few else _POINTS
    usual = np.geomspace(max(1, keys // 1000), keys, points)
    factors = FACTORS[::2] if few else FACTORS

    def with_own(places: Sequence[float], own: float) -> tuple[float, ...]:
        return tuple(sorted({*places, own}))

    sizes = asked.sizes or tuple({max(1, round(float(size))) for size in usual})
    ttls = asked.ttls or tuple(l1.ttl * factor for factor in factors)
    return {
        "size": with_own([float(size) for size in sizes], float(l1.max_entries)),
        "ttl": with_own(ttls, l1.ttl),
        "l2_ttl": with_own(asked.l2_factors or factors, 1.0),
    }


def _held_back(
    scenario: Scenario, simulations: Simulations, names: Sequence[str], largest: float
) -> str:
    """Return that L1's bound in bytes drops entries which its other bound would keep, or ""."""
    fewest = min((int(name) for name in names if name != REQUEST), default=0)
    if not fewest:
        return ""
    point = Point(isolates=str(fewest), axis="size", place=largest)
    (whole,) = simulations.answered(point, [0], 0, lambda _: None)
    (passing,) = passed(scenario, [point], 1, 0, lambda _: None)[point]
    if whole.evicted > passing.evicted + 0.02 * whole.reads:
        return "the bound of L1 in bytes (tiers.l1.max_bytes), which drops entries"
    return ""


class _Theory:
    def __init__(self, scenario: Scenario, popularity: Popularity, types: Sequence[str]) -> None:
        self._scenario, self._popularity, self._types = scenario, popularity, types

    def at(self, point: Point) -> tuple[float, float]:
        """Return the misses of L1, and those of both tiers."""
        scenario = point.of(self._scenario)
        l1, of_l2 = scenario.tiers.l1, scenario.tiers.l2.ttl
        ttls = np.array([of_l2.of(name) for name in self._types])
        both = database_share(self._popularity, ttls)
        if l1.scope == REQUEST:
            return 1.0, both
        miss = l1_miss(
            self._popularity, room=l1.max_entries, l1_ttl=l1.ttl, l2_ttls=ttls,
            isolates=scenario.topology.isolate_count,
        )  # fmt: skip
        return miss, both


def _axis(
    scenario: Scenario, found: Found, name: AxisName, places: Sequence[float],
    isolates: Sequence[str], base: str, theory: _Theory | None,
) -> Axis:  # fmt: skip
    l1 = scenario.tiers.l1
    owns: dict[AxisName, float] = {"size": l1.max_entries, "ttl": l1.ttl, "l2_ttl": 1.0}
    mixed = [
        found.get(Point(isolates=base, axis=name, place=place, is_mixed=True)) for place in places
    ]
    return Axis(
        name=name, places=tuple(places), own=owns[name],
        real={
            each: tuple(shares_of(found[_at(name, place, each)]) for place in places)
            for each in isolates
        },
        mixed=tuple(shares_of(each) for each in mixed if each),
        theory=() if theory is None else tuple(theory.at(_at(name, p, base)) for p in places),
    )  # fmt: skip


def _apart(passes: Sequence[Answered], whole: Sequence[Answered]) -> list[str]:
    """Return that whole simulations of the scenario found something else than passes, if so."""
    ours, theirs = shares_of(passes), shares_of(whole)
    found = []
    for name, one, two in (("L1", ours.l1, theirs.l1), ("L2", ours.l2, theirs.l2)):
        room = sum((e.interval[1] - e.interval[0]) / 2 for e in (one, two) if e.interval)
        if abs(one.value - two.value) > _APART + room:
            found.append(
                f"The whole simulation gives {name} {100 * two.value:.1f} % of the reads, the pass "
                f"{100 * one.value:.1f} %: what waits or fails there changes who answers. Trust "
                "`edgeproof simulate`."
            )
    return found
