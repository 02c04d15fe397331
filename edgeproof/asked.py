"""What a run was asked for: the whole command, the scenario, the changes, the trace."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.scenario.file import scenario_hash
from core.scenario.pace import rate_of
from core.scenario.scenario import Scenario
from core.scenario.trace_window import timed_window
from core.scenario.workload import Workload
from core.secrets import masked
from edgeproof.invocation import current
from scenarios.catalogue import find_scenario

SCENARIO_OPTIONS = frozenset(
    (
        *("--set", "--seed", "--rate", "--kpi", "--prices"),
        *("--trace", "--trace-offset", "--trace-limit", "--time-unit", "--format", "--columns"),
    )
)
"""Options that change what the scenario file says."""


def asked(
    scenario: Scenario,
    source: str,
    *,
    workload: Workload | None = None,
    is_timed: bool = False,
    hosts: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what run.json keeps of the command that is running.

    source: the scenario as the command line names it. A trace with times of its own uses no stage,
    so none has a rate. Secrets are masked. Raise InputError if the trace cannot be read.
    """
    path = find_scenario(source)
    is_timed = timed_window(scenario) is not None
    arguments = masked(current().arguments)
    return {
        "command": shlex.join(["edgeproof", *arguments]),
        "scenario": source if Path(source).is_file() else f"{path.name}, shipped with edgeproof",
        "scenario_hash": scenario_hash(scenario),
        "changes": _changes(arguments),
        "seed": scenario.seed,
        "highest_stage_rate": None if is_timed else rate_of(scenario),
        "requests": None if workload is None else len(workload),
        "seconds": scenario.total_time,
        "hosts": masked(hosts),
        "trace": None if scenario.trace.file is None else _trace(scenario),
    }


def _changes(arguments: Sequence[str]) -> list[str]:
    """Return the options of *arguments* that change the scenario, each with its value."""
    found = []
    for position, argument in enumerate(arguments):
        name, mark, value = argument.partition("=")
        if name not in SCENARIO_OPTIONS:
            continue
        if mark:
            found.append(f"{name} {value}")
        elif position + 1 < len(arguments):
            found.append(f"{name} {arguments[position + 1]}")
    return found


def _trace(scenario: Scenario) -> dict[str, Any]:
    source = scenario.trace
    path = Path(source.file or "")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    return {
        "file": str(path),
        "sha256": digest,
        "offset": source.offset,
        "limit": source.limit,
        "speed": source.speed,
        "format": source.format,
        "columns": source.columns or None,
    }
