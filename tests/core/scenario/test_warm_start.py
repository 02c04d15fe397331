"""Claims about warm starts: the steady state that theory and a plain simulation give, as data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.endpoints import CDP
from core.scenario.replay import History, Prepared
from core.scenario.scenario import Scenario
from core.scenario.warm_start import REPLAYED, WarmL1, WarmL2, WarmState, warm_state
from core.scenario.workload import generate_workload

SIGMAS = 5.0
TYPES = ("lookup_data", "attribution", "user_journeys")
SHORT = {
    "lookup_data": "40s",
    "attribution": "90s",
    "user_journeys": "10s",
    "security_config": "5s",
}


def scenario(**fields: Any) -> Scenario:
    tiers = {"l2": {"ttl": SHORT, "cache_ttl": "15s"}, "l1": {"ttl": "20s"}} | fields.pop(
        "tiers", {}
    )
    traffic = {
        "stages": [{"rate": 40.0}],
        "users": 1_500,
        "conversions": 400,
        "sites": 30,
        "popularity": {"law": "uniform"},
    } | fields.pop("traffic", {})
    topology = {"isolates": 3}
    data = {"name": "warm", "duration": "1s", "tiers": tiers, "traffic": traffic}
    return Scenario.model_validate(data | {"topology": topology} | fields)


WORKLOAD = generate_workload(scenario())
"""Warm states do not depend on the requests that follow."""


def sampled(asked: Scenario, replication: int = 0) -> WarmState:
    return warm_state(asked, Prepared(workload=WORKLOAD), replication=replication)


def within_chance(found: int, tries: int, probability: float) -> bool:
    deviation = np.sqrt(tries * probability * (1 - probability))
    return bool(abs(found - tries * probability) <= SIGMAS * deviation)


def test_a_cold_start_is_empty() -> None:
    asked = scenario(start="cold")
    assert sampled(asked) == WarmState()
    history = history_of([(-1.0, 0, 5)])
    prepared = Prepared(workload=WORKLOAD, history=history)
    assert warm_state(asked, prepared) == WarmState()


def test_the_state_is_a_function_of_seed_and_replication() -> None:
    assert sampled(scenario()) == sampled(scenario())
    assert sampled(scenario()) != sampled(scenario(seed=2))
    assert sampled(scenario(), 1) == sampled(scenario(), 1)
    assert sampled(scenario()) != sampled(scenario(), 1)


def test_a_scenario_without_requests_keeps_nothing_warm() -> None:
    assert sampled(scenario(traffic={"stages": [{"rate": 0.0}]})) == WarmState()


def expected_rates(asked: Scenario) -> dict[str, float]:
    """Return the reads per second of one key of each type under a uniform law."""
    traffic = asked.traffic
    rate, mix = traffic.stages[0].rate, traffic.mix
    return {
        "security_config": rate * mix.of("track") / traffic.sites,
        "lookup_data": rate * mix.of("track") / traffic.users,
        "attribution": rate * mix.of("attribution") / traffic.conversions,
        "user_journeys": rate * mix.of("journey") / traffic.users,
        "channel_metrics": rate * mix.of("channels") / 7,
    }


def test_l2_holds_each_key_with_the_probability_of_a_ttl_cache() -> None:
    asked = scenario()
    keys = {"security_config": 30, "lookup_data": 1_500, "attribution": 400}
    keys |= {"user_journeys": 1_500, "channel_metrics": 7}
    runs = 12
    states = [sampled(asked, replication) for replication in range(runs)]
    counts = Counter(entry.cache_type for state in states for entry in state.l2)
    for cache_type, rate in expected_rates(asked).items():
        product = rate * asked.tiers.l2.ttl.of(cache_type)
        probability = product / (1 + product)
        assert within_chance(counts[cache_type], runs * keys[cache_type], probability), cache_type
    assert set(counts) == set(CDP.cache_types)


def test_popular_keys_are_held_more_often_as_zipf_says() -> None:
    asked = scenario(traffic={"popularity": {"law": "zipf", "exponent": 1.0}, "users": 300})
    runs = 100
    held = Counter(
        entry.subject
        for replication in range(runs)
        for entry in sampled(asked, replication).l2
        if entry.cache_type == "lookup_data"
    )
    ranks = np.arange(1, 301)
    product = 40.0 * 0.8 * (1 / ranks) / (1 / ranks).sum() * 40.0
    for subject in (0, 1, 10, 100, 299):
        probability = product[subject] / (1 + product[subject])
        assert within_chance(held[subject], runs, probability)


def test_residual_lives_in_l2_are_uniform_up_to_the_ttl() -> None:
    asked = scenario()
    states = [sampled(asked, replication) for replication in range(5)]
    for cache_type in TYPES:
        ttl = asked.tiers.l2.ttl.of(cache_type)
        lives = [e.residual for s in states for e in s.l2 if e.cache_type == cache_type]
        assert 0 <= min(lives) <= max(lives) <= ttl
        assert stats.kstest(lives, "uniform", args=(0, ttl)).pvalue > 1e-4


def assert_consistent(asked: Scenario, state: WarmState) -> None:
    ends = {(entry.cache_type, entry.subject): entry.residual for entry in state.l2}
    assert len(ends) == len(state.l2)
    kept = [(entry.isolate, entry.cache_type, entry.subject) for entry in state.l1]
    assert len(set(kept)) == len(kept)
    for entry in state.l1:
        assert 0 < entry.residual <= ends[entry.cache_type, entry.subject]
        assert entry.residual <= asked.tiers.l1.ttl
        assert 0 <= entry.isolate < asked.topology.isolate_count
    for held in state.l2:
        assert 0 <= held.residual <= asked.tiers.l2.ttl.of(held.cache_type)
        assert 0 <= held.hot <= asked.tiers.l2.cache_ttl


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("l1_ttl", ["0.5s", "20s", "1h"])
def test_no_l1_entry_outlives_its_l2_entry_or_its_own_ttl(seed: int, l1_ttl: str) -> None:
    asked = scenario(seed=seed, tiers={"l2": {"ttl": SHORT}, "l1": {"ttl": l1_ttl}})
    state = sampled(asked)
    assert state.l1
    assert_consistent(asked, state)


def test_a_request_scoped_l1_holds_nothing_between_requests() -> None:
    asked = scenario(tiers={"l1": {"scope": "request"}, "l2": {"ttl": SHORT}})
    state = sampled(asked)
    assert state.l1 == ()
    assert state.l2
    assert_consistent(asked, state)


def test_another_l1_ttl_leaves_the_entries_of_l2_as_they_were() -> None:
    states = [
        sampled(scenario(tiers={"l2": {"ttl": SHORT}, "l1": l1}))
        for l1 in ({"ttl": "20s"}, {"ttl": "0.5s"}, {"scope": "request"})
    ]
    entries = [[(e.cache_type, e.subject, e.residual) for e in state.l2] for state in states]
    assert entries[0] == entries[1] == entries[2]


def test_the_ttl_of_one_type_leaves_the_entries_of_the_others_as_they_were() -> None:
    base = sampled(scenario())
    ttls = SHORT | {"lookup_data": "3s"}
    other = sampled(scenario(tiers={"l2": {"ttl": ttls, "cache_ttl": "15s"}, "l1": {"ttl": "20s"}}))

    def rest(entries: tuple[WarmL1, ...] | tuple[WarmL2, ...]) -> list[WarmL1 | WarmL2]:
        return [entry for entry in entries if entry.cache_type != "lookup_data"]

    assert rest(base.l2) == rest(other.l2)
    assert rest(base.l1) == rest(other.l1)
    assert base.l2 != other.l2


@dataclass
class Seen:
    """What a plain simulation of one key shows at time 0, over many independent tries."""

    l2: int = 0
    l1: int = 0
    hot: int = 0
    tries: int = 0


def simulated(rate: float, ttl: float, asked: Scenario, tries: int) -> Seen:
    """Play reads of one key from long before time 0, again and again."""
    rng = np.random.default_rng(17)
    isolates, l1_ttl = asked.topology.isolate_count, asked.tiers.l1.ttl
    keeps = asked.tiers.l1.scope == "isolate"
    seen = Seen(tries=tries)
    for _ in range(tries):
        begin = -(ttl * 4 + 4 / rate)
        reads = np.sort(rng.uniform(begin, 0.0, rng.poisson(-begin * rate)))
        l2_end, l2_read = -np.inf, -np.inf
        l1_end = np.full(isolates, -np.inf)
        for now, isolate in zip(reads, rng.integers(0, isolates, reads.size), strict=True):
            if l1_end[isolate] > now:
                continue
            l2_read = now
            if l2_end <= now:
                l2_end = now + ttl
            if keeps:
                l1_end[isolate] = min(l2_end, now + l1_ttl)
        seen.l2 += l2_end > 0
        seen.l1 += int(np.count_nonzero(l1_end > 0))
        seen.hot += l2_end > 0 and l2_read + asked.tiers.l2.cache_ttl > 0
    return seen


@pytest.mark.parametrize("scope", ["isolate", "request"])
@pytest.mark.parametrize("cache_type", TYPES)
def test_the_sample_agrees_with_a_plain_simulation_from_long_before(
    scope: str, cache_type: str
) -> None:
    asked = scenario(
        tiers={"l2": {"ttl": SHORT, "cache_ttl": "15s"}, "l1": {"ttl": "20s", "scope": scope}}
    )
    rate = expected_rates(asked)[cache_type]
    played = simulated(rate, asked.tiers.l2.ttl.of(cache_type), asked, 4_000)
    runs = 10
    drawn = Seen(tries=runs * (400 if cache_type == "attribution" else 1_500))
    for replication in range(runs):
        state = sampled(asked, replication)
        drawn.l2 += sum(e.cache_type == cache_type for e in state.l2)
        drawn.l1 += sum(e.cache_type == cache_type for e in state.l1)
        drawn.hot += sum(e.cache_type == cache_type and e.hot > 0 for e in state.l2)
    isolates = asked.topology.isolate_count
    for name, width in (("l2", 1), ("l1", isolates), ("hot", 1)):
        a, b = (
            getattr(played, name) / played.tries / width,
            getattr(drawn, name) / drawn.tries / width,
        )
        pooled = (
            (getattr(played, name) + getattr(drawn, name)) / (played.tries + drawn.tries) / width
        )
        # Isolates of one key are not independent: the tries count, not tries x isolates.
        deviation = np.sqrt(pooled * (1 - pooled) * (1 / played.tries + 1 / drawn.tries))
        assert abs(a - b) <= SIGMAS * deviation, (name, a, b)


Access = tuple[float, int, int]


def history_of(accesses: list[Access]) -> History:
    seconds, endpoint, subject = (np.array(column) for column in zip(*accesses, strict=True))
    return History(
        seconds=seconds.astype(np.float64),
        endpoint=endpoint.astype(np.uint8),
        subject=subject.astype(np.uint32),
    )


def replayed(asked: Scenario, accesses: list[Access]) -> WarmState:
    return warm_state(asked, Prepared(workload=WORKLOAD, history=history_of(accesses)))


ACCESSES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 1.0, 4.0, 19.5, 20.0]), st.integers(0, 2), st.integers(0, 12)
    ),
    min_size=1,
    max_size=60,
).map(
    lambda steps: [
        (float(time), endpoint, subject)
        for time, (_, endpoint, subject) in zip(
            np.cumsum([step[0] for step in steps]) - sum(step[0] for step in steps) - 0.25,
            steps,
            strict=True,
        )
    ]
)


def walk(
    asked: Scenario, accesses: list[Access]
) -> tuple[dict[tuple[str, int], tuple[float, float]], list[tuple[str, int, float]]]:
    """Go through *accesses* with one isolate; return L2's ends and hot ends, and L1 in order."""
    l2: dict[tuple[str, int], tuple[float, float]] = {}
    l1: list[tuple[str, int, float]] = []
    idle, asked_at = asked.topology.eviction.idle or np.inf, accesses[0][0]
    for now, endpoint, subject in [*accesses, (0.0, -1, 0)]:
        if now - asked_at >= idle:
            l1 = []  # its isolate was evicted
        asked_at = now
        if endpoint < 0:
            break  # the run begins
        reads = [(("lookup_data", "attribution", "user_journeys")[endpoint], subject)]
        if endpoint == 0:
            reads.insert(0, ("security_config", subject % asked.traffic.sites))
        for key in reads:
            found = [entry for entry in l1 if entry[:2] == key and entry[2] > now]
            l1 = [entry for entry in l1 if entry[:2] != key]
            if found:
                l1 += found
                continue
            end = l2.get(key, (-np.inf, 0.0))[0]
            if end <= now:
                end = now + asked.tiers.l2.ttl.of(key[0])
            l2[key] = (end, now + asked.tiers.l2.cache_ttl)
            if asked.tiers.l1.scope == "isolate":
                l1.append((*key, min(end, now + asked.tiers.l1.ttl)))
                l1 = l1[-asked.tiers.l1.max_entries :]
    return l2, l1


