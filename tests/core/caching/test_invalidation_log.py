"""Claims about stamps: which loads are too old, and that less memory never means fewer refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.caching import invalidation_log as module
from core.caching.invalidation_log import MAX_PREFIXES, MAX_STAMPS, Stamps, Target

HORIZON_MS = 60_000


class Timed:
    """Stamps, and the milliseconds that they go by."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.stamps = Stamps(lambda: self.now, horizon=HORIZON_MS / 1000)

    def refuses(self, key: str, loaded_ms: int, *tags: str) -> bool:
        return self.stamps.refuses(key, tags, loaded_ms)


def test_what_was_never_invalidated_is_never_refused() -> None:
    timed = Timed()
    assert not timed.stamps.is_active
    assert not timed.refuses("k", 0, "t")
    assert not timed.stamps.refuses_load("k", ("t",), 0)


def test_a_stamp_is_for_what_it_names_and_for_what_was_loaded_up_to_then() -> None:
    timed = Timed()
    for target in (Target(keys=("a", "b")), Target(prefix="user:"), Target(tag="t")):
        timed.stamps.invalidate(target)
    now = timed.now
    for key, tags in (("a", ()), ("b", ("x",)), ("user:1", ()), ("k", ("x", "t"))):
        assert timed.refuses(key, now, *tags)
        assert not timed.refuses(key, now + 1, *tags)
    for key, tags in (("ab", ()), ("user", ()), ("k", ("x",)), ("t", ())):
        assert not timed.refuses(key, now, *tags)


def test_a_later_invalidation_raises_the_stamp() -> None:
    timed = Timed()
    timed.stamps.invalidate(Target(keys=("k",)))
    timed.now += 500
    timed.stamps.invalidate(Target(keys=("k",)))
    assert timed.refuses("k", timed.now)


@given(steps=st.lists(st.sampled_from(["load", "invalidate", "bar", "wait", "back"]), max_size=60))
def test_a_load_is_refused_if_and_only_if_an_invalidation_followed_its_start(
    steps: list[str],
) -> None:
    timed = Timed()
    loads: list[tuple[int, bool]] = []
    for step in steps:
        if step == "load":
            loads.append((timed.stamps.load(), False))
        elif step == "wait":
            timed.now += 1
        elif step == "back":  # a clock is not to go back; if it does, nothing is let through
            timed.now -= 1
        else:
            if step == "invalidate":
                timed.stamps.invalidate(Target(keys=("k",)))
            else:
                timed.stamps.bar_loads()
            loads = [(stamp, True) for stamp, _ in loads]
    for stamp, is_overtaken in loads:
        assert timed.stamps.refuses_load("k", (), stamp) == is_overtaken


def test_barring_loads_refuses_no_value_of_other_processes() -> None:
    timed = Timed()
    stamp = timed.stamps.load()
    timed.stamps.bar_loads()
    assert timed.stamps.refuses_load("k", (), stamp)
    assert not timed.refuses("k", stamp)


def test_cleared_stamps_refuse_no_value_but_still_the_loads_that_were_barred() -> None:
    timed = Timed()
    stamp = timed.stamps.load()
    for target in (Target(keys=("k",)), Target(prefix=""), Target(tag="t")):
        timed.stamps.invalidate(target)
    timed.stamps.bar_loads()
    timed.stamps.clear()
    assert not timed.stamps.is_active
    assert not timed.refuses("k", 0, "t")
    assert timed.stamps.refuses_load("k", ("t",), stamp)
    assert not timed.stamps.refuses_load("k", ("t",), timed.stamps.load())


def test_stamps_are_forgotten_after_the_horizon_and_not_before() -> None:
    timed = Timed()
    first = timed.now
    timed.stamps.invalidate(Target(keys=("k",)))
    timed.stamps.invalidate(Target(prefix="p:"))
    timed.stamps.invalidate(Target(tag="t"))
    timed.now += HORIZON_MS
    timed.stamps.invalidate(Target(keys=("other",)))
    assert len(timed.stamps) == 4
    assert timed.refuses("k", first)
    timed.now += 1
    timed.stamps.invalidate(Target(keys=("other",)))
    assert len(timed.stamps) == 2
    assert not timed.refuses("k", first)
    assert not timed.refuses("p:1", first)
    assert not timed.refuses("x", first, "t")


