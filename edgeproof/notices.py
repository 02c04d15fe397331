"""Lines on standard error about what a command was asked for and does not need."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from core.scenario.places import data_places
from core.scenario.scenario import Scenario
from core.secrets import masked
from reports.words import printable

_CLIENT = "the load's side of it decides"
_SERVICE = "it describes the service, which has a scenario of its own: `edgeproof serve` takes it"
_UNJUDGED = "nothing is judged here"

UNUSED: dict[str, dict[str, str]] = {
    "simulate": {
        "targets": "no request is written",
        "caches": "no header is read",
        "tiers.l3.readers": "no simulated time depends on it",
        "tiers.l2.pubsub": "the simulation has no Redis",
    },
    "load": dict.fromkeys(
        (
            "tiers", "topology.cpu", "topology.eviction", "queue", "attribution", "destination",
            "network", "traffic.touches_per_user", "invalidation",
        ),
        _SERVICE,
    ),
    "serve": {
        **dict.fromkeys(("kpis", "name", "description"), _UNJUDGED),
        **dict.fromkeys(("targets", "timeout", "caches"), _CLIENT),
        "network": "it lies before the service, which adds nothing for it",
    },
    "data": {
        **dict.fromkeys(("kpis", "name", "description"), _UNJUDGED),
        **dict.fromkeys(
            (
                "targets", "timeout", "caches", "tiers", "queue", "destination", "topology",
                "network",
            ),
            "the rows do not depend on it",
        ),
    },
}  # fmt: skip
"""Fields of a scenario that a command does not use, and why."""

UNUSED["plan"] = UNUSED["simulate"]
UNUSED["calibrate"] = {**UNUSED["load"], **dict.fromkeys(("kpis", "description"), _UNJUDGED)}
del UNUSED["calibrate"]["tiers"], UNUSED["calibrate"]["topology.cpu"]

UNUSED_WITHOUT_TRACE: dict[str, dict[str, str]] = {
    "load": {"start": _SERVICE},
    "serve": dict.fromkeys(("duration", "warm_up"), "it serves until Ctrl-C"),
    "data": dict.fromkeys(
        ("duration", "warm_up", "start", "traffic.stages", "traffic.mix", "traffic.popularity"),
        "the rows do not depend on it",
    ),
}
"""The same where no trace's window depends on them."""


def notice(text: str) -> None:
    """Print *text* as a line of its own on standard error, where no output is piped."""
    print(f"edgeproof: {printable(text)}", file=sys.stderr)


def tell_unused(command: str, overrides: Sequence[str], *, has_trace: bool) -> None:
    """Print a line for each override of a field that *command* does not use."""
    unused = {**UNUSED.get(command, {})}
    if not has_trace:
        unused |= UNUSED_WITHOUT_TRACE.get(command, {})
    for text in overrides:
        steps = text.partition("=")[0].strip().split(".")
        path = ".".join(map(str, data_places(tuple(steps))[-1]))
        for field, reason in unused.items():
            if path == field or path.startswith((f"{field}.", f"{field}[")):
                notice(f"--set {masked([text])[0]} has no effect on {command}: {reason}")


def tell_life(scenario: Scenario) -> None:
    """Print a line for what happens to a service in *scenario* that no load can make happen."""
    if scenario.deployments:
        notice(
            "a load makes no deployments: `edgeproof serve` makes the scenario's, any other "
            "service has to be deployed at those times"
        )
    if scenario.regions:
        notice(
            "a load sends every request from here: what its regions see is not measured; "
            "`edgeproof prove` without --host measures it at emulated distances"
        )


def tell_strict(*, strict: bool) -> None:
    """Print a line where --strict is asked of a measurement: a run without an interval."""
    if strict:
        notice("--strict has no effect here: one measured run has no interval to be inconclusive")


def tell_plain(*, plain: bool, as_json: bool) -> None:
    """Print a line if both are asked for: JSON has neither colour nor a display."""
    if plain and as_json:
        notice("--plain has no effect with --json, which prints one object and nothing else")