@settings(max_examples=200)
@given(
    accesses=ACCESSES,
    scope=st.sampled_from(["isolate", "request"]),
    idle=st.sampled_from(["0s", "3s"]),
)
def test_one_isolate_replays_as_a_plain_walk_does(
    accesses: list[Access], scope: str, idle: str
) -> None:
    l1 = {"ttl": "20s", "scope": scope, "max_entries": 6}
    asked = scenario(
        tiers={"l2": {"ttl": SHORT, "cache_ttl": "15s"}, "l1": l1},
        traffic={"sites": 5},
        topology={"isolates": 1, "eviction": {"idle": idle}},
    )
    state = replayed(asked, accesses)
    ends, kept = walk(asked, accesses)
    assert {(e.cache_type, e.subject): (e.residual, e.hot) for e in state.l2} == {
        key: (end, max(hot, 0.0)) for key, (end, hot) in ends.items() if end > 0
    }
    assert [(e.cache_type, e.subject, e.residual) for e in state.l1] == [
        entry for entry in kept if entry[2] > 0
    ]


@given(accesses=ACCESSES)
def test_a_replay_knows_what_is_hot_in_each_region(accesses: list[Access]) -> None:
    asked = scenario(regions=[{"name": "near", "share": 3}, {"name": "far", "share": 1}])
    state = replayed(asked, accesses)
    assert len(state.hot) == len(state.l2)
    for entry, by_process in zip(state.l2, state.hot, strict=True):
        assert max(by_process) == entry.hot


