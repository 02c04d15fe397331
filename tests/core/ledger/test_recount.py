"""Claims about upkeep: totals that are the sums of their rows, found wrong where they are not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from core.attribution.fitted import fit
from core.attribution.models import MODELS
from core.attribution.parameters import Parameters
from core.attribution.path_file import read_paths
from core.attribution.scheme import Scheme
from core.attribution.transitions import Transitions, count_transitions
from core.errors import InputError
from core.event import Event
from core.ledger.fitted_models import keep_model
from core.ledger.recount import recount, repair, restate, share_out_anew, uneven
from tests.core.ledger.damage import TRIPLED
from tests.core.ledger.shop import Shop, T, in_shop, purchase, touch
from tests.core.ledger.worlds import event_lists, newest_model


def _raised(suffix: str, by: float) -> str:
    columns = (f"{model}{suffix}" for model in MODELS)
    return f"UPDATE channel_totals SET {', '.join(f'{each} = {each} + {by}' for each in columns)}"


_NOBODY = ", ".join("1, 1, 1" if model == "linear" else "0, 0, 0" for model in MODELS)
DAMAGE = {
    "credit": _raised("", 0.01),
    "count": _raised("_conversions", 1),
    "value": _raised("_value", 1),
    "missing": "DELETE FROM channel_totals",
    "made up": f"INSERT INTO channel_totals VALUES ('nobody', 0, {_NOBODY})",
}


async def processed(shop: Shop, events: list[Event]) -> None:
    await shop.add(events)
    await shop.process(shop.waiting())


@settings(max_examples=40)
@given(event_lists())
def test_what_the_processor_keeps_is_the_sum_of_its_rows(events: list[Event]) -> None:
    async def scene(shop: Shop) -> None:
        await processed(shop, events)
        assert recount(shop.database.connection) == []

    in_shop(scene)


@pytest.mark.parametrize("damage", DAMAGE)
def test_totals_that_are_wrong_are_found_and_mended(damage: str) -> None:
    async def scene(shop: Shop) -> None:
        await processed(shop, [touch("e1", T - 10), touch("e2", T - 5, "google"), purchase("c1")])
        connection = shop.database.connection
        before = shop.contents()["channel_performance"]
        connection.execute(DAMAGE[damage])
        found = recount(connection)
        wrong = 1 if damage == "made up" else len(before)
        assert len(found) == wrong
        assert {each.model for each in found} <= set(MODELS)
        assert repair(connection, now_ms=before[0][-1]) == found
        assert recount(connection) == []
        after = shop.contents()["channel_performance"]
        assert [row[:2] for row in after] == [row[:2] for row in before]

    in_shop(scene)


def test_a_cent_in_a_large_total_is_found() -> None:
    async def scene(shop: Shop) -> None:
        await processed(
            shop, [touch("e1", T - 10), purchase("c1")._replace(value=987_654_321.0)]
        )  # fmt: skip
        connection = shop.database.connection
        connection.execute(_raised("_value", 0.011))
        assert len(recount(connection)) == len(MODELS)

    in_shop(scene)


def test_credits_that_do_not_sum_to_1_are_named_and_computed_anew_at_the_next_start() -> None:
    async def scene(shop: Shop) -> None:
        await processed(
            shop,
            [touch("e1", T - 10), touch("e2", T - 5, "google"), purchase("c1"),
             touch("f1", T - 9)._replace(user_id="u9"), purchase("c2")._replace(user_id="u9")],
        )  # fmt: skip
        connection = shop.database.connection
        before = shop.contents()
        assert uneven(connection) == []
        connection.execute(TRIPLED)
        assert uneven(connection) == ["c1"]
        share_out_anew(connection, ["c1"])
        restate(connection, Scheme(), before["channel_performance"][0][-1])
        assert uneven(connection) == []
        assert shop.contents()["touch_credits"] == before["touch_credits"]
        assert recount(connection) == []

    in_shop(scene)


def transitions() -> Transitions:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        file = Path(folder) / "paths.csv"
        file.write_text(
            "path,total_conversions,total_conversion_value,total_null\n"
            "google > email,12,120,3\nemail,5,40,20\n"
        )
        paths, _ = read_paths(file)
    return count_transitions(paths, 1)


@pytest.mark.parametrize("count", [1, 3])
def test_the_newest_model_reads_back_as_it_was_stored(count: int) -> None:
    async def scene(shop: Shop) -> None:
        connection = shop.database.connection
        assert newest_model(connection) is None
        models = [
            fit(transitions(), Parameters(), window=(10 + number, 20), minimum=1)
            for number in range(count)
        ]
        assert [keep_model(connection, model, 30) for model in models] == [*range(1, count + 1)]
        assert newest_model(connection) == models[-1]

    in_shop(scene)


def test_a_model_that_was_changed_since_is_refused() -> None:
    async def scene(shop: Shop) -> None:
        connection = shop.database.connection
        keep_model(connection, fit(transitions(), Parameters(), minimum=1), 30)
        connection.execute("UPDATE fitted_models SET weights = replace(weights, '17.0', '18.0')")
        with pytest.raises(InputError, match="fit the model anew"):
            newest_model(connection)

    in_shop(scene)
