"""Claims about how long a value is served: jitter, staleness, failing tiers and early refresh."""

from __future__ import annotations

import asyncio
from math import exp, isclose, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.caching.lifetime import EARLY_SPAN, Lifetime
from core.context import Purpose
from core.wire import BYPASS, COLLAPSED, L1_HIT, L2_HIT, MISS, NEGATIVE, STALE
from tests.core.caching.rig import (
    KEY,
    L1_TTL,
    NEGATIVE_TTL,
    TTL,
    Draws,
    Loads,
    Rig,
    failing,
    forbidden,
    settle,
    switched,
)

BOUND = 40.0
PAUSE = 5.0


def rig_with(draws: Draws | None = None, **switches: Any) -> Rig:
    return Rig(policy=switched(retry_pause=PAUSE, **switches), uniform=draws)


async def age(rig: Rig, seconds: float, value: bytes | None = b"old") -> None:
    """Let isolate 0 hold a *value* loaded *seconds* ago, in an L1 entry that ends with its TTL."""
    await rig.read(value, isolate=1)
    life = TTL if value is not None else NEGATIVE_TTL
    rig.clock.advance(min(seconds, life - 1))
    assert await rig.read(isolate=0) == value
    rig.clock.advance(max(0.0, seconds - life + 1))
    rig.span.reads.clear()


@given(
    jitter=st.floats(0.0, 0.999),
    u=st.floats(0.0, 1.0, exclude_max=True),
    ttl=st.floats(0.001, 1e6),
    is_negative=st.booleans(),
)
def test_jitter_shortens_a_ttl_by_its_share_at_most_and_never_lengthens_it(
    jitter: float, u: float, ttl: float, is_negative: bool
) -> None:
    whole = min(NEGATIVE_TTL, ttl) if is_negative else ttl
    drawn = Lifetime(switched(ttl_jitter=jitter), lambda _: u).ttl(ttl, is_negative=is_negative)
    assert whole * (1 - jitter) * (1 - 1e-12) <= drawn <= whole
    assert isclose(drawn, whole * (1 - jitter * u))


def test_jitter_is_drawn_once_a_load_and_holds_for_both_tiers() -> None:
    draws = Draws(0.5, 0.0)
    rig = rig_with(draws, ttl_jitter=0.2)

    async def main() -> None:
        await rig.read()
        await rig.read()
        assert [item.ttl for item in rig.store.puts] == [0.9 * TTL]
        rig.clock.advance(0.9 * TTL - 1)
        assert await rig.read(isolate=1) == b"v"
        rig.clock.advance(1)
        assert await rig.read(b"new", isolate=1) == b"new"
        assert rig.codes == [MISS, L1_HIT, L2_HIT, MISS]
        assert draws.purposes == [Purpose.TTL_JITTER] * 2

    rig.run(main())


def test_a_stale_value_is_served_at_once_while_one_load_renews_it() -> None:
    rig, loads = rig_with(stale_while_revalidate=BOUND), Loads()

    async def main() -> None:
        await age(rig, TTL)
        answers = await asyncio.gather(*(rig.get(loads) for _ in range(50)))
        assert answers == [b"old"] * 50
        assert rig.codes == [L1_HIT | STALE] * 50
        await settle()
        assert len(loads.started) == 1
        loads.started[0].set_result(b"new")
        await settle()
        assert await rig.get(forbidden) == b"new"
        assert rig.codes[50:] == [L1_HIT]
        assert (rig.statistics.refreshes, rig.statistics.loads) == (1, 2)
        assert [item.ttl for item in rig.store.puts] == [TTL + BOUND] * 2

    rig.run(main())


