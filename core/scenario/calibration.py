"""What a measurement taught about one machine: CPU costs and what the client sees on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.distributions import Distribution, parse_distribution
from core.endpoints import CDP, EndpointTable
from core.scenario.by_endpoint import context_of
from core.scenario.scenario import Scenario
from core.scenario.topology import Cpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Fitted at a low rate, for the machine and the moment.

    cpu: seconds of process CPU; overhead: by endpoint, seconds of client latency that are neither
    store time nor that CPU; speed: mean seconds that the service took for the fixed work.
    """

    cpu: Cpu
    overhead: Mapping[str, Distribution]
    speed: float | None
    requests: int

    def apply(self, scenario: Scenario) -> Scenario:
        """Return *scenario* with the fitted CPU costs in place of its committed ones."""
        topology = scenario.topology.model_copy(update={"cpu": self.cpu})
        return scenario.model_copy(update={"topology": topology})

    def at_speed(self, speed: float) -> Calibration:
        """Return the costs of a machine that takes *speed* seconds for the fixed work.

        CPU costs and overhead are both work of a processor, so both grow as the fixed work does.
        Raise ValueError if the speed of this calibration is not known.
        """
        if self.speed is None:
            raise ValueError("the machine's speed during the calibration is not known")
        ratio = speed / self.speed
        cpu = {name: round(value * ratio, 9) for name, value in self.cpu}
        return Calibration(
            cpu=self.cpu.model_copy(update=cpu),
            overhead={name: d.scaled(ratio) for name, d in self.overhead.items()},
            speed=speed,
            requests=self.requests,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "schema": "edgeproof/calibration",
            "schema_version": 1,
            "cpu": self.cpu.model_dump(mode="json"),
            "overhead": {name: d.source for name, d in sorted(self.overhead.items())},
            "speed": self.speed,
            "requests": self.requests,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], endpoints: EndpointTable = CDP) -> Calibration:
        """Return the calibration that `to_json` wrote; KeyError or ValueError if it is none.

        endpoints: those of its scenario.
        """
        if data.get("schema") != "edgeproof/calibration" or data["schema_version"] != 1:
            raise ValueError("not a calibration of schema version 1")
        return cls(
            cpu=Cpu.model_validate(data["cpu"], context=context_of(endpoints)),
            overhead={name: parse_distribution(d) for name, d in data["overhead"].items()},
            speed=data["speed"],
            requests=data["requests"],
        )
