"""Claims about data_driven in the service: fitted as it consumes, used by all, told as it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.clock import SystemClock, epoch_ms
from core.ledger.recount import recount
from core.query.database import SqliteDatabase
from tests.core.ledger.driven import driven_credits, effects_of, walks_of
from tests.core.service.serving import (
    MODELS,
    NOW_MS,
    POLLS,
    Visitor,
    rows_of,
    seeded_world,
    serving,
    small_scenario,
)
from tests.edgeproof.commands import edgeproof

FITTING = {"fit_every": 2, "refresh": "50ms"}


def sell(visitor: Visitor, number: int) -> list[str]:
    """Track *number* conversions by way of "podcast", each of them a batch; return their ids."""
    sold = []
    before = visitor.counters()["conversions_processed"]
    for count in range(number):
        user, conversion = visitor.fresh("user"), visitor.fresh("conversion")
        visitor.track(user_id=user, timestamp=NOW_MS - 1, utm_source="podcast")
        visitor.track(user_id=user, conversion_id=conversion, value=2.0)
        visitor.await_processed(before + count + 1)
        sold.append(conversion)
    return sold


def driven(visitor: Visitor, conversion: str = "c1") -> dict[str, Any]:
    found: dict[str, Any] = visitor.attribution(conversion, "data_driven").json()
    return found


def await_version(visitor: Visitor, hold: Callable[[str | None], bool]) -> str | None:
    """Return the version that data_driven answers with once it *holds*."""
    for _ in range(POLLS):
        version: str | None = driven(visitor)["model_version"]
        if hold(version):
            return version
    raise AssertionError(f"still {version}")


def test_service_fits_a_model_every_so_many_batches_and_answers_by_it(tmp_path: Path) -> None:
    scenario = small_scenario("fits", attribution=FITTING, queue={"wait": "1ms"})
    with serving(scenario, tmp_path) as (visitor,):
        before_ms = epoch_ms(SystemClock())
        first = driven(visitor)
        assert first["fallback"] is None
        channels = visitor.get("/channels?model=data_driven").json()
        assert channels["model_version"] == first["model_version"]
        sell(visitor, 4)
        counters = visitor.await_counters(lambda now: now["models_fitted"] == 2)
        assert (counters["queue_batches"], counters["fits_failed"]) == (4, 0)
        last = driven(visitor)
        assert last["model_version"] != first["model_version"]
        # What was cached under the old version is not served; other models' entries still are.
        status = visitor.get("/channels?model=data_driven").headers["Cache-Status"]
        assert status.startswith("L2; fwd=uri-miss")
        linear = "/attribution/c1?model=linear"
        visitor.get(linear)
        sell(visitor, 2)
        visitor.await_counters(lambda now: now["models_fitted"] == 3)
        assert visitor.get(linear).headers["Cache-Status"].startswith("L1; hit")
        sold = sell(visitor, 1)  # shared out by the third model, which knows its channel
        answer = driven(visitor, sold[0])
        assert answer["fallback"] is None
        assert [point["credit"] for point in answer["touchpoints"]] == [1.0]
        numbers = rows_of(tmp_path, "SELECT version FROM fitted_models ORDER BY 1")
        assert numbers == [(1,), (2,), (3,), (4,)]
        fitted = rows_of(tmp_path, "SELECT fitted_at_ms FROM fitted_models WHERE version > 1")
        assert all(before_ms <= at_ms <= epoch_ms(SystemClock()) for (at_ms,) in fitted)
        kept = "SELECT model_version FROM conversions WHERE conversion_id = ?"
        assert rows_of(tmp_path, kept, sold[0]) == [(4,)]
    with closing(SqliteDatabase(tmp_path / "cdp.sqlite", inline=True).connection) as connection:
        assert recount(connection) == []


def test_run_that_starts_after_a_fit_is_warm_under_the_newest_model(tmp_path: Path) -> None:
    scenario = small_scenario(
        "warm", start="warm", attribution=FITTING, queue={"wait": "1ms"},
        traffic={"stages": [{"rate": 2000}], "mix": {"track": 0.1, "attribution": 0.9}},
    )  # fmt: skip
    with serving(scenario, tmp_path) as (visitor,):
        first = driven(visitor)["model_version"]
        sell(visitor, 2)
        visitor.await_counters(lambda now: now["models_fitted"] == 1)
        assert visitor.command("run").status_code == 200
        hits = 0
        for number in range(6, 30, 7):  # what the traffic asks data_driven about
            answer = visitor.attribution(f"c{number}", "data_driven")
            assert answer.json()["model_version"] != first
            hits += "hit" in answer.headers["Cache-Status"].split(",")[0]
        assert hits == 4


def test_consumer_process_fits_and_every_worker_learns_of_it(tmp_path: Path) -> None:
    scenario = small_scenario(
        "pair", topology={"processes": 2}, attribution=FITTING, queue={"wait": "1ms"}
    )
    with serving(scenario, tmp_path) as (one, other):
        first = driven(one)["model_version"]
        assert driven(other)["model_version"] == first
        sell(one, 4)
        one.await_counters(lambda now: now["models_fitted"] == 2)
        ((number,),) = rows_of(tmp_path, "SELECT max(version) FROM fitted_models")
        assert number == 3
        newest = await_version(one, lambda version: version != first)
        assert await_version(other, lambda version: version == newest) == newest


def test_service_without_a_model_says_so_and_takes_up_one_that_a_command_fits(
    tmp_path: Path,
) -> None:
    attribution = {"fit_every": 0, "refresh": "50ms"}
    scenario = small_scenario("unfitted", attribution=attribution)
    world = seeded_world(scenario)
    with serving(scenario, tmp_path) as (visitor,):
        found = driven(visitor)
        assert found["model_version"] is None
        assert "no model has been fitted" in found["fallback"]
        credits = [point["credit"] for point in found["touchpoints"]]
        assert credits == [1 / len(credits)] * len(credits)
        channels = visitor.get("/channels?model=data_driven").json()
        assert "no model has been fitted" in channels["fallback"]
        equal = visitor.get("/channels?model=linear").json()
        assert channels["channels"] == equal["channels"]
        assert "fallback" not in equal

        file = tmp_path / "cdp.sqlite"
        fit = ("attribute", "fit", "--db", str(file))
        assert edgeproof(*fit, "--order", "2", cwd=tmp_path).returncode == 0
        await_version(visitor, lambda version: version is not None)
        assert "fitted with order 2, not 1" in driven(visitor)["fallback"]
        assert edgeproof(*fit, cwd=tmp_path).returncode == 0
        before = driven(visitor)["model_version"]
        await_version(visitor, lambda version: version != before)
        found = driven(visitor)
        assert found["fallback"] is None
        effects = effects_of(walks_of(world))
        wanted = driven_credits([channel for _, channel in world.journey("c1")], effects)
        credits = [point["credit"] for point in found["touchpoints"]]
        assert credits == pytest.approx(wanted, abs=1e-9)


def test_consumer_process_takes_up_a_model_that_a_command_fits(tmp_path: Path) -> None:
    scenario = small_scenario(
        "by-hand", topology={"processes": 2}, queue={"wait": "1ms"},
        attribution={"fit_every": 0, "refresh": "1ms"},
    )  # fmt: skip
    with serving(scenario, tmp_path) as (one, _):
        assert edgeproof(
            "attribute", "fit", "--db", str(tmp_path / "cdp.sqlite"), cwd=tmp_path
        ).returncode == 0  # fmt: skip
        kept = "SELECT model_version FROM conversions WHERE conversion_id = ?"
        for _ in range(POLLS):
            (sold,) = sell(one, 1)
            if rows_of(tmp_path, kept, sold) == [(1,)]:
                return
        raise AssertionError("no conversion was shared out by the model")


def test_parameters_that_change_between_two_runs_are_those_of_every_answer(
    tmp_path: Path, redis_server: str
) -> None:
    shown = []
    for attribution in ({}, {"half_life": "1h", "u_shape": [0.5, 0.0, 0.5]}):
        scenario = small_scenario("changing", attribution=attribution)
        with serving(scenario, tmp_path, redis=redis_server) as (visitor,):
            answers = [visitor.attribution(f"c{n}", model).json()
                       for n in range(30) for model in MODELS]  # fmt: skip
            totals = {model: visitor.get(f"/channels?model={model}").json() for model in MODELS}
            shown.append((answers, totals))
    for answers, totals in shown:
        for model in MODELS:
            credits: dict[str, float] = {}
            for answer in answers:
                for point in answer["touchpoints"] if answer["model"] == model else ():
                    source = point["utm_source"]
                    credits[source] = credits.get(source, 0.0) + point["credit"]
            found = {row["utm_source"]: row["total_attribution"] for row in
                     totals[model]["channels"]}  # fmt: skip
            assert found == pytest.approx(credits, abs=1e-9)
    (old, old_totals), (new, new_totals) = shown
    for model in MODELS:
        differs = [a["touchpoints"] for a in old if a["model"] == model] != [
            a["touchpoints"] for a in new if a["model"] == model
        ]
        assert differs == (model in ("time_decay", "u_shape"))
        assert old_totals[model]["parameters_key"] != new_totals[model]["parameters_key"]


def test_conversion_of_unusable_data_is_an_answer_that_says_so(tmp_path: Path) -> None:
    with serving(small_scenario("spoiled"), tmp_path) as (visitor,):
        with closing(SqliteDatabase(tmp_path / "cdp.sqlite", inline=True).connection) as spoiled:
            spoiled.execute("UPDATE conversions SET value = 9e999 WHERE conversion_id = 'c4'")
        answer = visitor.attribution("c4", "linear")
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "unusable_data"
        assert "value is inf" in answer.json()["error"]["message"]
