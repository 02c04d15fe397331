"""The topology of a scenario: points of presence, processes, isolates, memory and CPU."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, TypeAdapter, model_validator

from core.endpoints import EndpointTable
from core.scenario.by_endpoint import KNOWN, ByEndpoint
from core.scenario.eviction import Eviction, is_off
from core.scenario.table import Table
from core.units import Duration, Size


class Cpu(ByEndpoint):
    """CPU time of a request: a per endpoint + b per L2 operation + c per L3 operation."""

    VALUES: ClassVar[TypeAdapter[Any]] = TypeAdapter(Duration)

    __pydantic_extra__: dict[str, Annotated[Duration, KNOWN]] = Field(init=False)
    per_l2_operation: Duration = 120e-6
    per_l3_operation: Duration = 150e-6

    @classmethod
    def stated(cls, endpoints: EndpointTable) -> dict[str, Any]:
        """Return the CPU time of each endpoint's description."""
        return {endpoint.name: f"{endpoint.cpu!r}s" for endpoint in endpoints}

    @model_validator(mode="after")
    def _not_negative(self) -> Self:
        for name, value in self:
            if value < 0:
                raise ValueError(f"{name} is negative; CPU time is at least 0s")
        return self

    def of(self, endpoint: str) -> float:
        """Return a, the seconds that *endpoint* takes before its store operations."""
        return float(self.by_name[endpoint])


class Topology(Table):
    """Where the code runs."""

    points_of_presence: Annotated[int, Field(ge=1, le=1000)] = 1
    processes: Annotated[int, Field(ge=1, le=1000)] = 1
    isolates: Annotated[int, Field(ge=1, le=1000)] = 4
    memory_limit: Size = 128_000_000
    base_memory: Size = 32_000_000
    cpu: Cpu = Cpu()
    eviction: Annotated[Eviction, Field(exclude_if=is_off)] = Eviction()

    @model_validator(mode="after")
    def _isolates_fit_the_workload_row(self) -> Self:
        if self.process_count * self.isolates > 65_536:
            raise ValueError("points_of_presence x processes x isolates is at most 65536")
        return self

    @property
    def process_count(self) -> int:
        """Processes over all points of presence; each is one CPU server."""
        return self.points_of_presence * self.processes

    @property
    def isolate_count(self) -> int:
        """Isolates over all processes; each has an L1 of its own."""
        return self.process_count * self.isolates