def test_l2_serves_a_stale_value_while_it_is_renewed() -> None:
    rig, loads = rig_with(stale_while_revalidate=BOUND), Loads()

    async def main() -> None:
        await rig.read(b"old", isolate=1)
        rig.clock.advance(TTL + BOUND - 1)
        assert await rig.get(loads) == b"old"
        assert await rig.get(loads) == b"old"
        await settle()
        loads.started[0].set_result(b"new")
        await settle()
        assert await rig.get(forbidden) == b"new"
        assert rig.codes == [MISS, L2_HIT | STALE, L1_HIT | STALE, L1_HIT]
        assert len(loads.started) == 1

    rig.run(main())


def test_a_background_load_is_no_part_of_the_request_that_caused_it() -> None:
    rig, loads = rig_with(stale_while_revalidate=BOUND), Loads()

    async def main() -> None:
        await age(rig, TTL)
        await rig.get(loads)
        await settle()
        stages = list(rig.span.stages)
        loads.started[0].set_result(b"new")
        await settle()
        assert rig.codes == [L1_HIT | STALE]
        assert rig.span.stages == stages

    rig.run(main())


def test_what_left_l1_within_its_ttl_is_not_served_stale_without_asking_l2() -> None:
    rig = rig_with(stale_while_revalidate=BOUND)

    async def main() -> None:
        await rig.read(b"old")
        await rig.store.delete(KEY)  # another process has invalidated it
        rig.clock.advance(TTL)
        assert await rig.read(b"new") == b"new"
        assert rig.codes == [MISS, MISS]

    rig.run(main())


def test_a_background_load_that_fails_is_tried_again_after_a_pause() -> None:
    rig = rig_with(stale_while_revalidate=BOUND)

    async def main() -> None:
        await age(rig, TTL)
        for _ in range(3):
            assert await rig.get(failing) == b"old"
            await settle()
        assert rig.statistics.refresh_errors == 1
        rig.clock.advance(PAUSE)
        assert await rig.get(failing) == b"old"
        await settle()
        assert (rig.statistics.refreshes, rig.statistics.refresh_errors) == (2, 2)
        assert rig.codes == [L1_HIT | STALE] * 4

    rig.run(main())


def test_a_value_is_served_stale_if_its_load_fails_and_its_loader_gets_a_pause() -> None:
    rig = rig_with(stale_if_error=BOUND)

    async def main() -> None:
        await age(rig, TTL)
        assert await rig.get(failing) == b"old"
        loads, asked = rig.statistics.loads, len(rig.calls("get"))
        rig.clock.advance(PAUSE - 0.5)
        assert await rig.get(forbidden) == b"old"
        assert (rig.statistics.loads, len(rig.calls("get"))) == (loads, asked)
        rig.clock.advance(0.5)
        assert await rig.read(b"new") == b"new"
        assert rig.codes == [L1_HIT | STALE, L1_HIT | STALE, MISS]
        assert rig.statistics.load_errors == 1

    rig.run(main())


def test_everybody_who_waits_for_a_load_that_fails_is_served_stale() -> None:
    rig, loads = rig_with(stale_if_error=BOUND), Loads()

    async def main() -> None:
        await age(rig, TTL)
        tasks = [asyncio.create_task(rig.get(loads)) for _ in range(5)]
        await settle()
        loads.started[0].set_exception(RuntimeError("no database"))
        assert await asyncio.gather(*tasks) == [b"old"] * 5
        assert rig.codes == [L1_HIT | STALE, *[COLLAPSED] * 4]

    rig.run(main())


@pytest.mark.parametrize(
    "switches",
    [
        {"stale_while_revalidate": BOUND},
        {"stale_if_error": BOUND},
        {"stale_while_revalidate": BOUND / 2, "stale_if_error": BOUND},
        {"stale_while_revalidate": BOUND, "stale_if_error": BOUND / 2},
        {},
    ],
)
@pytest.mark.parametrize("isolate", [0, 1, 2])
def test_nothing_is_served_beyond_its_ttl_and_the_bound_of_the_policy(
    switches: dict[str, float], isolate: int
) -> None:
    rig = Rig(policy=switched(retry_pause=1e6, **switches), isolates=3)
    bound = max(switches.values(), default=0.0)

    async def main() -> None:
        await age(rig, TTL + bound - 0.5)
        assert await rig.get(failing, isolate=isolate) == b"old"
        assert rig.codes[-1] & STALE == (STALE if bound else 0)
        await settle()
        rig.clock.advance(0.5)
        with pytest.raises(RuntimeError, match="on fire"):
            await rig.get(failing, isolate=isolate)

    rig.run(main())


