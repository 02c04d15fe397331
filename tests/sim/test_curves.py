"""Curves of a trace against caches written plainly: lists and dictionaries, as the papers say."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import InputError
from core.scenario.trace import ORACLE, read_trace
from sim.curves.distances import distances, hits_by_size
from sim.curves.numbering import numbered
from sim.curves.policies import POLICIES, Accesses, Policy, simulated
from sim.curves.reading import read_accesses
from sim.curves.trace_curve import trace_curve


class Held:
    """A cache of the oracle: what is held, with weight and end of life, by key."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.weight: dict[int, int] = {}
        self.end: dict[int, float] = {}

    @property
    def used(self) -> int:
        return sum(self.weight.values())

    def forget(self, key: int) -> None:
        del self.weight[key], self.end[key]


class Ordered(Held):
    """LRU or FIFO: an ordered dictionary, the next victim first."""

    def __init__(self, room: int, *, moves: bool) -> None:
        super().__init__(room)
        self.moves = moves
        self.order: OrderedDict[int, None] = OrderedDict()

    def hit(self, key: int) -> None:
        if self.moves:
            self.order.move_to_end(key)

    def expire(self, key: int) -> None:
        del self.order[key]

    def evict(self, incoming: int) -> None:
        del incoming
        self.forget(self.order.popitem(last=False)[0])

    def insert(self, key: int) -> None:
        self.order[key] = None


class Sieve(Held):
    """SIEVE: a list from the newest to the oldest, and a hand that walks from old to new."""

    def __init__(self, room: int) -> None:
        super().__init__(room)
        self.queue: list[int] = []
        self.visited: set[int] = set()
        self.hand: int | None = None  # a key

    def hit(self, key: int) -> None:
        self.visited.add(key)

    def _newer(self, key: int) -> int | None:
        at = self.queue.index(key)
        return self.queue[at - 1] if at else None

    def expire(self, key: int) -> None:
        if self.hand == key:
            self.hand = self._newer(key)
        self.queue.remove(key)
        self.visited.discard(key)

    def evict(self, incoming: int) -> None:
        del incoming
        at = self.queue[-1] if self.hand is None else self.hand
        while at in self.visited:
            self.visited.remove(at)
            newer = self._newer(at)
            at = self.queue[-1] if newer is None else newer
        self.hand = self._newer(at)
        self.queue.remove(at)
        self.forget(at)

    def insert(self, key: int) -> None:
        self.queue.insert(0, key)


