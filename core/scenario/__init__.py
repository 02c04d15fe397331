"""What is asked: the scenario file, its tables, and the workload that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doors import front_door

if TYPE_CHECKING:
    from core.scenario.fault_kinds import FaultKind, FaultKinds
    from core.scenario.file import load_scenario, parse_scenario
    from core.scenario.scenario import Scenario
    from core.scenario.workload import Workload, generate_workload
else:  # mypy would take any name for one that this offers
    __getattr__, __dir__ = front_door(
        __name__,
        {
            "FaultKind": "fault_kinds",
            "FaultKinds": "fault_kinds",
            "load_scenario": "file",
            "parse_scenario": "file",
            "Scenario": "scenario",
            "Workload": "workload",
            "generate_workload": "workload",
        },
    )

__all__ = [
    "FaultKind",
    "FaultKinds",
    "Scenario",
    "Workload",
    "generate_workload",
    "load_scenario",
    "parse_scenario",
]