def test_absence_is_served_stale_too() -> None:
    rig = rig_with(stale_if_error=BOUND)

    async def main() -> None:
        await age(rig, NEGATIVE_TTL, value=None)
        assert await rig.get(failing) is None
        assert rig.codes == [L1_HIT | NEGATIVE | STALE]

    rig.run(main())


def test_while_l2_fails_l1_goes_on_with_a_value_within_its_ttl() -> None:
    rig = rig_with(stale_if_error=BOUND)

    async def main() -> None:
        await rig.read(b"old")
        rig.clock.advance(TTL - 0.5)
        rig.kv.fail_next(2, "get")
        assert await rig.get(forbidden) == b"old"
        rig.clock.advance(0.5)
        assert await rig.read(b"new") == b"new"
        assert rig.codes == [MISS, L1_HIT, BYPASS]
        assert rig.statistics.l1_extended == 1

    rig.run(main())


def test_without_stale_if_error_a_failing_l2_is_bypassed_as_soon_as_l1_ends() -> None:
    rig = rig_with(stale_while_revalidate=BOUND)

    async def main() -> None:
        await rig.read(b"old")
        rig.clock.advance(L1_TTL)
        rig.kv.fail_next(1, "get")
        assert await rig.read(b"new") == b"new"
        assert rig.codes == [MISS, BYPASS]
        assert rig.statistics.l1_extended == 0

    rig.run(main())


def test_a_value_is_served_stale_if_l2_and_its_load_fail() -> None:
    rig = rig_with(stale_if_error=BOUND)

    async def main() -> None:
        await rig.read(b"old")
        rig.clock.advance(TTL + BOUND - 0.5)
        rig.kv.fail_next(1, "get")
        assert await rig.get(failing) == b"old"
        assert rig.codes == [MISS, L1_HIT | STALE]

    rig.run(main())


remainders = st.floats(0.0, 100.0)
loads_seconds = st.floats(0.001, 10.0)
betas = st.floats(0.1, 5.0)


@given(
    u=st.floats(0.0, 1.0, exclude_max=True),
    remainder=remainders,
    seconds=loads_seconds,
    beta=betas,
)
def test_a_read_renews_early_if_the_number_drawn_is_in_the_upper_share_of_xfetch(
    u: float, remainder: float, seconds: float, beta: float
) -> None:
    """An exponential of mean beta x delta exceeds what is left with this probability."""
    share = exp(-remainder / (beta * seconds))
    assume(abs(1 - u - share) > 1e-9)
    lifetime = Lifetime(switched(early_refresh=beta), lambda _: u)
    is_drawn_for = remainder < EARLY_SPAN * beta * seconds
    expected = is_drawn_for and 1 - u < share
    assert lifetime.renews_early(1_000.0 - remainder, 1_000.0, seconds) == expected


@pytest.mark.parametrize("scaled", [0.01, 0.1, 0.5, 1.0, 2.0, 4.0])
def test_the_share_of_early_renewals_is_that_of_xfetch(scaled: float) -> None:
    beta, seconds, trials = 1.5, 0.8, 20_000
    rng = np.random.default_rng(20150701)
    lifetime = Lifetime(switched(early_refresh=beta), lambda _: float(rng.random()))
    remainder = scaled * beta * seconds
    renewed = sum(lifetime.renews_early(50.0 - remainder, 50.0, seconds) for _ in range(trials))
    p = exp(-scaled)
    assert abs(renewed - trials * p) < 4 * sqrt(trials * p * (1 - p))