@given(accesses=ACCESSES)
def test_isolates_change_nothing_about_what_l2_holds(accesses: list[Access]) -> None:
    states = []
    for isolates in (1, 4):
        asked = scenario(topology={"isolates": isolates})
        states.append(replayed(asked, accesses))
        assert_consistent(asked, states[-1])
    one, four = ([e._replace(hot=0.0) for e in state.l2] for state in states)
    assert one == four


def test_keys_read_before_what_is_gone_through_are_held_by_their_rate() -> None:
    distinct, step = 2_000, 0.001
    total = REPLAYED + distinct
    accesses = [((i - total) * step, 1 if i < distinct else 0, i % distinct) for i in range(total)]
    asked = scenario(tiers={"l2": {"ttl": {"attribution": "200s"}}}, topology={"isolates": 1})
    state = replayed(asked, accesses)
    expected = 200.0 / (total * step)
    # Held when the walk begins, and not over at its end.
    alive = expected / (1 + expected) * (1 - REPLAYED * step / 200.0)
    held = [entry for entry in state.l2 if entry.cache_type == "attribution"]
    assert within_chance(len(held), distinct, alive)
    assert max(entry.residual for entry in held) <= 200.0 - REPLAYED * step


def test_a_trace_without_accesses_before_its_window_warms_nothing() -> None:
    asked = scenario()
    empty = History(
        seconds=np.empty(0), endpoint=np.empty(0, np.uint8), subject=np.empty(0, np.uint32)
    )
    prepared = Prepared(workload=WORKLOAD, history=empty)
    assert warm_state(asked, prepared) == WarmState()


