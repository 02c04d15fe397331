"""The data-driven model, fitted in advance: removal effects, and the data behind them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from core.attribution.markov import Removal, is_too_large, removal_effects
from core.attribution.models import weights_of
from core.attribution.parameters import Parameters
from core.attribution.paths import Floats
from core.attribution.transitions import Transitions, with_rare_merged
from core.errors import InputError
from core.texts import count_of

MIN_CONVERSIONS = 10
"""With fewer conversions removal effects are noise, and every touch counts the same."""

FEWER = {1: 1_000, 2: 100, 3: 30}
"""Channels that are kept if there are more than their order allows: seconds of work."""

_SCHEMA_VERSION = 1
_DECIMALS = 12
"""Decimals of stored removal effects: rounding hides the differences between machines."""
_DIGITS = 10
"""Of what is kept where no difference is taken, below which those are fewer: rare channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModel:
    """Removal effects of channels, with the window and the amount of the data behind them.

    weights, value_weights: removal effect on conversions and on their value, by channel.
    window: epoch milliseconds of the earliest and the latest event seen, None if unknown.
    conversions, paths: how many there were. fallback: why every touch counts the same instead,
    "" if the weights are in force.
    """

    parameters: Parameters
    weights: Mapping[str, float]
    value_weights: Mapping[str, float]
    conversion_rate: float
    conversions: float
    paths: float
    window: tuple[int, int] | None
    fallback: str

    @property
    def version(self) -> str:
        """12 characters that are the same for the same model of the same data."""
        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()[:12]

    def weights_of(self, channels: Sequence[str]) -> Floats:
        """Return the weights of touches of *channels* under data_driven.

        A channel that was never seen has the weight of `OTHER`, or 0. Under a fallback all weights
        are 1.
        """
        weights = dict.fromkeys(self.weights, 1.0) if self.fallback else self.weights
        return np.array(weights_of(weights, channels), dtype=np.float64)

    def shared_out(self, total: float, *, by_value: bool = False) -> dict[str, float]:
        """Return *total* shared out in proportion to the global removal effects.

        If no removal loses anything, channels get equal shares.
        """
        weights = self.value_weights if by_value else self.weights
        sum_ = math.fsum(weights.values())
        if sum_ == 0:
            return {channel: total / len(weights) for channel in weights}
        return {channel: total * (weight / sum_) for channel, weight in weights.items()}

    def _content(self) -> dict[str, Any]:
        return {
            "schema_version": _SCHEMA_VERSION,
            "parameters": self.parameters.to_json(),
            "window": None if self.window is None else list(self.window),
            "paths": self.paths,
            "conversions": self.conversions,
            "conversion_rate": self.conversion_rate,
            "fallback": self.fallback,
            "weights": dict(self.weights),
            "value_weights": dict(self.value_weights),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the model as JSON data, its version included."""
        return {"version": self.version, **self._content()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FittedModel:
        """Return the model of `to_json`; InputError if it is not one, or was changed since."""
        try:
            known = data["schema_version"]
            if known != _SCHEMA_VERSION:
                raise InputError(
                    f"fitted model: schema_version is {known!r}, this program reads "
                    f"{_SCHEMA_VERSION}; fit the model anew"
                )
            window = data["window"]
            model = cls(
                parameters=Parameters.from_json(data["parameters"]),
                weights={str(k): float(v) for k, v in data["weights"].items()},
                value_weights={str(k): float(v) for k, v in data["value_weights"].items()},
                conversion_rate=float(data["conversion_rate"]),
                conversions=float(data["conversions"]),
                paths=float(data["paths"]),
                window=None if window is None else (int(window[0]), int(window[1])),
                fallback=str(data["fallback"]),
            )
            version = data["version"]
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise InputError(
                f"fitted model: cannot be read ({error!r}); fit the model anew"
            ) from None
        if model.version != version:
            raise InputError(
                f"fitted model: version is {str(version)[:40]!r}, but its content says "
                f"{model.version!r}; fit the model anew"
            )
        return model


def fit(
    transitions: Transitions,
    parameters: Parameters,
    *,
    window: tuple[int, int] | None = None,
    minimum: int = MIN_CONVERSIONS,
    most: int | None = None,
) -> FittedModel:
    """Return the model fitted on *transitions*, which have the order in *parameters*.

    The *most* most frequent channels are kept, and the others are merged into `OTHER`. Without
    *most*, all are kept if the order allows it, else `FEWER`. With fewer conversions than *minimum*
    the removal effects are computed, but a fallback is in force. Raise InputError if the
    chain is too large for its order.
    """
    if most is None and is_too_large(transitions):
        most = FEWER[transitions.order]
    if most is not None:
        transitions = with_rare_merged(transitions, most)
    if transitions.order != parameters.order:
        raise ValueError(f"transitions of order {transitions.order}, not {parameters.order}")
    removal: Removal = removal_effects(transitions)
    # Beyond order 1 an effect is a difference, whose digits beyond the decimals are rounding.
    settled = _exact if transitions.order == 1 else _decimal
    conversions = transitions.conversions
    fallback = ""
    if conversions < minimum or conversions <= 0:
        fallback = (
            f"only {count_of(conversions, 'conversion')}, fewer than {max(minimum, 1):,}: "
            "data_driven "
            "gives every touch the same credit"
        )
    return FittedModel(
        parameters=parameters,
        weights=_effects(removal.channels, removal.conversions, settled),
        value_weights=_effects(removal.channels, removal.value, settled),
        conversion_rate=_exact(removal.conversion_rate),
        conversions=conversions,
        paths=transitions.paths,
        window=window,
        fallback=fallback,
    )


def _effects(
    channels: Sequence[str], effects: Floats, settled: Callable[[float], float]
) -> dict[str, float]:
    return dict(zip(channels, map(settled, effects.tolist()), strict=True))


def _decimal(number: float) -> float:
    return round(number, _DECIMALS)


def _exact(number: float) -> float:
    if abs(number) >= 10.0 ** (_DIGITS - _DECIMALS - 1):
        return _decimal(number)
    return float(f"{number:.{_DIGITS - 1}e}")