def test_nothing_is_drawn_where_an_early_renewal_cannot_be() -> None:
    lifetime = Lifetime(switched(early_refresh=1.0), Draws())
    assert not lifetime.renews_early(0.0, 100.0, 6.0)  # 16 x 6 s before its end, and more
    assert not lifetime.renews_early(99.0, 100.0, 0.0)
    assert not Lifetime(switched(), None).renews_early(99.0, 100.0, 6.0)


def test_a_fresh_value_near_its_end_is_served_while_one_load_renews_it() -> None:
    draws, loads = Draws(0.1, 0.99), Loads()
    rig = rig_with(draws, early_refresh=1.0)

    async def main() -> None:
        await rig.read(b"old", isolate=1, takes=2.0)  # drawn for from 68 s on
        rig.clock.advance(48.0)
        await rig.read()
        rig.clock.advance(49.0)
        assert await rig.get(loads) == b"old"  # exp(-1/2) is 0.61: drawn 0.1, not yet
        assert await rig.get(loads) == b"old"
        await settle()
        assert len(loads.started) == 1
        draws.numbers.append(0.99)
        assert await rig.get(loads) == b"old"
        loads.started[0].set_result(b"new")
        await settle()
        assert len(loads.started) == 1
        assert await rig.get(forbidden) == b"new"
        assert rig.codes == [MISS, L2_HIT, *[L1_HIT] * 4]
        assert set(draws.purposes) == {Purpose.EARLY_REFRESH}

    rig.run(main())


def test_a_hit_in_l2_near_its_end_may_renew_the_value_too() -> None:
    rig, loads = rig_with(Draws(0.99), early_refresh=1.0), Loads()

    async def main() -> None:
        await rig.read(b"old", isolate=1, takes=2.0)
        rig.clock.advance(97.0)
        assert await rig.get(loads) == b"old"
        await settle()
        assert len(loads.started) == 1
        assert rig.codes == [MISS, L2_HIT]

    rig.run(main())


def test_an_early_renewal_that_failed_is_not_tried_again_during_the_pause() -> None:
    draws = Draws(0.99)
    rig = rig_with(draws, early_refresh=1.0)

    async def main() -> None:
        await rig.read(b"old", isolate=1, takes=2.0)
        rig.clock.advance(48.0)
        await rig.read()
        rig.clock.advance(43.0)
        for _ in range(3):  # at 93 s
            assert await rig.get(failing) == b"old"
            await settle()
        assert rig.statistics.refresh_errors == 1
        rig.clock.advance(PAUSE)
        draws.numbers.append(0.99)
        assert await rig.get(failing) == b"old"
        await settle()
        assert rig.statistics.refresh_errors == 2

    rig.run(main())


def test_a_failed_early_renewal_keeps_nothing_in_l1_beyond_its_stay() -> None:
    draws = Draws(0.999)
    rig = Rig(policy=switched(l1_ttl=1.0, retry_pause=50.0, early_refresh=1.0), uniform=draws)

    async def main() -> None:
        await rig.read(b"old", isolate=1, takes=2.0)
        rig.clock.advance(88.0)
        await rig.get(failing)  # from L2, at 90 s
        await settle()
        assert rig.statistics.refresh_errors == 1
        await rig.store.delete(KEY)  # another process has invalidated it
        rig.clock.advance(1.0)
        assert await rig.read(b"new") == b"new"

    rig.run(main())


def test_a_read_that_comes_after_the_end_waits_for_the_early_renewal() -> None:
    rig, loads = rig_with(Draws(0.99), early_refresh=1.0), Loads()

    async def main() -> None:
        await rig.read(b"old", isolate=1, takes=2.0)
        rig.clock.advance(97.0)
        await rig.get(loads)
        await settle()
        rig.clock.advance(1.0)
        late = asyncio.create_task(rig.get(loads))
        await settle()
        loads.started[0].set_result(b"new")
        assert await late == b"new"
        assert rig.codes == [MISS, L2_HIT, COLLAPSED]
        assert len(loads.started) == 1

    rig.run(main())