# --- What has ended and is still held -----------------------------------------------------------


def held(state: WarmState, isolate: int) -> list[tuple[str, int]]:
    return [(kind, subject) for kind, ids in state.expired_of(isolate) for subject in ids]


def test_an_l1_with_room_holds_every_key_that_was_ever_read() -> None:
    asked = scenario()
    state = sampled(asked)
    for isolate in range(3):
        live = [(e.cache_type, e.subject) for e in state.l1 if e.isolate == isolate]
        ended = held(state, isolate)
        assert len({*live, *ended}) == len(live) + len(ended)  # an entry lives, or has ended
        numbers = Counter(kind for kind, _ in [*live, *ended])
        assert numbers["lookup_data"] == numbers["user_journeys"] == 1_500
        assert numbers["attribution"] == 400


def test_an_l1_without_room_is_full_and_holds_what_ended_last() -> None:
    asked = scenario(tiers={"l1": {"ttl": "20s", "max_entries": 700}, "l2": {"ttl": SHORT}})
    state, roomy = sampled(asked), sampled(scenario())
    for isolate in range(3):
        live = sum(entry.isolate == isolate for entry in state.l1)
        ended = held(state, isolate)
        assert live + len(ended) == 700
        # What ended last in each type is what the larger cache has at its hot end.
        by_type = dict(roomy.expired_of(isolate))
        for kind, ids in state.expired_of(isolate):
            assert ids == by_type[kind][len(by_type[kind]) - len(ids) :]


def test_a_replay_keeps_what_has_ended_in_its_order() -> None:
    asked = scenario(topology={"isolates": 1})
    history = history_of([(-500.0, 0, 5), (-400.0, 0, 7), (-1.0, 0, 9)])
    state = warm_state(asked, Prepared(workload=WORKLOAD, history=history))
    assert held(state, 0) == [
        ("security_config", 5), ("security_config", 7), ("lookup_data", 5), ("lookup_data", 7)
    ]  # fmt: skip
    assert {entry.subject for entry in state.l1} == {9}
