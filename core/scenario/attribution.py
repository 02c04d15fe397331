"""The scenario's table `attribution`: how credit is shared out, and when models are fitted."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from core.attribution.fitted import MIN_CONVERSIONS
from core.attribution.parameters import DirectRule, Parameters
from core.errors import InputError
from core.scenario.table import Positive, Table
from core.units import Duration

_Share = Annotated[float, Field(ge=0, le=1)]


class Attribution(Table):
    """The parameters of the models, and what data_driven is fitted on.

    fit_every: batches between two fits, 0 for none but those of `edgeproof attribute fit`;
    fit_events: the newest events that a fit sees; refresh: seconds for which a process goes by
    the model that it knows of before it looks for a newer one.
    """

    half_life: Annotated[Duration, Field(gt=0)] = 7 * 86_400.0
    lookback: Annotated[Duration, Field(gt=0)] = 30 * 86_400.0
    direct: DirectRule = "own channel"
    u_shape: tuple[_Share, _Share, _Share] = (0.4, 0.2, 0.4)
    w_shape: tuple[_Share, _Share, _Share, _Share] = (0.3, 0.3, 0.3, 0.1)
    milestones: tuple[str, str] = ("", "")
    own_event: bool = False
    order: Annotated[int, Field(ge=1, le=3)] = 1
    fit_every: Annotated[int, Field(ge=0, le=1_000_000_000)] = 1_000
    fit_events: Annotated[int, Field(ge=1, le=10_000_000)] = 50_000
    min_conversions: Positive = MIN_CONVERSIONS
    refresh: Annotated[Duration, Field(gt=0)] = 10.0

    @model_validator(mode="after")
    def _gives_parameters(self) -> Self:
        try:
            self.parameters()
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    def parameters(self) -> Parameters:
        """Return what the models go by; InputError if they cannot."""
        return Parameters(
            half_life_ms=round(1000 * self.half_life),
            lookback_ms=round(1000 * self.lookback),
            direct=self.direct,
            u_shape=self.u_shape,
            w_shape=self.w_shape,
            milestones=self.milestones,
            own_event=self.own_event,
            order=self.order,
        )
