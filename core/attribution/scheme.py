"""The scheme that credit is shared out by: parameters, and the newest model that fits them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.attribution.fitted import FittedModel
from core.attribution.journeys import Journey
from core.attribution.models import (
    DATA_DRIVEN,
    MODELS,
    check_model,
    credits_by_model,
    weights_of,
)
from core.attribution.names import is_direct
from core.attribution.parameters import Parameters
from core.errors import InputError
from core.texts import parse_json

NO_MODEL = "no model has been fitted yet"
EQUAL = "data_driven gives every touch the same credit"
_FITTED_WITH = ("order", "direct", "lookback_ms", "own_event")


class Scheme:
    """The immutable rules for the credits of a conversion.

    number, version: of the model stored last, None without one. is_fitted: whether it was fitted
    with these parameters. fallback: why data_driven gives every touch the same credit, "" if the
    model is in force. parameters_key: of the parameters.
    """

    __slots__ = (
        "_key_ends", "_weights", "fallback", "is_fitted", "number", "parameters",
        "parameters_key", "version",
    )  # fmt: skip

    def __init__(
        self, parameters: Parameters | None = None, stored: Sequence[Any] | None = None
    ) -> None:
        """Take the row (number, JSON) of the model stored last, None if there is none."""
        self.parameters = parameters or Parameters()
        self.parameters_key = self.parameters.key()
        self.number: int | None = None
        self.version: str | None = None
        self.is_fitted = False
        self._weights: dict[str, float] = {}
        self.fallback = f"{NO_MODEL}: {EQUAL}"
        if stored is not None:
            self.number = stored[0]
            self._adopt(stored[1])
        end = f":{self.parameters_key}"
        self._key_ends = {model: f":{model}{end}" for model in MODELS}
        if self.number is not None:
            # An unreadable model has no version, but it still differs from the one before.
            self._key_ends[DATA_DRIVEN] += f":{self.version or f'unreadable-{self.number}'}"

    def _adopt(self, text: str) -> None:
        try:
            fitted = FittedModel.from_json(parse_json(text))
        except (InputError, ValueError, TypeError) as error:
            self.fallback = f"the newest model cannot be used ({error}): {EQUAL}"
            return
        self.version = fitted.version
        for name in _FITTED_WITH:
            theirs, ours = getattr(fitted.parameters, name), getattr(self.parameters, name)
            if theirs != ours:
                self.fallback = (
                    f"the newest model was fitted with {name} {theirs!r}, not {ours!r}: {EQUAL}"
                )
                return
        self.is_fitted = True
        self.fallback = fitted.fallback
        if not self.fallback:
            self._weights = dict(fitted.weights)

    @property
    def weights(self) -> Mapping[str, float]:
        """The removal effects by channel for data_driven; none without a model.

        Any other channel has the effect of `OTHER`, if there is one (see `weights_of`).
        """
        return self._weights

    def key_end(self, model: str) -> str:
        """Return the end of the cache keys of *model*; InputError for an unknown model."""
        if model not in self._key_ends:
            check_model(model)
        return self._key_ends[model]

    def credits(self, journey: Journey, models: Sequence[str] = MODELS) -> list[tuple[float, ...]]:
        """Return the credits of the touches under each of *models*; ValueError as they say."""
        return credits_by_model(
            models, journey.times_ms, journey.channels, journey.converted_ms, self.parameters,
            weights=self._weights, lead=journey.lead, opportunity=journey.opportunity,
        )  # fmt: skip

    def fallback_of(self, journey: Journey) -> str:
        """Return why data_driven gives all touches of *journey* equal credit, "" if it does not."""
        if self.fallback or not journey.channels:
            return self.fallback
        channels = journey.channels
        if self.parameters.direct != "own channel":
            channels = tuple(name for name in channels if not is_direct(name)) or channels
        if any(weight > 0 for weight in weights_of(self._weights, channels)):
            return ""
        return f"no channel of this journey has an effect in the model: {EQUAL}"
