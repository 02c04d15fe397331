"""The deployments of a scenario: when each isolate is replaced by one that starts empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from core.scenario.table import Table
from core.units import Duration


class Deployment(Table):
    """A new version replaces every isolate; times count from the start of the run.

    over: seconds from the first isolate to the last, in equal steps; 0 replaces all at once.
    """

    at: Annotated[Duration, Field(ge=0)]
    over: Annotated[Duration, Field(ge=0)] = 0.0

    @property
    def end(self) -> float:
        """When the last isolate is replaced, in seconds."""
        return self.at + self.over

    def times(self, isolates: int) -> tuple[float, ...]:
        """Return when each of *isolates* isolates is replaced, in their order."""
        return tuple(
            self.at + self.over * place / max(1, isolates - 1) for place in range(isolates)
        )

    def scaled(self, factor: float) -> Deployment:
        """Return this deployment in a run that takes *factor* times as long."""
        return self.model_copy(update={"at": self.at * factor, "over": self.over * factor})


def replacements(deployments: tuple[Deployment, ...], isolates: int) -> Iterator[tuple[float, int]]:
    """Yield when which of *isolates* isolates is replaced, deployment by deployment."""
    for deployment in deployments:
        for place, at in enumerate(deployment.times(isolates)):
            yield at, place
