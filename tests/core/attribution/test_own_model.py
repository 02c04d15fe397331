"""Claims about attribution models of one's own, and about the plain form that all fall back on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution import Model, Touches, attribute, touch_credits
from core.attribution.fused import RELATIVE_ERROR, Engine, has_numba, share_credit
from core.attribution.models import BUILT_IN
from core.attribution.parameters import Parameters
from core.attribution.paths import Floats, Paths
from core.attribution.vectorised import Converting
from core.errors import InputError
from tests.core.attribution.flat import path_sets, paths_from

ENGINES: list[Engine] = ["numpy", "numba"]


def second_touch(touches: Touches, *, share: float) -> list[float]:
    """Give *share* to the second touch, the rest to the first."""
    return [1 - share, share, *[0.0] * (len(touches) - 2)]


def second_touches(
    chosen: Converting, parameters: Parameters, weights: Floats | None, *, share: float
) -> Floats:
    """Do what `second_touch` does for many paths."""
    credits = np.zeros(len(chosen.codes))
    credits[chosen.first] = np.where(chosen.lengths > 1, 1 - share, 1.0)
    credits[chosen.first[chosen.lengths > 1] + 1] = share
    return credits


OWN = Model(
    name="second", title="most to the second touch", credits=partial(second_touch, share=0.75)
)
FAST = replace(OWN, name="fast", vectorised=partial(second_touches, share=0.75))
BY_EFFECT = Model(
    name="strongest", title="all to the channel with the largest removal effect",
    needs_weights=True,
    credits=lambda touches: np.eye(len(touches))[int(np.argmax(touches.weights))],
)  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@given(
    paths=path_sets(timed=True), drawn=st.lists(st.sampled_from([0.0, 0.5]), min_size=4, max_size=4)
)
def test_every_built_in_model_falls_back_on_its_plain_form(
    engine: Engine, paths: Paths, drawn: list[float]
) -> None:
    if engine == "numba" and not has_numba():
        pytest.skip("numba is not installed")
    plain = [replace(m, name=f"plain_{m.name}", vectorised=None) for m in BUILT_IN.values()]
    weights = np.array(drawn[: len(paths.channels)])
    for direct in ("own channel", "ignore unless all direct"):
        parameters = Parameters(direct=direct)
        found = share_credit(
            paths, parameters, weights=weights, keep=True, engine=engine, own=plain
        )
        assert found.models == (*BUILT_IN, *(model.name for model in plain))
        assert found.credits is not None
        for figures in (found.conversions, found.values, found.credits.T):
            np.testing.assert_allclose(figures[:7], figures[7:], rtol=RELATIVE_ERROR, atol=1e-12)


@given(paths=path_sets())
def test_a_vectorised_form_gives_what_the_plain_one_gives(paths: Paths) -> None:
    found = share_credit(paths, Parameters(), own=(OWN, FAST))
    np.testing.assert_allclose(found.conversions[-2], found.conversions[-1], atol=1e-12)
    assert found.conversions[-1].sum() == pytest.approx(found.attributed)


def test_a_model_of_ones_own_stands_beside_the_seven() -> None:
    paths = paths_from([(["a", "b", "c"], 4.0, 40.0, 0.0), (["c"], 2.0, 10.0, 0.0)])
    account = attribute(paths, models=["linear", OWN])
    assert account.models == ("linear", "second")
    assert account.notices == ("second: most to the second touch",)
    found = {row.channel: row.conversions for row in account.rows if row.model == "second"}
    assert found == {"a": 1.0, "b": 3.0, "c": 2.0}
    assert [row.value for row in account.rows if row.channel == "b"] == pytest.approx([40 / 3, 30])
    assert attribute(paths).models == tuple(name for name in BUILT_IN if name != "time_decay")


def test_removal_effects_are_fitted_for_a_model_that_needs_them() -> None:
    paths = paths_from([(["a", "b"], 20.0, 0.0, 0.0), (["a"], 0.0, 0.0, 30.0)])
    account = attribute(paths, models=[BY_EFFECT])
    assert account.fitted is not None
    assert sum(row.conversions for row in account.rows) == 20


def test_one_journey_is_shared_out_by_a_model_of_ones_own() -> None:
    of_three = touch_credits(OWN, (1, 2, 3), ("a", "(direct)", "b"), 3, Parameters())
    assert of_three == (0.25, 0.75, 0.0)
    ignored = Parameters(direct="ignore unless all direct")
    assert touch_credits(OWN, (1, 2, 3), ("a", "(direct)", "b"), 3, ignored) == (0.25, 0.0, 0.75)
    assert touch_credits(OWN, (1,), ("a",), 3, Parameters()) == (1.0,)


def short(touches: Touches) -> Sequence[float]:
    """Give too little."""
    return [0.4] * len(touches)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("markov", "model is 'markov'; use one of last_click, first_click, linear, time_decay"),
        (replace(OWN, name="linear"), "model linear is built in; give yours another name"),
        (replace(OWN, needs_times=True), "model second needs times"),
        (replace(OWN, credits=short), "model second gives 2 credits with the sum 0.8 for 2"),
        (replace(OWN, credits=lambda t: [1.0]), "model second gives 1 credits"),
        (replace(OWN, credits=lambda t: [2.0, -1.0]), "a credit of at least 0, and 1 together"),
        (replace(OWN, credits=lambda t: [float("nan")] * 2), "with the sum nan for 2 touches"),
        (
            replace(OWN, vectorised=lambda c, p, w: np.full(len(c.codes), 0.1)),
            "does not share out each path",
        ),
        (replace(OWN, vectorised=lambda c, p, w: np.ones(1)), "gives 1 credits for 2"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(model: Any, reason: str) -> None:
    paths = paths_from([(["a", "b"], 1.0, 0.0, 0.0)])
    with pytest.raises(InputError, match=reason):
        attribute(paths, models=[model])


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="model 'my model' cannot be named so"):
        Model(name="my model", title="", credits=short)