class S3Fifo(Held):
    """S3-FIFO: a small, a main and a ghost queue, oldest first."""

    def __init__(self, room: int) -> None:
        super().__init__(room)
        self.small: list[int] = []
        self.main: list[int] = []
        self.ghosts: list[int] = []
        self.ghost_weight: dict[int, int] = {}
        self.hits: dict[int, int] = {}
        self.small_room = max(1, room // 10)
        self.was_ghost = False

    def hit(self, key: int) -> None:
        self.hits[key] = min(3, self.hits[key] + 1)

    def expire(self, key: int) -> None:
        (self.small if key in self.small else self.main).remove(key)

    def meet(self, key: int) -> None:
        self.was_ghost = key in self.ghosts
        if self.was_ghost:
            self.ghosts.remove(key)

    def evict(self, incoming: int) -> None:
        del incoming
        if sum(self.weight[k] for k in self.small) >= self.small_room or not any(
            self.weight[k] for k in self.main
        ):
            key = self.small.pop(0)
            if self.hits[key] > 1:
                self.hits[key] = 0
                self.main.append(key)
                return
            self.ghosts.append(key)
            self.ghost_weight[key] = self.weight[key]
            while sum(self.ghost_weight[k] for k in self.ghosts) > self.room - self.small_room:
                self.ghosts.pop(0)
            self.forget(key)
            return
        key = self.main.pop(0)
        if self.hits[key]:
            self.hits[key] -= 1
            self.main.append(key)
        else:
            self.forget(key)

    def insert(self, key: int) -> None:
        (self.main if self.was_ghost else self.small).append(key)
        self.hits[key] = 0


class TwoQueues(Held):
    """2Q, full version: A1in and A1out oldest first, Am the least recently used first."""

    def __init__(self, room: int) -> None:
        super().__init__(room)
        self.a1in: list[int] = []
        self.a1out: list[int] = []
        self.am: list[int] = []
        self.ghost_weight: dict[int, int] = {}
        self.was_ghost = False

    def hit(self, key: int) -> None:
        if key in self.am:
            self.am.remove(key)
            self.am.append(key)

    def expire(self, key: int) -> None:
        (self.a1in if key in self.a1in else self.am).remove(key)

    def meet(self, key: int) -> None:
        self.was_ghost = key in self.a1out
        if self.was_ghost:
            self.a1out.remove(key)

    def evict(self, incoming: int) -> None:
        del incoming
        kin, kout = max(1, self.room // 4), max(1, self.room // 2)
        if sum(self.weight[k] for k in self.a1in) > kin or not any(self.weight[k] for k in self.am):
            key = self.a1in.pop(0)
            self.a1out.append(key)
            self.ghost_weight[key] = self.weight[key]
            while sum(self.ghost_weight[k] for k in self.a1out) > kout:
                self.a1out.pop(0)
            self.forget(key)
        else:
            self.forget(self.am.pop(0))

    def insert(self, key: int) -> None:
        (self.am if self.was_ghost else self.a1in).append(key)


def plainly(
    policy: Policy,
    room: int,
    keys: list[int],
    *,
    times: list[float] | None = None,
    ttls: list[float] | None = None,
    weights: list[int] | None = None,
    start: int = 0,
) -> int:
    """Return the hits of the oracle's cache."""
    caches: dict[Policy, Ordered | Sieve | S3Fifo | TwoQueues] = {
        "LRU": Ordered(room, moves=True),
        "FIFO": Ordered(room, moves=False),
        "SIEVE": Sieve(room),
        "S3-FIFO": S3Fifo(room),
        "2Q": TwoQueues(room),
    }
    cache = caches[policy]
    hits = 0
    for place, key in enumerate(keys):
        now = 0.0 if times is None else times[place]
        if key in cache.weight:
            if cache.end[key] > now:
                hits += place >= start
                cache.hit(key)
                continue
            cache.expire(key)
            cache.forget(key)
        weight = 1 if weights is None else weights[place]
        if weight > room:
            continue
        if isinstance(cache, S3Fifo | TwoQueues):
            cache.meet(key)
        while cache.used + weight > room:
            cache.evict(key)
        cache.insert(key)
        cache.weight[key] = weight
        cache.end[key] = math.inf if ttls is None else now + ttls[place]
    return hits


KEYS = st.lists(st.integers(0, 12), min_size=1, max_size=120)


def dense(keys: list[int]) -> tuple[np.ndarray, int]:
    return numbered(np.array(keys, np.uint64))


@settings(max_examples=60, deadline=None)
@given(keys=KEYS, start=st.integers(0, 30))
@example(keys=[0, 1, 2, 0, 1, 2], start=0)
def test_the_exact_curve_is_that_of_an_lru_of_every_size(keys: list[int], start: int) -> None:
    numbers, count = dense(keys)
    hits = hits_by_size(distances(numbers, count, start=start))
    assert hits.tolist()[1:] == [
        plainly("LRU", size, keys, start=start) for size in range(1, count + 1)
    ]


def test_the_exact_curve_survives_full_slots_and_blocks_of_blocks() -> None:
    generator = np.random.Generator(np.random.Philox(7))
    far = generator.integers(0, 40_000, 200_000)
    near = generator.integers(0, 50, 200_000)
    keys = np.where(generator.random(200_000) < 0.5, far, near).astype(np.uint64)
    numbers, count = numbered(keys)
    hits = hits_by_size(distances(numbers, count))
    accesses = Accesses(keys=numbers, key_count=count)
    for size in (1, 63, 64, 1_000, 2_047, 2_048, 30_000, count):
        assert hits[size] == simulated(accesses, "LRU", size).hits


@settings(max_examples=150, deadline=None)
@given(data=st.data(), keys=KEYS, policy=st.sampled_from(POLICIES), start=st.integers(0, 20))
def test_each_policy_hits_as_the_plain_cache_does(
    data: st.DataObject, keys: list[int], policy: Policy, start: int
) -> None:
    room = data.draw(st.integers(1, 14), "room")
    n = len(keys)
    numbers, count = dense(keys)
    times = ttls = weights = None
    if data.draw(st.booleans(), "expires"):
        gaps = data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=n, max_size=n))
        times = np.cumsum(gaps).tolist()
        ttls = data.draw(
            st.lists(st.sampled_from([1.0, 3.0, 9.0, math.inf]), min_size=n, max_size=n)
        )
    if data.draw(st.booleans(), "bytes"):
        room *= 3
        weights = data.draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))
    accesses = Accesses(
        keys=numbers,
        key_count=count,
        times=None if times is None else np.array(times),
        ttls=None if ttls is None else np.array(ttls),
        sizes=None if weights is None else np.array(weights, np.int64),
    )
    found = simulated(accesses, policy, room, by_bytes=weights is not None, start=start)
    assert found.hits == plainly(
        policy, room, keys, times=times, ttls=ttls, weights=weights, start=start
    )
    if weights is None:
        assert found.hit_bytes == found.hits


@given(ids=st.lists(st.integers(0, 2**64 - 1), max_size=60))
def test_numbers_are_dense_and_by_first_appearance(ids: list[int]) -> None:
    keys, count = numbered(np.array(ids, np.uint64))
    known: dict[int, int] = {}
    assert keys.tolist() == [known.setdefault(each, len(known)) for each in ids]
    assert count == len(known)


