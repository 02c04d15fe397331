"""Claims about L2 as an isolate sees it: its time limits, its breaker, and what is in its bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.caching.breaker import CircuitBreaker
from core.caching.envelope import HEADER_BYTES, Envelope, loaded_ms_of, seal, unseal
from core.caching.kv import StoreItem
from core.caching.policy import CacheType, Json, Text
from core.errors import StoreError, StoreTimeout
from core.wire import BYPASS, L1_HIT, L2_HIT, MISS
from tests.core.caching.rig import (
    KEY,
    KIND,
    L1_TTL,
    TTL,
    Draws,
    Rig,
    forbidden,
    settle,
    switched,
)

SOFT = 0.05
SLOW = 0.2


def test_the_soft_limit_ends_a_read_that_has_a_value_to_fall_back_on() -> None:
    rig = Rig(policy=switched(l2_soft_timeout=SOFT, stale_if_error=40.0))

    async def main() -> None:
        await rig.read(b"old")
        rig.clock.advance(L1_TTL)
        rig.kv.latency["get"] = SLOW
        assert await rig.get(forbidden) == b"old"
        assert rig.clock.now() == pytest.approx(L1_TTL + SOFT)
        assert rig.codes == [MISS, L1_HIT]
        statistics = rig.statistics
        assert (statistics.l2_late, statistics.l2_errors, statistics.l1_extended) == (1, 1, 1)
        await asyncio.sleep(SLOW)  # the answer comes, and nobody waits for it
        rig.kv.latency["get"] = SOFT / 2
        assert await rig.get(forbidden) == b"old"
        assert rig.codes[2:] == [L2_HIT]

    rig.run(main())


@pytest.mark.parametrize("switches", [{"stale_while_revalidate": 40.0}, {"early_refresh": 1.0}])
def test_a_value_that_may_not_be_served_is_nothing_to_fall_back_on(
    switches: dict[str, float],
) -> None:
    rig = Rig(policy=switched(l2_soft_timeout=SOFT, **switches), uniform=Draws())

    async def main() -> None:
        await rig.read(b"old")
        rig.clock.advance(L1_TTL)  # L1 keeps it on, but only L2 knows whether it still holds
        rig.kv.latency["get"] = SLOW
        assert await rig.get(forbidden) == b"old"
        assert rig.codes == [MISS, L2_HIT]

    rig.run(main())


def test_the_soft_limit_does_not_end_a_read_that_has_nothing_to_fall_back_on() -> None:
    rig = Rig(policy=switched(l2_soft_timeout=SOFT, stale_if_error=40.0))

    async def main() -> None:
        await rig.read(b"v", isolate=1)
        rig.kv.latency["get"] = SLOW
        assert await rig.get(forbidden) == b"v"
        assert (rig.clock.now(), rig.codes) == (SLOW, [MISS, L2_HIT])
        assert rig.statistics.l2_late == 0

    rig.run(main())


@pytest.mark.parametrize("limit", [0.0, SOFT])
@pytest.mark.parametrize("failure", [StoreError, StoreTimeout])
def test_a_failure_before_the_soft_limit_is_a_failure_and_not_late(
    limit: float, failure: type[StoreError]
) -> None:
    rig = Rig(policy=switched(l2_soft_timeout=limit, stale_if_error=40.0))

    async def main() -> None:
        await rig.read(b"old")
        rig.clock.advance(L1_TTL)
        rig.kv.fail_next(1, "get", error=failure)
        assert await rig.get(forbidden) == b"old"
        assert (rig.statistics.l2_late, rig.statistics.l2_errors) == (0, 1)

    rig.run(main())


def test_a_failure_that_comes_after_the_soft_limit_is_nobodys() -> None:
    rig = Rig(policy=switched(l2_soft_timeout=SOFT, stale_if_error=40.0))

    async def main() -> None:
        await rig.read(b"old")
        rig.clock.advance(L1_TTL)
        rig.kv.latency["get"] = SLOW
        rig.kv.fail_next(1, "get")
        assert await rig.get(forbidden) == b"old"
        await asyncio.sleep(SLOW)
        assert [task.exception() for task in rig.background] == [None, None]
        assert rig.statistics.l2_errors == 1

    rig.run(main())


def test_an_outage_is_counted_as_errors_and_never_as_misses() -> None:
    rig = Rig()

    async def main() -> None:
        await rig.read()
        rig.kv.fail_next(10, "get")
        for number in range(10):
            await rig.read(key=f"k{number}")
        assert rig.codes == [MISS, *[BYPASS] * 10]
        assert rig.statistics.l2_errors == 10
        assert rig.statistics.outcomes[KIND.name][MISS] == 1

    rig.run(main())


def test_a_breaker_opens_after_failures_in_a_row_only() -> None:
    breaker = CircuitBreaker(failures=3, open_for=5.0)
    for failed in (True, True, False, True, True):
        if failed:
            breaker.fail(0.0)
        else:
            breaker.succeed()
        assert breaker.is_closed
    breaker.fail(0.0)
    assert not breaker.is_closed
    assert breaker.openings == 1


def test_an_open_breaker_lets_one_probe_through_after_its_time() -> None:
    breaker = CircuitBreaker(failures=1, open_for=5.0)
    breaker.fail(10.0)
    assert not breaker.allows(14.9)
    assert [breaker.allows(15.0) for _ in range(3)] == [True, False, False]
    breaker.succeed()
    assert all(breaker.allows(15.0) for _ in range(3))
    assert breaker.openings == 1


def test_a_probe_that_fails_opens_the_breaker_for_as_long_again() -> None:
    breaker = CircuitBreaker(failures=3, open_for=5.0)
    for _ in range(3):
        breaker.fail(10.0)
    assert breaker.allows(15.0)
    breaker.fail(16.0)
    assert not breaker.allows(20.9)
    assert breaker.allows(21.0)
    assert breaker.openings == 1


def test_a_probe_that_never_tells_is_followed_by_another() -> None:
    breaker = CircuitBreaker(failures=1, open_for=5.0)
    breaker.fail(10.0)
    assert breaker.allows(15.0)
    assert not breaker.allows(19.9)
    assert breaker.allows(20.0)


def test_an_operation_from_before_the_opening_that_succeeds_late_closes_the_breaker() -> None:
    breaker = CircuitBreaker(failures=1, open_for=5.0)
    breaker.fail(10.0)
    breaker.succeed()
    assert breaker.allows(10.0)
    breaker.fail(11.0)
    assert (breaker.is_closed, breaker.openings) == (False, 2)


def test_without_a_number_of_failures_a_breaker_never_opens() -> None:
    breaker = CircuitBreaker(failures=0, open_for=5.0)
    for _ in range(1_000):
        breaker.fail(0.0)
    assert breaker.allows(0.0)


@pytest.mark.parametrize(("failures", "open_for"), [(-1, 1.0), (1, -1.0)])
def test_a_breaker_refuses_less_than_nothing(failures: int, open_for: float) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        CircuitBreaker(failures=failures, open_for=open_for)


def test_an_open_breaker_keeps_reads_and_writes_from_l2_and_counts_them() -> None:
    rig = Rig(breaker=CircuitBreaker(failures=2, open_for=5.0))

    async def main() -> None:
        slow = asyncio.create_task(rig.read(key="slow", takes=1.0))
        await settle()
        rig.kv.fail_next(2, "get")
        for number in range(2):
            await rig.read(key=f"k{number}", isolate=number)
        asked = len(rig.calls("get"))
        for number in range(2, 6):  # of both isolates: they share the breaker
            await rig.read(key=f"k{number}", isolate=number % 2)
        await slow
        assert (len(rig.calls("get")), rig.calls("put")) == (asked, [])
        assert rig.codes == [*[BYPASS] * 6, MISS]
        # Four reads, and the write of what was missed before the breaker opened.
        assert rig.statistics.l2_skipped == 4 + 1
        assert (rig.statistics.l2_errors, rig.statistics.l2_reads) == (2, 3)
        assert rig.statistics.l2_writes == 0

    rig.run(main())


def test_a_single_probe_reaches_l2_and_its_success_opens_the_way_for_all() -> None:
    rig = Rig(breaker=CircuitBreaker(failures=1, open_for=5.0))

    async def main() -> None:
        rig.kv.fail_next(1, "get")
        await rig.read(key="k")
        rig.clock.advance(5.0)
        asked = len(rig.calls("get"))
        rig.kv.latency["get"] = 1.0
        await asyncio.gather(*(rig.read(key=f"k{number}") for number in range(10)))
        assert len(rig.calls("get")) == asked + 1
        assert sorted(rig.codes) == [MISS, *[BYPASS] * 10]
        await rig.read(key="other")
        assert rig.codes[-1] == MISS
        assert rig.statistics.l2_skipped == 9

    rig.run(main())


def test_an_l2_that_is_always_late_opens_the_breaker() -> None:
    breaker = CircuitBreaker(failures=2, open_for=50.0)
    rig = Rig(policy=switched(l2_soft_timeout=SOFT, stale_if_error=40.0), breaker=breaker)

    async def main() -> None:
        await rig.read(b"old")
        rig.clock.advance(L1_TTL)
        rig.kv.latency["get"] = SLOW
        for _ in range(3):
            assert await rig.get(forbidden) == b"old"
        await asyncio.sleep(SLOW)
        assert not breaker.is_closed
        assert (rig.statistics.l2_late, rig.statistics.l2_skipped) == (2, 1)
        assert rig.statistics.l1_extended == 3

    rig.run(main())


class Picky(Text):
    """Reads back values that start with v only."""

    def decode(self, data: bytes) -> bytes:
        if not data.startswith(b"v"):
            raise ValueError("not one of ours")
        return data


FUTURE = 2**60
ENTRY = seal(b"value", loaded_ms=1, expires_ms=FUTURE, load_seconds=0.5, tags=("a", "é"))


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"E",
        b"EP1",
        b"not ours at all, but much, much longer than a header of ours",
        b"EP1" + ENTRY[3:],
        ENTRY[: HEADER_BYTES - 2],
        ENTRY[:-1],
        ENTRY + b"\0",
        seal(b"west", loaded_ms=1, expires_ms=FUTURE),  # a value that the codec refuses
    ],
)
def test_foreign_bytes_in_l2_are_a_counted_miss_and_overwritten(foreign: bytes) -> None:
    rig = Rig(kind=CacheType(name="lookup_data", ttl=TTL, codec=Picky(), prefix="user"))

    async def main() -> None:
        await rig.store.put(StoreItem(KEY, foreign, TTL))
        for isolate in (0, 1):
            assert await rig.read(isolate=isolate) == b"v"
        assert rig.codes == [MISS, L2_HIT]
        assert [cache.statistics.l2_corrupt for cache in rig.caches] == [1, 0]
        assert rig.statistics.l2_errors == 0

    rig.run(main())


def flip_first(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def flip_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 0x80])


@pytest.mark.parametrize("change", [flip_first, flip_last])
def test_a_value_that_was_corrupted_on_its_way_is_a_miss(change: Callable[[bytes], bytes]) -> None:
    rig = Rig()

    async def main() -> None:
        await rig.read(b"sent")
        rig.kv.corrupt_next(1, change)
        assert await rig.read(b"loaded", isolate=1) == b"loaded"
        assert rig.statistics.l2_corrupt == 1

    rig.run(main())


def test_every_flipped_bit_of_an_envelope_is_noticed() -> None:
    for place, bit in product(range(len(ENTRY)), range(8)):
        flipped = bytearray(ENTRY)
        flipped[place] ^= 1 << bit
        with pytest.raises(ValueError, match="not an entry"):
            unseal(KIND, bytes(flipped))


def test_an_entry_that_the_store_kept_too_long_is_a_miss_and_not_corrupt() -> None:
    rig = Rig()

    async def main() -> None:
        now = rig.clock.origin_ms
        old = seal(b"old", loaded_ms=now - 1, expires_ms=now)
        await rig.store.put(StoreItem(KEY, old, 10 * TTL))
        assert await rig.read(b"fresh") == b"fresh"
        assert (rig.codes, rig.statistics.l2_corrupt) == ([MISS], 0)

    rig.run(main())


times = st.integers(-(2**63), 2**63 - 1)
labels = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(
    value=st.none() | st.binary(),
    loaded_ms=times,
    expires_ms=times,
    microseconds=st.integers(0, 2**32 - 1),
    tags=st.lists(labels, max_size=4).map(tuple),
)
def test_a_sealed_entry_reads_back(
    value: bytes | None, loaded_ms: int, expires_ms: int, microseconds: int, tags: tuple[str, ...]
) -> None:
    sealed = seal(
        value,
        loaded_ms=loaded_ms,
        expires_ms=expires_ms,
        load_seconds=(microseconds + 0.5) / 1e6,
        tags=tags,
    )
    assert loaded_ms_of(sealed) == loaded_ms
    assert len(sealed) == HEADER_BYTES + len(value or b"") + len("\0".join(tags).encode())
    assert unseal(KIND, sealed) == Envelope(
        value, loaded_ms, expires_ms, microseconds / 1e6, tags, len(sealed)
    )


def test_a_load_longer_than_the_envelope_can_tell_is_told_as_the_longest() -> None:
    sealed = seal(b"v", loaded_ms=0, expires_ms=1, load_seconds=1e9)
    assert unseal(KIND, sealed).load_seconds == pytest.approx(4294.967295)


@pytest.mark.parametrize(
    "tags", [("a\0b",), ("",), ("a", ""), ("x" * 65_536,), ("\0",), tuple("ab") * 20_000]
)
def test_tags_that_would_not_read_back_are_refused(tags: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="tags"):
        seal(b"v", loaded_ms=0, expires_ms=1, tags=tags)


@given(data=st.binary(max_size=80), value=st.none() | st.binary())
def test_unsealing_anything_gives_an_entry_or_a_value_error(
    data: bytes, value: bytes | None
) -> None:
    for kind in (KIND, CacheType(name="config", ttl=1.0, codec=Json())):
        with suppress(ValueError):
            unseal(kind, data)
            pytest.fail("random bytes passed for an entry")
        with suppress(ValueError):
            unseal(kind, seal(data, loaded_ms=0, expires_ms=0) + (value or b""))