def test_what_is_forgotten_of_a_key_is_its_old_stamp_only() -> None:
    timed = Timed()
    timed.stamps.invalidate(Target(keys=("k",)))
    timed.now += HORIZON_MS
    timed.stamps.invalidate(Target(keys=("k",)))
    timed.now += 1
    timed.stamps.invalidate(Target(keys=("other",)))
    assert timed.refuses("k", timed.now - 1)


def test_more_stamps_than_are_kept_refuse_more_and_never_less() -> None:
    timed = Timed()
    times = []
    for number in range(MAX_STAMPS + 10):
        timed.now += number % 2
        timed.stamps.invalidate(Target(keys=(f"k{number}",)))
        times.append(timed.now)
    assert len(timed.stamps) == MAX_STAMPS
    for number in (0, 5, 9, 10, 11, 50_000, MAX_STAMPS + 9):
        assert timed.refuses(f"k{number}", times[number])
        assert not timed.refuses(f"k{number}", times[number] + 1) or number < 10
    assert timed.refuses("never invalidated", times[9])
    assert not timed.refuses("never invalidated", times[9] + 1)


def test_many_keys_of_one_invalidation_do_not_exceed_what_is_kept() -> None:
    timed = Timed()
    timed.stamps.invalidate(Target(keys=tuple(map(str, range(MAX_STAMPS + 1)))))
    assert len(timed.stamps) == MAX_STAMPS
    assert timed.refuses("0", timed.now)
    assert timed.refuses(str(MAX_STAMPS), timed.now)


def test_prefixes_are_kept_fewer_of_because_every_read_looks_at_them_all() -> None:
    timed = Timed()
    for number in range(MAX_PREFIXES + 1):
        timed.now += 1
        timed.stamps.invalidate(Target(prefix=f"p{number}:"))
    assert len(timed.stamps) == MAX_PREFIXES
    first = timed.now - MAX_PREFIXES
    assert timed.refuses("p0:1", first)
    assert timed.refuses("other", first)
    assert not timed.refuses("other", first + 1)
    assert timed.refuses(f"p{MAX_PREFIXES}:1", timed.now)


names = st.sampled_from(["a:1", "a:2", "b:1"])
targets = st.one_of(
    st.lists(names, min_size=1).map(lambda keys: Target(keys=tuple(keys))),
    st.sampled_from(["", "a:", "b:"]).map(lambda prefix: Target(prefix=prefix)),
    st.sampled_from(["s", "t"]).map(lambda tag: Target(tag=tag)),
)


@given(
    invalidations=st.lists(st.tuples(targets, st.sampled_from([0, 1, 7])), max_size=20),
    key=names,
    tags=st.lists(st.sampled_from(["s", "t"]), unique=True).map(tuple),
    bound=st.sampled_from([1, 2, 1_000]),
)
def test_everything_older_than_an_invalidation_of_it_is_refused_however_little_is_kept(
    invalidations: list[tuple[Target, int]], key: str, tags: tuple[str, ...], bound: int
) -> None:
    timed, latest = Timed(), -1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_STAMPS", bound)
        patch.setattr(module, "MAX_PREFIXES", bound)
        for target, wait in invalidations:
            timed.now += wait
            timed.stamps.invalidate(target)
            is_prefix = target.prefix is not None and key.startswith(target.prefix)
            if key in target.keys or is_prefix or target.tag in tags:
                latest = timed.now
        assert len(timed.stamps) <= bound
    assert latest < 0 or timed.refuses(key, latest, *tags)
    if bound == 1_000:
        assert not timed.refuses(key, max(latest, 0) + 1, *tags) or latest < 0
        assert latest >= 0 or not timed.refuses(key, 0, *tags)


@pytest.mark.parametrize("horizon", [0.0, -1.0])
def test_a_horizon_of_nothing_is_refused(horizon: float) -> None:
    with pytest.raises(ValueError, match="horizon is"):
        Stamps(lambda: 0, horizon=horizon)
