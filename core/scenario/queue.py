"""The scenario's table `queue`: how conversions reach the batch attribution processor."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from core.scenario.table import Table
from core.units import Duration

LONGEST_DELAY = 43_200.0
"""Seconds before a retry at most: 12 h, the platform's bound."""


def _is_none(retries: int | None) -> bool:
    return retries is None


def _is_doubling(backoff: str) -> bool:
    return backoff == "doubling"


class Queue(Table):
    """Batches of conversions, and how often they are tried. The bounds are the platform's.

    max_attempts: deliveries in all. retries: the same as the platform counts it, one less; a
    scenario gives one of the two, and its max_attempts is then set. retry_backoff: whether
    retry_delay doubles with each further retry, or is the same before each, as on the platform.
    """

    batch_size: Annotated[int, Field(ge=1, le=100)] = 50
    max_parallel: Annotated[int, Field(ge=1, le=250)] = 5
    wait: Annotated[Duration, Field(ge=0, le=60)] = 1.0
    max_attempts: Annotated[int, Field(ge=1, le=101)] = 3
    retries: Annotated[int | None, Field(ge=0, le=100, exclude_if=_is_none)] = None
    retry_delay: Annotated[Duration, Field(ge=0, le=LONGEST_DELAY)] = 1.0
    retry_backoff: Annotated[Literal["doubling", "constant"], Field(exclude_if=_is_doubling)] = (
        "doubling"
    )

    @model_validator(mode="after")
    def _count_deliveries(self) -> Self:
        if self.retries is not None:
            deliveries = self.retries + 1
            if "max_attempts" in self.model_fields_set and self.max_attempts != deliveries:
                raise ValueError(
                    f"retries is {self.retries}, which makes {deliveries} deliveries, and "
                    f"max_attempts is {self.max_attempts} deliveries; leave one of them out"
                )
            # A scenario is the same whichever of the two it gives.
            object.__setattr__(self, "max_attempts", deliveries)
            object.__setattr__(self, "retries", None)
        return self
