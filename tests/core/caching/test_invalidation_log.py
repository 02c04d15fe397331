"""Claims about stamps: which loads are too old, and that less memory never means fewer refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.caching import invalidation_log as module
from core.caching.invalidation_log import MAX_PREFIXES, MAX_RECORDS, InvalidationLog, Selector

HORIZON_MS = 60_000


class Timed:
    """InvalidationLog, and the milliseconds that they go by."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.log = InvalidationLog(lambda: self.now, horizon=HORIZON_MS / 1000)

    def refuses(self, key: str, loaded_ms: int, *tags: str) -> bool:
        return self.log.refuses(key, tags, loaded_ms)


def test_what_was_never_invalidated_is_never_refused() -> None:
    timed = Timed()
    assert not timed.log.is_active
    assert not timed.refuses("k", 0, "t")
    assert not timed.log.refuses_load("k", ("t",), 0)


def test_a_stamp_is_for_what_it_names_and_for_what_was_loaded_up_to_then() -> None:
    timed = Timed()
    for target in (Selector(keys=("a", "b")), Selector(prefix="user:"), Selector(tag="t")):
        timed.log.invalidate(target)
    now = timed.now
    for key, tags in (("a", ()), ("b", ("x",)), ("user:1", ()), ("k", ("x", "t"))):
        assert timed.refuses(key, now, *tags)
        assert not timed.refuses(key, now + 1, *tags)
    for key, tags in (("ab", ()), ("user", ()), ("k", ("x",)), ("t", ())):
        assert not timed.refuses(key, now, *tags)


def test_a_later_invalidation_raises_the_stamp() -> None:
    timed = Timed()
    timed.log.invalidate(Selector(keys=("k",)))
    timed.now += 500
    timed.log.invalidate(Selector(keys=("k",)))
    assert timed.refuses("k", timed.now)


@given(steps=st.lists(st.sampled_from(["load", "invalidate", "bar", "wait", "back"]), max_size=60))
def test_a_load_is_refused_if_and_only_if_an_invalidation_followed_its_start(
    steps: list[str],
) -> None:
    timed = Timed()
    loads: list[tuple[int, bool]] = []
    for step in steps:
        if step == "load":
            loads.append((timed.log.load(), False))
        elif step == "wait":
            timed.now += 1
        elif step == "back":  # a clock is not to go back; if it does, nothing is let through
            timed.now -= 1
        else:
            if step == "invalidate":
                timed.log.invalidate(Selector(keys=("k",)))
            else:
                timed.log.refuse_loads_in_flight()
            loads = [(stamp, True) for stamp, _ in loads]
    for stamp, is_overtaken in loads:
        assert timed.log.refuses_load("k", (), stamp) == is_overtaken


def test_barring_loads_refuses_no_value_of_other_processes() -> None:
    timed = Timed()
    stamp = timed.log.load()
    timed.log.refuse_loads_in_flight()
    assert timed.log.refuses_load("k", (), stamp)
    assert not timed.refuses("k", stamp)


def test_cleared_stamps_refuse_no_value_but_still_the_loads_that_were_barred() -> None:
    timed = Timed()
    stamp = timed.log.load()
    for target in (Selector(keys=("k",)), Selector(prefix=""), Selector(tag="t")):
        timed.log.invalidate(target)
    timed.log.refuse_loads_in_flight()
    timed.log.clear()
    assert not timed.log.is_active
    assert not timed.refuses("k", 0, "t")
    assert timed.log.refuses_load("k", ("t",), stamp)
    assert not timed.log.refuses_load("k", ("t",), timed.log.load())


def test_stamps_are_forgotten_after_the_horizon_and_not_before() -> None:
    timed = Timed()
    first = timed.now
    timed.log.invalidate(Selector(keys=("k",)))
    timed.log.invalidate(Selector(prefix="p:"))
    timed.log.invalidate(Selector(tag="t"))
    timed.now += HORIZON_MS
    timed.log.invalidate(Selector(keys=("other",)))
    assert len(timed.log) == 4
    assert timed.refuses("k", first)
    timed.now += 1
    timed.log.invalidate(Selector(keys=("other",)))
    assert len(timed.log) == 2
    assert not timed.refuses("k", first)
    assert not timed.refuses("p:1", first)
    assert not timed.refuses("x", first, "t")


