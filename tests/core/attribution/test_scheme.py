"""Claims about schemes: what decides credits is in the key, and what was used instead is said."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution.fitted import FittedModel
from core.attribution.journeys import Journey
from core.attribution.models import DATA_DRIVEN, HEURISTICS, MODELS
from core.attribution.names import DIRECT
from core.attribution.parameters import Parameters
from core.attribution.scheme import Scheme
from core.errors import InputError
from tests.core.ledger.driven import driven_credits

NOW = 1_767_225_600_000
NAMES = ("a", "b", "c", DIRECT)
CHANGES: list[dict[str, Any]] = [
    {"half_life_ms": 1}, {"lookback_ms": 5}, {"direct": "ignore unless all direct"},
    {"u_shape": (0.5, 0.0, 0.5)}, {"w_shape": (0.25, 0.25, 0.25, 0.25)},
    {"milestones": ("signup", "")}, {"order": 2},
]  # fmt: skip


def model(
    weights: dict[str, float], *, fallback: str = "", parameters: Parameters | None = None
) -> FittedModel:
    return FittedModel(
        parameters=parameters or Parameters(), weights=weights, value_weights=weights,
        conversion_rate=0.5, conversions=20.0, paths=40.0, window=(1, 2), fallback=fallback,
    )  # fmt: skip


def stored(fitted: FittedModel, number: int = 1) -> tuple[int, str]:
    return number, json.dumps(fitted.to_json())


def journey(channels: tuple[str, ...], **marks: int | None) -> Journey:
    return Journey(
        conversion_id="c", user_id="u", converted_ms=NOW, value=5.0, channels=channels,
        times_ms=tuple(NOW - 1000 * age for age in reversed(range(len(channels)))), **marks,
    )  # fmt: skip


WEIGHTS = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from([0.0, 1e-9, 0.2, 0.5, 1.0]), max_size=4
)
CHANNELS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=12).map(tuple)


@given(WEIGHTS, CHANNELS, st.sampled_from(CHANGES), st.booleans(), st.integers(0, 11))
def test_credits_of_all_seven_sum_to_one(
    weights: dict[str, float],
    channels: tuple[str, ...],
    change: dict[str, Any],
    has_model: bool,
    lead: int,
) -> None:
    parameters = Parameters(**change)
    row = stored(model(weights, parameters=parameters)) if has_model else None
    scheme = Scheme(parameters, row)
    credits = scheme.credits(journey(channels, lead=lead if lead < len(channels) else None))
    assert len(credits) == len(MODELS) == 7
    for share in credits:
        assert len(share) == len(channels)
        assert all(0 <= credit <= 1 for credit in share)
        assert abs(math.fsum(share) - 1) < 1e-9


@given(WEIGHTS, CHANNELS)
def test_data_driven_is_in_proportion_to_the_removal_effects_of_the_newest_model(
    weights: dict[str, float], channels: tuple[str, ...]
) -> None:
    scheme = Scheme(stored=stored(model(weights)))
    (found,) = scheme.credits(journey(channels), (DATA_DRIVEN,))
    assert found == pytest.approx(driven_credits(channels, weights), abs=1e-12)


def test_every_parameter_is_in_every_key() -> None:
    schemes = [Scheme(), *(Scheme(Parameters(**change)) for change in CHANGES)]
    for name in MODELS:
        assert len({scheme.key_end(name) for scheme in schemes}) == len(schemes)


def test_version_is_in_the_key_of_data_driven_and_of_no_other() -> None:
    one, two = (Scheme(stored=stored(model({"a": weight}))) for weight in (0.1, 0.2))
    assert one.version is not None
    assert one.key_end(DATA_DRIVEN).endswith(f":{one.version}")
    assert len({Scheme().key_end(DATA_DRIVEN), one.key_end(DATA_DRIVEN),
                two.key_end(DATA_DRIVEN)}) == 3  # fmt: skip
    for name in HEURISTICS:
        assert Scheme().key_end(name) == one.key_end(name) == two.key_end(name)


@pytest.mark.parametrize("name", ["", "constructor", "Linear", "__proto__", "data-driven"])
def test_unknown_model_is_an_error_that_names_the_seven(name: str) -> None:
    with pytest.raises(InputError) as caught:
        Scheme().key_end(name)
    assert all(known in str(caught.value) for known in MODELS)


BROKEN = stored(model({"a": 0.9}))[1].replace("0.9", "0.8")

FALLBACKS: dict[str, tuple[Any, Parameters, str]] = {
    "no model": (None, Parameters(), "no model has been fitted"),
    "too few": (
        stored(model({"a": 0.9}, fallback="only 3 conversions, fewer than 10")),
        Parameters(), "only 3 conversions, fewer than 10",
    ),
    "other order": (stored(model({"a": 0.9})), Parameters(order=2), "with order 1, not 2"),
    "other rule": (
        stored(model({"a": 0.9})), Parameters(direct="ignore unless all direct"),
        "with direct 'own channel', not 'ignore unless all direct'",
    ),
    "other lookback": (stored(model({"a": 0.9})), Parameters(lookback_ms=7), "lookback_ms"),
    "changed since": ((4, BROKEN), Parameters(), "fit the model anew"),
    "no JSON": ((4, "?"), Parameters(), "cannot be used"),
}  # fmt: skip


@pytest.mark.parametrize("why", FALLBACKS)
def test_without_a_usable_model_touches_get_equal_credit_and_the_reason_is_said(why: str) -> None:
    row, parameters, reason = FALLBACKS[why]
    scheme = Scheme(parameters, row)
    path = journey(("a", "b", "a", "c"))
    assert reason in scheme.fallback_of(path)
    assert scheme.credits(path, (DATA_DRIVEN, "linear")) == [(0.25,) * 4] * 2


def test_half_life_or_shape_of_a_model_do_not_matter() -> None:
    row = stored(model({"a": 0.2, "b": 0.6}, parameters=Parameters(half_life_ms=9)))
    scheme = Scheme(Parameters(u_shape=(0.5, 0.0, 0.5)), row)
    assert scheme.fallback == ""
    assert scheme.credits(journey(("a", "b")), (DATA_DRIVEN,)) == [pytest.approx((0.25, 0.75))]


def test_journey_without_a_channel_that_has_an_effect_says_so() -> None:
    scheme = Scheme(stored=stored(model({"a": 0.2, "b": 0.0})))
    assert scheme.fallback_of(journey(("a", "c"))) == ""
    assert "no channel of this journey" in scheme.fallback_of(journey(("b", "c")))
    assert scheme.credits(journey(("b", "c")), (DATA_DRIVEN,)) == [(0.5, 0.5)]
    ignoring = Parameters(direct="ignore unless all direct")
    row = stored(model({DIRECT: 0.4}, parameters=ignoring))
    assert Scheme(ignoring, row).fallback_of(journey((DIRECT, DIRECT))) == ""
    assert "no channel" in Scheme(ignoring, row).fallback_of(journey((DIRECT, "c")))


def test_data_that_gives_no_credit_is_named() -> None:
    good = journey(("a", "b"))
    assert good.fault() == ""
    changes: dict[str, tuple[dict[str, Any], str]] = {
        "text": ({"converted_ms": "soon"}, "conversion_timestamp is 'soon'"),
        "infinite": ({"value": math.inf}, "value is inf"),
        "no number": ({"value": math.nan}, "value is nan"),
        "no amount": ({"value": "5"}, "value is '5'"),
        "half": ({"times_ms": (NOW - 1.5, NOW)}, "event_timestamp of a touch is"),
        "order": ({"times_ms": (NOW, NOW - 1)}, "not in order of time"),
        "after": ({"times_ms": (NOW, NOW + 1)}, "not in order of time"),
        "channel": ({"channels": ("a", b"b")}, "utm_source of a touch is b'b'"),
    }
    for change, reason in changes.values():
        fields = {name: getattr(good, name) for name in Journey.__slots__} | change
        assert reason in Journey(**fields).fault()
