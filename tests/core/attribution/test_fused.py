"""Claims about the pass over flat arrays: equal to one conversion at a time, and conserving."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution.fused import RELATIVE_ERROR, Engine, chosen_engine, has_numba, share_credit
from core.attribution.models import MODELS, touch_credits
from core.attribution.names import DIRECT
from core.attribution.parameters import Parameters
from core.attribution.paths import Paths, under_direct_rule
from core.errors import InputError
from tests.core.attribution.flat import DAY_MS, channels_of, path_sets, paths_from

ENGINES: list[Engine] = ["numpy", "numba"]

parameter_sets = st.builds(
    Parameters,
    half_life_ms=st.sampled_from([1, DAY_MS, 7 * DAY_MS]),
    u_shape=st.sampled_from([(0.4, 0.2, 0.4), (0.6, 0.2, 0.2), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)]),
    w_shape=st.sampled_from(
        [(0.3, 0.3, 0.3, 0.1), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), (0.5, 0.25, 0.25, 0.0)]
    ),
    direct=st.sampled_from(["own channel", "ignore unless all direct"]),
)
weight_lists = st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=4, max_size=4)


def close(a: Any, b: Any) -> bool:
    return np.allclose(a, b, rtol=RELATIVE_ERROR, atol=1e-12)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "numba" and not has_numba():
        pytest.skip("numba is not installed")
    found: Engine = request.param
    return found


@given(path_sets(timed=True), parameter_sets, weight_lists)
def test_credits_equal_those_of_one_conversion_at_a_time(
    engine: Engine, paths: Paths, parameters: Parameters, drawn: list[float]
) -> None:
    weights = np.array(drawn[: len(paths.channels)])
    by_name = dict(zip(paths.channels, drawn, strict=False))
    found = share_credit(paths, parameters, weights=weights, keep=True, engine=engine)
    assert found.models == MODELS
    assert found.paths is not None
    assert found.credits is not None
    assert paths.times_ms is not None
    for number in range(len(paths)):
        begin, end = paths.offsets[number : number + 2]
        names, times = channels_of(paths, number), paths.times_ms[begin:end].tolist()
        own = slice(*found.paths.offsets[number : number + 2])
        if not paths.conversions[number]:
            assert not found.credits[own].any()
            continue
        ignores = parameters.direct != "own channel" and any(n != DIRECT for n in names)
        for column, model in enumerate(MODELS):
            expected = touch_credits(
                model, times, names, 10**12, parameters, weights=by_name,
                lead=_mark(paths.lead, number), opportunity=_mark(paths.opportunity, number),
            )  # fmt: skip
            kept = [c for c, n in zip(expected, names, strict=True) if not ignores or n != DIRECT]
            assert close(found.credits[own, column], kept), model
            assert math.fsum(expected) == pytest.approx(1 if names else 0, abs=1e-9)
            assert math.fsum(found.credits[own, column]) == pytest.approx(
                1 if names else 0, abs=1e-9
            )


def _mark(marks: Any, number: int) -> int | None:
    return None if marks is None or marks[number] < 0 else int(marks[number])


@given(path_sets(timed=True), parameter_sets, weight_lists)
def test_channel_totals_are_the_sums_of_the_rows_in_count_and_in_value(
    engine: Engine, paths: Paths, parameters: Parameters, drawn: list[float]
) -> None:
    weights = np.array(drawn[: len(paths.channels)])
    found = share_credit(paths, parameters, weights=weights, keep=True, engine=engine)
    assert found.paths is not None
    assert found.credits is not None
    for column in range(len(MODELS)):
        for totals, amounts in (
            (found.conversions, found.paths.conversions), (found.values, found.paths.values)
        ):  # fmt: skip
            sums = np.zeros(len(paths.channels))
            np.add.at(
                sums, found.paths.codes, found.credits[:, column] * found.paths.per_touch(amounts)
            )
            assert close(totals[column], sums)
    touched = paths.lengths > 0
    assert found.attributed == pytest.approx(float(paths.conversions[touched].sum()), abs=1e-9)
    assert close(found.conversions.sum(axis=1), found.attributed)
    assert close(found.values.sum(axis=1), found.attributed_value)
    assert found.attributed + found.untouched == pytest.approx(float(paths.conversions.sum()))


@given(path_sets(timed=True), parameter_sets)
def test_without_keeping_credits_the_totals_are_the_same_bit_by_bit(
    engine: Engine, paths: Paths, parameters: Parameters
) -> None:
    one = share_credit(paths, parameters, engine=engine, keep=True)
    other = share_credit(paths, parameters, engine=engine)
    assert other.credits is None
    assert (one.conversions == other.conversions).all()
    assert (one.values == other.values).all()


@given(path_sets(timed=True), parameter_sets, weight_lists)
def test_every_engine_gives_the_credits_of_numpy(
    engine: Engine, paths: Paths, parameters: Parameters, drawn: list[float]
) -> None:
    weights = np.array(drawn[: len(paths.channels)])
    here = share_credit(paths, parameters, weights=weights, keep=True, engine=engine)
    plain = share_credit(paths, parameters, weights=weights, keep=True, engine="numpy")
    assert here.credits is not None
    assert plain.credits is not None
    assert close(here.credits, plain.credits)
    assert close(here.conversions, plain.conversions)
    assert close(here.values, plain.values)


def test_without_times_there_is_no_time_decay(engine: Engine) -> None:
    paths = paths_from([("ab", 1, 2, 0)])
    models = share_credit(paths, Parameters(), engine=engine).models
    assert models == ("last_click", "first_click", "linear", "u_shape", "w_shape")
    driven = share_credit(paths, Parameters(), weights=np.array([0.0, 2.0]), engine=engine)
    assert driven.models[-1] == "data_driven"
    assert driven.conversions[-1].tolist() == [0.0, 1.0]


def test_ages_of_decades_do_not_underflow(engine: Engine) -> None:
    paths = paths_from([("abb", 1, 0, 0)], times=[[0, 300_000 * DAY_MS, 300_000 * DAY_MS]])
    found = share_credit(paths, Parameters(), engine=engine, keep=True)
    assert found.credits is not None
    assert found.credits[:, 3].tolist() == [0.0, 0.5, 0.5]


def test_no_paths_at_all_share_nothing(engine: Engine) -> None:
    paths = paths_from([])
    found = share_credit(paths, Parameters(), engine=engine, keep=True)
    assert (found.attributed, found.conversions.shape) == (0.0, (5, 0))


def test_milestone_on_a_direct_touch_moves_to_the_closest_that_stays() -> None:
    day = DAY_MS
    paths = paths_from(
        [(["a", DIRECT, "b", "d"], 1, 0, 0)], times=[[0, 3 * day, 4 * day, 9 * day]],
        marks=[(1, -1)],
    )  # fmt: skip
    moved = under_direct_rule(paths, "ignore unless all direct")
    assert moved.lead is not None
    assert moved.lead.tolist() == [1]
    assert channels_of(moved, 0) == ["a", "b", "d"]


def test_path_of_direct_touches_alone_keeps_them() -> None:
    paths = paths_from([([DIRECT, DIRECT], 1, 0, 0), (["a", DIRECT], 1, 0, 0)])
    kept = under_direct_rule(paths, "ignore unless all direct")
    assert [channels_of(kept, n) for n in range(2)] == [[DIRECT, DIRECT], ["a"]]


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    paths = paths_from([("ab", 1, 0, 0)])
    with pytest.raises(ValueError, match="do not fit"):
        replace(paths, values=np.zeros(2))
    with pytest.raises(ValueError, match="names no channel"):
        replace(paths, channels=("a",))
    with pytest.raises(ValueError, match="one weight per channel"):
        share_credit(paths, Parameters(), weights=np.ones(3))


def test_missing_numba_is_refused_only_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.attribution.fused.find_spec", lambda name: None)
    assert chosen_engine("auto", 10**9) == "numpy"
    with pytest.raises(InputError, match="numba is not installed"):
        chosen_engine("numba", 1)


def test_numba_whose_import_fails_is_not_used_and_said_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_: str) -> None:
        raise ImportError("Numba needs NumPy 2.2 or less")

    monkeypatch.setattr("core.attribution.fused.importlib.import_module", fails)
    assert chosen_engine("auto", 10**9) == "numpy"
    with pytest.raises(InputError, match=r"its import fails: Numba needs NumPy 2.2 or less"):
        chosen_engine("numba", 1)


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        # Of two libraries in one process that open one file each drops the other's locks.
        (
            "core.service.app, core.service.consumer, core.ledger.database_account, "
            "core.attribution.account",
            ("numba", "llvmlite", "apsw"),
        ),
        ("edgeproof.main", ("numba", "llvmlite", "matplotlib", "scipy", "locust", "gevent")),
    ],
)
def test_start_up_loads_nothing_heavy_and_a_service_no_second_sqlite(
    modules: str, absent: tuple[str, ...]
) -> None:
    code = f"import {modules}, sys; print([n for n in {absent} if n in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert found.stdout.strip() == "[]"