def test_what_is_forgotten_of_a_key_is_its_old_stamp_only() -> None:
    timed = Timed()
    timed.log.invalidate(Selector(keys=("k",)))
    timed.now += HORIZON_MS
    timed.log.invalidate(Selector(keys=("k",)))
    timed.now += 1
    timed.log.invalidate(Selector(keys=("other",)))
    assert timed.refuses("k", timed.now - 1)


def test_more_stamps_than_are_kept_refuse_more_and_never_less() -> None:
    timed = Timed()
    times = []
    for number in range(MAX_RECORDS + 10):
        timed.now += number % 2
        timed.log.invalidate(Selector(keys=(f"k{number}",)))
        times.append(timed.now)
    assert len(timed.log) == MAX_RECORDS
    for number in (0, 5, 9, 10, 11, 50_000, MAX_RECORDS + 9):
        assert timed.refuses(f"k{number}", times[number])
        assert not timed.refuses(f"k{number}", times[number] + 1) or number < 10
    assert timed.refuses("never invalidated", times[9])
    assert not timed.refuses("never invalidated", times[9] + 1)


def test_many_keys_of_one_invalidation_do_not_exceed_what_is_kept() -> None:
    timed = Timed()
    timed.log.invalidate(Selector(keys=tuple(map(str, range(MAX_RECORDS + 1)))))
    assert len(timed.log) == MAX_RECORDS
    assert timed.refuses("0", timed.now)
    assert timed.refuses(str(MAX_RECORDS), timed.now)


def test_prefixes_are_kept_fewer_of_because_every_read_looks_at_them_all() -> None:
    timed = Timed()
    for number in range(MAX_PREFIXES + 1):
        timed.now += 1
        timed.log.invalidate(Selector(prefix=f"p{number}:"))
    assert len(timed.log) == MAX_PREFIXES
    first = timed.now - MAX_PREFIXES
    assert timed.refuses("p0:1", first)
    assert timed.refuses("other", first)
    assert not timed.refuses("other", first + 1)
    assert timed.refuses(f"p{MAX_PREFIXES}:1", timed.now)


names = st.sampled_from(["a:1", "a:2", "b:1"])
targets = st.one_of(
    st.lists(names, min_size=1).map(lambda keys: Selector(keys=tuple(keys))),
    st.sampled_from(["", "a:", "b:"]).map(lambda prefix: Selector(prefix=prefix)),
    st.sampled_from(["s", "t"]).map(lambda tag: Selector(tag=tag)),
)


@given(
    invalidations=st.lists(st.tuples(targets, st.sampled_from([0, 1, 7])), max_size=20),
    key=names,
    tags=st.lists(st.sampled_from(["s", "t"]), unique=True).map(tuple),
    bound=st.sampled_from([1, 2, 1_000]),
)
def test_everything_older_than_an_invalidation_of_it_is_refused_however_little_is_kept(
    invalidations: list[tuple[Selector, int]], key: str, tags: tuple[str, ...], bound: int
) -> None:
    timed, latest = Timed(), -1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_RECORDS", bound)
        patch.setattr(module, "MAX_PREFIXES", bound)
        for target, wait in invalidations:
            timed.now += wait
            timed.log.invalidate(target)
            is_prefix = target.prefix is not None and key.startswith(target.prefix)
            if key in target.keys or is_prefix or target.tag in tags:
                latest = timed.now
        assert len(timed.log) <= bound
    assert latest < 0 or timed.refuses(key, latest, *tags)
    if bound == 1_000:
        assert not timed.refuses(key, max(latest, 0) + 1, *tags) or latest < 0
        assert latest >= 0 or not timed.refuses(key, 0, *tags)


@pytest.mark.parametrize("horizon", [0.0, -1.0])
def test_a_horizon_of_nothing_is_refused(horizon: float) -> None:
    with pytest.raises(ValueError, match="horizon is"):
        InvalidationLog(lambda: 0, horizon=horizon)
