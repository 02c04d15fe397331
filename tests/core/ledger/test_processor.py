"""Claims about the batch processor: what is stored adds up, once, whatever is delivered."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution.models import MODELS, role_of
from core.attribution.parameters import Parameters
from core.attribution.scheme import Scheme
from core.clock import ManualClock
from core.context import Span
from core.errors import StoreError
from core.event import Event
from core.ledger.processor import BatchAttributionProcessor
from core.metrics.profiler import LatencyProfiler
from core.query.database import Command, SqliteDatabase
from core.query.queries import Queries
from tests.core.ledger.shop import Shop, T, cut, in_shop, purchase, touch, waiting_in
from tests.core.ledger.worlds import credits_of, event_lists, world_of


@given(event_lists(), st.lists(st.integers(1, 3), max_size=3), st.randoms(use_true_random=False))
def test_stored_results_equal_those_of_plain_python(
    events: list[Event], sizes: list[int], order: Any
) -> None:
    world = world_of(events)
    ids = sorted(world.conversions)
    order.shuffle(ids)

    async def scene(shop: Shop) -> None:
        await shop.add(events)
        for batch in cut(ids, sizes):
            await shop.process(batch)
        rows: list[tuple[Any, ...]] = []
        totals: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
        for name, (_, converted, value) in sorted(world.conversions.items()):
            touches = world.journey(name)
            for model in MODELS:
                # Nothing has been fitted: data_driven gives equal shares.
                rule = "linear" if model == "data_driven" else model
                shares = credits_of(rule, [time for time, _ in touches], converted)
                for index, ((_, channel), share) in enumerate(zip(touches, shares, strict=True)):
                    role = role_of(index, len(touches))
                    rows.append((name, model, index, channel, 100 * share, role))
                    entries = totals.setdefault((model, channel), [])
                    entries.append((name, share, share * value))
        shown = shop.rows("SELECT * FROM multi_touch_attribution")
        assert sorted(shown) == sorted(rows)
        performance = {
            (model, channel): (credit, count, value)
            for model, channel, credit, count, value, _ in shop.rows(
                "SELECT * FROM channel_performance"
            )
        }
        assert set(performance) == set(totals)
        for key, entries in totals.items():
            assert performance[key] == pytest.approx(
                (
                    math.fsum(share for _, share, _ in entries),
                    len({name for name, _, _ in entries}),
                    math.fsum(value for _, _, value in entries),
                ),
                rel=1e-12,
                abs=1e-12,
            )
        assert shop.processor.processed == len(ids)
        assert shop.processor.without_touches == sum(not world.journey(name) for name in ids)
        assert shop.waiting() == []

    in_shop(scene)


@given(event_lists())
def test_credit_and_value_are_conserved_per_conversion_and_over_channels(
    events: list[Event],
) -> None:
    async def scene(shop: Shop) -> None:
        await shop.add(events)
        await shop.process(shop.waiting())
        sums = shop.rows(
            "SELECT sum(credit_percentage), count(*) FROM multi_touch_attribution"
            " GROUP BY conversion_id, attribution_model"
        )
        assert all(total == pytest.approx(100, abs=1e-9) for total, _ in sums)
        attributed = shop.rows(
            "SELECT count(*), coalesce(sum(value), 0) FROM conversions"
            " WHERE conversion_id IN (SELECT conversion_id FROM touch_credits)"
        )[0]
        assert len(sums) == attributed[0] * len(MODELS)
        for _, credit, value in shop.rows(
            "SELECT attribution_model, sum(total_attribution), sum(total_value)"
            " FROM channel_performance GROUP BY attribution_model"
        ):
            assert (credit, value) == pytest.approx(attributed, abs=1e-9)

    in_shop(scene)


@given(event_lists(), st.lists(st.integers(1, 3), max_size=3))
def test_batch_delivered_twice_changes_nothing(events: list[Event], sizes: list[int]) -> None:
    async def scene(shop: Shop) -> None:
        await shop.add(events)
        ids = shop.waiting()
        await shop.process(ids)
        once, processed = shop.contents(), shop.processor.processed
        for batch in cut(ids, sizes):
            await shop.process(batch)
        assert shop.contents() == once
        assert shop.processor.processed == processed

    in_shop(scene)


def test_id_named_twice_in_a_batch_counts_once() -> None:
    async def scene(shop: Shop) -> None:
        await shop.add([touch("a", T - 1), purchase("c")])
        await shop.process(["c", "c"])
        assert shop.processor.processed == 1
        assert shop.rows("SELECT total_attribution, total_conversions, total_value"
                         " FROM channel_performance") == [(1.0, 1, 10.0)] * len(MODELS)  # fmt: skip

    in_shop(scene)


def test_conversion_without_touches_is_marked_and_leaves_no_rows() -> None:
    async def scene(shop: Shop) -> None:
        await shop.add([purchase("c")])
        await shop.process(["c"])
        found = shop.contents()
        assert [row[5] for row in found["conversions"]] == [1]
        assert found["touch_credits"] == found["channel_performance"] == []
        assert (shop.processor.processed, shop.processor.without_touches) == (1, 1)

    in_shop(scene)


def test_touches_of_one_channel_count_their_conversion_once() -> None:
    async def scene(shop: Shop) -> None:
        await shop.add([touch("a", T - 2), touch("b", T - 1), purchase("c", value=20.0)])
        await shop.process(["c"])
        for model in MODELS:
            assert await shop.queries.channel_performance(model) == [("email", 1.0, 1, 20.0)]

    in_shop(scene)


def test_channels_stand_by_credit_the_best_first() -> None:
    async def scene(shop: Shop) -> None:
        await shop.add([touch("a", T - 2, "bing"), touch("b", T - 1, "email"), purchase("c")])
        await shop.process(["c"])
        last = await shop.queries.channel_performance("last_click")
        assert [row[:2] for row in last] == [("email", 1.0), ("bing", 0.0)]
        assert await shop.queries.channel_performance("last_click", 1) == last[:1]

    in_shop(scene)


class BrokenDisk(SqliteDatabase):
    """A database whose writes fail while it is told to, after the first command."""

    is_broken = False

    async def write(self, *commands: Command) -> list[int]:
        if not self.is_broken:
            return await super().write(*commands)
        statement, rows = commands[-1]
        return await super().write(*commands, (statement, [row[:-1] for row in rows]))


def test_failed_write_leaves_everything_waiting_and_a_second_try_counts_once() -> None:
    async def run() -> None:
        database = BrokenDisk(None, inline=True)
        queries = Queries(database, ManualClock(), LatencyProfiler())
        processor = BatchAttributionProcessor(queries, now_ms=lambda: T)
        for event in [touch("a", T - 1), purchase("c"), purchase("d")]:
            await queries.insert_event(event, "new")
        database.is_broken = True
        with pytest.raises(StoreError):
            await processor.process(Span(is_batch=True), ["c", "d"])
        assert waiting_in(database) == ["c", "d"]
        assert await queries.channel_performance("linear") == []
        assert processor.processed == 0
        database.is_broken = False
        await processor.process(Span(is_batch=True), ["c", "d"])
        assert await queries.channel_performance("linear") == [("email", 2.0, 2, 20.0)]
        await database.close()

    asyncio.run(run())


SPOILED = {
    "UPDATE conversions SET value = 9e999 WHERE conversion_id = 'c7'": "value is inf",
    "UPDATE conversions SET value = 'ten' WHERE conversion_id = 'c7'": "value is 'ten'",
    "UPDATE conversions SET conversion_timestamp = 'now' WHERE conversion_id = 'c7'":
        "conversion_timestamp is 'now'",
    "UPDATE user_journeys SET event_timestamp = event_timestamp - 0.5 WHERE event_id = 't7'":
        "event_timestamp of a touch is",
    "UPDATE user_journeys SET utm_source = x'ff' WHERE event_id = 't7'":
        "utm_source of a touch is",
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILED)
def test_one_conversion_of_unusable_data_is_rejected_and_the_other_49_are_stored(
    spoil: str,
) -> None:
    async def scene(shop: Shop) -> None:
        for number in range(50):
            user = f"u{number}"
            await shop.add([touch(f"t{number}", T - 1)._replace(user_id=user),
                            purchase(f"c{number}")._replace(user_id=user)])  # fmt: skip
        shop.database.connection.execute(spoil)
        rejected = await shop.processor.process(Span(is_batch=True), shop.waiting())
        assert list(rejected) == ["c7"]
        assert SPOILED[spoil] in rejected["c7"]
        assert shop.waiting() == ["c7"]
        assert shop.processor.processed == 49
        assert shop.rows("SELECT count(*) FROM touch_credits") == [(49,)]
        counted = shop.rows("SELECT total_attribution, total_conversions FROM channel_performance")
        assert counted == [(49.0, 49)] * len(MODELS)

    in_shop(scene)


def test_one_conversion_whose_rows_are_refused_does_not_stop_the_others() -> None:
    async def scene(shop: Shop) -> None:
        for number in range(50):
            user = f"u{number}"
            await shop.add([touch(f"t{number}", T - 1)._replace(user_id=user),
                            purchase(f"c{number}")._replace(user_id=user)])  # fmt: skip
        # A row that nothing can explain stands in the way of one.
        shop.database.connection.execute(
            """INSERT INTO credits VALUES ('c7', 0, 1, '[["email"],[1],[1],[1],[1],[1],[1],[1]]')"""
        )
        rejected = await shop.processor.process(Span(is_batch=True), shop.waiting())
        assert list(rejected) == ["c7"]
        assert "UNIQUE constraint failed: credits" in rejected["c7"]
        assert (shop.waiting(), shop.processor.processed) == (["c7"], 49)
        counted = shop.rows("SELECT total_attribution, total_conversions FROM channel_performance")
        assert counted == [(49.0, 49)] * len(MODELS)

    in_shop(scene)


def test_results_name_the_parameters_and_the_model_that_they_are_from() -> None:
    async def scene(shop: Shop) -> None:
        scheme = Scheme(Parameters(half_life_ms=1000))
        processor = BatchAttributionProcessor(
            shop.queries, now_ms=lambda: T, in_force=lambda _: scheme
        )
        await shop.add([touch("a", T - 1000), touch("b", T), purchase("c"), purchase("d")])
        await processor.process(Span(is_batch=True), ["c"])
        assert shop.rows("SELECT time_decay FROM touch_credits") == [(1 / 3,), (2 / 3,)]
        assert shop.rows("SELECT parameters_key, model_version FROM conversions") == [
            (scheme.parameters_key, None), (None, None),
        ]  # fmt: skip

    in_shop(scene)


def test_lookback_and_milestones_reach_the_journey() -> None:
    async def scene(shop: Shop) -> None:
        parameters = Parameters(lookback_ms=500, milestones=("signup", "offer"))
        queries = Queries(shop.database, ManualClock(), LatencyProfiler(), parameters=parameters)
        names = ["view", "view", "signup", "offer", "signup", "view"]
        await shop.add([touch(f"t{n}", T - 600 + 100 * n)._replace(event_name=name)
                        for n, name in enumerate(names)])  # fmt: skip
        await shop.add([purchase("c")])
        found = await queries.conversion_journey("c")
        assert found is not None
        assert [T - time for time in found.times_ms] == [500, 400, 300, 200, 100]
        assert (found.lead, found.opportunity) == (1, 2)
        assert await queries.waiting_journeys(["c"]) == [found]
        (shares,) = Scheme(parameters).credits(found, ("w_shape",))
        assert shares == pytest.approx((0.3, 0.3, 0.3, 0.05, 0.05))

    in_shop(scene)