def test_numbers_outgrow_the_first_table() -> None:
    ids = np.arange(150_000, dtype=np.uint64) * np.uint64(2**20)
    keys, count = numbered(np.concatenate([ids, ids]))
    assert count == 150_000
    assert (keys == np.tile(np.arange(150_000), 2)).all()


def oracle_file(path: Path, keys: list[int], times: list[int]) -> Path:
    records = np.zeros(len(keys), ORACLE)
    records["key"], records["time"], records["size"] = keys, times, 7
    path.write_bytes(records.tobytes())
    return path


def test_a_mapped_file_reads_as_any_other_does(tmp_path: Path) -> None:
    path = oracle_file(tmp_path / "t.oracleGeneral", [9, 4, 9, 2**63], [5, 5, 6, 9])
    mapped = read_accesses(path).accesses
    usual = read_trace(path)
    assert mapped.times is not None
    assert usual.times is not None
    assert mapped.sizes is not None
    assert usual.sizes is not None
    assert mapped.keys.tolist() == usual.keys.tolist() == [0, 1, 0, 2]
    assert mapped.times.tolist() == usual.times.tolist() == [0, 0, 1, 4]
    assert mapped.sizes.tolist() == usual.sizes.tolist() == [7] * 4


@pytest.mark.parametrize("cut", [0, 25])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, cut: int) -> None:
    path = oracle_file(tmp_path / "t.oracleGeneral", [1, 2], [1, 2])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"ends here without|copy the file again"):
        read_accesses(path)


def test_times_that_step_back_are_refused(tmp_path: Path) -> None:
    path = oracle_file(tmp_path / "t.oracleGeneral", [1, 2], [9, 3])
    with pytest.raises(InputError, match="byte 24: time is 3 after 9"):
        read_accesses(path)


def test_independent_accesses_have_no_locality_gap_and_follow_theory() -> None:
    generator = np.random.Generator(np.random.Philox(3))
    weights = np.arange(1, 2_001) ** -0.9
    drawn = generator.choice(2_000, 300_000, p=weights / weights.sum())
    keys, count = numbered(drawn.astype(np.uint64))
    curve = trace_curve(
        "zipf", Accesses(keys=keys, key_count=count), sizes=(20, 200, 1_000), start=100_000,
        policies=(), isolates=(1, 4), shuffles=3,
    )  # fmt: skip
    assert curve.real.values == pytest.approx(curve.theory.values, abs=0.004)
    assert curve.locality_gap == pytest.approx((0, 0, 0), abs=0.004)
    one, four = curve.by_isolates
    assert one.values == curve.real.values
    # Of independent accesses an isolate's share is as mixed as the whole.
    assert four.values == pytest.approx(curve.real.values, abs=0.01)


def test_a_loop_is_all_gap_and_all_cliff() -> None:
    keys = np.tile(np.arange(100, dtype=np.int32), 50)
    curve = trace_curve(
        "loop", Accesses(keys=keys, key_count=100), sizes=(99, 100), start=1_000, shuffles=2
    )
    assert curve.real.values == (1.0, 0.0)
    assert curve.shuffled is not None
    assert curve.shuffled.values[0] < 0.1
    assert curve.exact[99:].tolist() == [1, 0]


def test_lives_make_misses() -> None:
    keys = np.zeros(100, np.int32)
    accesses = Accesses(keys=keys, key_count=1, times=np.arange(100.0), ttls=np.full(100, 10.0))
    curve = trace_curve("one", accesses, sizes=(1,), ttls=(1.0, 10.0, 1e9), shuffles=0)
    # A life of 10 s answers the nine accesses after a miss; one of 1 s none.
    assert {line.name: line.values[0] for line in curve.by_ttl} == {
        "1": 1.0, "10": 0.1, "1e+09": 0.01,
    }  # fmt: skip
    assert all(line.values == (0.1,) for line in curve.policies)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"sizes": (0,)}, "size 0"), ({"start": 3}, "none is left"), ({"ttls": (1.0,)}, "need times")],
)
def test_what_has_no_answer_is_refused(change: dict[str, object], says: str) -> None:
    accesses = Accesses(keys=np.zeros(3, np.int32), key_count=1)
    with pytest.raises(ValueError, match=says):
        trace_curve("t", accesses, **change)  # type: ignore[arg-type]


def test_another_unit_than_the_format_has_is_refused(tmp_path: Path) -> None:
    path = oracle_file(tmp_path / "t.oracleGeneral", [1, 2], [1, 2])
    with pytest.raises(InputError, match="byte 0: oracleGeneral has its times in seconds, not ms"):
        read_accesses(path, time_unit="ms")
    assert read_accesses(path, time_unit="s").accesses.key_count == 2
