"""Passes over a scenario's reads against whole simulations of it, and theory against passes."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from core.scenario.file import load_scenario
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from scenarios.catalogue import shipped
from sim.curves.passable import not_passed
from sim.curves.points import Point, Simulations, passed
from sim.curves.scenario_curve import Asked, scenario_curve, shares_of
from sim.curves.theory import _hits_of_a_fill
from sim.curves.tiered import Reads, Start, Tiers, answered


def silent(_: str) -> None:
    """Say nothing."""


@lru_cache
def scenario(*changes: str) -> Scenario:
    small = (
        "traffic.users=300", "traffic.conversions=150", "duration=20s", "warm_up=5s",
        "tiers.l1.ttl=10s", "tiers.l2.ttl.user_journeys=20s", "tiers.l2.ttl.lookup_data=40s",
    )  # fmt: skip
    return load_scenario(shipped()["baseline"], overrides=[*small, *changes], rate=120.0)


POINTS = (
    Point(isolates="4"),
    Point(isolates="1", axis="size", place=30.0),
    Point(isolates="16", axis="ttl", place=3.0),
    Point(isolates="request"),
    Point(isolates="2", axis="l2_ttl", place=0.25),
)


def test_from_cold_caches_a_pass_and_the_simulation_answer_alike_read_by_read() -> None:
    cold = scenario("start=cold")
    simulations = Simulations(cold)
    found = passed(cold, POINTS, 1, 0, silent)
    for point in POINTS:
        (whole,), (ours,) = simulations.answered(point, [0], 0, silent), found[point]
        assert ours.reads == whole.reads > 3_000
        for name in ("l1", "l2", "loaded", "joined"):
            apart = abs(getattr(ours, name) - getattr(whole, name))
            # What differs is a few reads that waited for the CPU or the database.
            assert apart <= 0.002 * whole.reads, (point, name, ours, whole)


def test_the_accesses_before_a_window_warm_the_pass_as_they_warm_the_simulation(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(3)
    bursts = np.repeat(rng.zipf(1.4, 2_500) % 400, rng.integers(1, 6, 2_500))
    file = tmp_path / "bursts.csv"
    file.write_text("key\n" + "\n".join(f"k{key}" for key in bursts) + "\n")
    recorded = load_scenario(
        shipped()["baseline"], rate=120.0, trace={"file": str(file), "offset": 4_000},
        overrides=["duration=15s", "warm_up=5s", "tiers.l1.ttl=10s", "tiers.l1.max_entries=12"],
    )  # fmt: skip
    own = Point(isolates="4")
    mixed = replace(own, is_mixed=True)
    (whole,) = Simulations(recorded).answered(own, [0], 0, silent)
    found = passed(recorded, [own, mixed], 1, 1, silent)
    for name in ("l1", "l2", "loaded", "joined"):
        apart = abs(getattr(found[own][0], name) - getattr(whole, name))
        assert apart <= 0.004 * whole.reads, (name, found[own], whole)
    # Bursts are what popularity does not know: in a random order L1 answers less.
    assert found[mixed][0].l1 < found[own][0].l1 - 0.02 * whole.reads


def test_from_warm_caches_a_pass_lies_within_the_interval_of_the_simulations() -> None:
    warm = scenario()
    simulations = Simulations(warm)
    found = passed(warm, POINTS[:2], 4, 0, silent)
    for point in POINTS[:2]:
        whole = shares_of(simulations.answered(point, range(4), 0, silent))
        ours = shares_of(found[point])
        for name in ("l1", "l2", "origin"):
            one, two = getattr(ours, name), getattr(whole, name)
            assert one.interval
            assert two.interval
            room = (one.interval[1] - one.interval[0] + two.interval[1] - two.interval[0]) / 2
            assert abs(one.value - two.value) <= room + 0.003, (point, name)


def test_theory_agrees_with_passes_where_reads_are_independent() -> None:
    warm = scenario("traffic.users=1000", "duration=60s")
    asked = Asked(
        isolates=("1", "4", "16", "request"), sizes=(20, 100, 400), ttls=(3.0, 40.0),
        l2_factors=(0.25, 4.0), mixes=3, replications=3, check=False,
    )  # fmt: skip
    found = scenario_curve(warm, asked)
    assert not found.why
    for name, (l1, both) in found.theory_at_own.items():
        shares = found.at_own[name]
        assert abs(1 - l1 - shares.l1.value) < 0.012, name
        # Theory knows no read that waits for another's load.
        assert abs(both - shares.loaded.value) < 0.012, name
    for axis in found.axes:
        base = "4"
        for shares, mixed, (l1, _) in zip(axis.real[base], axis.mixed, axis.theory, strict=True):
            assert abs(1 - l1 - shares.l1.value) < 0.015, axis.name
            assert abs(mixed.l1.value - shares.l1.value) < 0.015, axis.name  # no locality


def test_hits_of_a_fill_are_those_of_drawn_gaps() -> None:
    rng = np.random.default_rng(7)
    for life, longest in ((1.0, 0.5), (5.0, 1.0), (20.0, 2.0), (3.0, 5.0), (300.0, 2.5)):
        gaps = rng.exponential(size=(20_000, 80))
        times = np.cumsum(gaps, axis=1)
        alive = np.cumprod((gaps <= longest) & (times < life), axis=1)
        drawn = alive.sum(axis=1)
        (found,) = _hits_of_a_fill(np.array([life]), np.array([longest]))
        error = drawn.std() / len(drawn) ** 0.5
        assert abs(found - drawn.mean()) < 4 * error + 1e-9, (life, longest)


def tiny(times: list[float], isolates: list[int], *, l1_ttl: float, room: int) -> list[int]:
    """Return who answers reads of one key: L1, L2, loads, joined; L2 takes 1 s, loads another."""
    n = len(times)
    takes = np.array([1.0, 1.0, 1.0, 2.0], np.float32)
    reads = Reads(
        times=np.array(times), keys=np.zeros(n, np.int32), isolates=np.array(isolates, np.int32),
        counted=np.ones(n, np.bool_), takes=np.tile(takes, (n, 1)), key_count=1,
        isolate_count=2, goes_on=np.zeros(n, np.bool_),
    )  # fmt: skip
    start = Start(
        l2_until=np.full(1, -np.inf), hot_until=np.full(1, -np.inf),
        order=np.empty((2, 0), np.int32), l1_until=np.empty((2, 0)),
    )  # fmt: skip
    tiers = Tiers(l1_ttl=l1_ttl, ttls=np.full(1, 20.0), cache_ttl=60.0, per_process=2)
    found = answered(reads, start, tiers, room)
    return [found.l1, found.l2, found.loaded, found.joined]


@pytest.mark.parametrize(
    ("times", "isolates", "l1_ttl", "room", "right"),
    [
        # Loaded at 0, in L1 from 2 s on: who comes before waits for the load.
        ([0.0, 1.5, 2.5], [0, 0, 0], 60.0, 1, [1, 0, 1, 1]),
        # The write reaches L2 at 4 s: the other isolate finds it from then on.
        ([0.0, 2.5], [0, 1], 60.0, 1, [0, 0, 2, 0]),
        ([0.0, 3.5], [0, 1], 60.0, 1, [0, 1, 1, 0]),
        # L2's life begins with the load, at 1 s, and ends L1's at 21 s.
        ([0.0, 10.0, 20.5, 21.5], [0, 0, 0, 0], 60.0, 1, [2, 0, 2, 0]),
        # L1's own TTL, from the end of the load on.
        ([0.0, 6.5, 7.5], [0, 0, 0], 5.0, 1, [1, 1, 1, 0]),
        ([0.0, 5.0, 10.0], [0, 0, 0], 60.0, 0, [0, 2, 1, 0]),
    ],
)
def test_lives_and_waits_of_a_single_key(
    times: list[float], isolates: list[int], l1_ttl: float, room: int, right: list[int]
) -> None:
    assert tiny(times, isolates, l1_ttl=l1_ttl, room=room) == right


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("tiers.stale_while_revalidate=5s", "beyond their TTL"),
        ("tiers.early_refresh=1", "early_refresh"),
        ("tiers.ttl_jitter=0.1", "ttl_jitter"),
        ("tiers.single_flight=false", "single_flight"),
        ("tiers.l2.consistency=eventual", "consistency"),
        ("tiers.l2.timeout=100ms", "tiers.l2.timeout"),
    ],
)
def test_what_passes_do_not_know_is_named(change: str, says: str) -> None:
    other = scenario(change)
    assert says in not_passed(other, prepare(other))
    assert not not_passed(scenario(), prepare(scenario()))


def test_a_bound_in_bytes_that_drops_entries_leads_to_whole_simulations() -> None:
    bound = scenario("tiers.l1.max_bytes=30kB", "duration=6s", "warm_up=2s", "start=cold")
    asked = Asked(
        isolates=("1",), sizes=(50,), ttls=(10.0,), l2_factors=(1.0,), mixes=0, replications=2
    )
    found = scenario_curve(bound, asked)
    assert "max_bytes" in found.why
    assert not found.theory_at_own
    assert not found.axis("size").theory
    (run,) = Simulations(bound).answered(Point(isolates="1"), [0], 0, silent)
    assert run.evicted > 0
    largest = found.axis("size").real["1"][-1]
    unbound = replace(asked, check=False)
    loose = scenario_curve(bound, unbound).axis("size").real["1"][-1]
    assert largest.l1.value < loose.l1.value - 0.01
