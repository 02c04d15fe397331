"""The table of all commands: where each stands, and its summary.

`edgeproof --help` is written from it, so that no command is imported for it.
"""

from __future__ import annotations

from typing import NamedTuple


class Listed(NamedTuple):
    """A command's place, `module:attribute` (a function, or a typer app), and its summary.

    The summary is the first sentence of the command's own help.
    """

    place: str
    summary: str


COMMANDS = {
    "simulate": Listed(
        "edgeproof.simulate:command",
        "Predict every KPI of SCENARIO: the mean of 10 replications and its 95 % interval.",
    ),
    "serve": Listed(
        "edgeproof.serve:command",
        "Run the reference service with SCENARIO's users and conversions until Ctrl-C.",
    ),
    "load": Listed(
        "edgeproof.load:command",
        "Send SCENARIO's requests to a running service and measure every KPI that it shows.",
    ),
    "prove": Listed(
        "edgeproof.prove:command",
        "Predict SCENARIO, measure it, and show side by side how far apart the two are.",
    ),
    "plan": Listed(
        "edgeproof.plan:command",
        "Find the highest arrival rate at which SCENARIO meets every KPI, and which breaks first.",
    ),
    "check-headers": Listed(
        "edgeproof.check_headers:command",
        "Ask URL once and say what can be read of its Cache-Status and Server-Timing.",
    ),
    "report": Listed(
        "edgeproof.report:command",
        "Judge and draw RUN again: a simulation, a load, a proof or a plan.",
    ),
    "attribute": Listed(
        "edgeproof.accounts:app",
        "Share out conversions and their value over channels, under seven attribution models.",
    ),
    "bench": Listed(
        "edgeproof.bench:app",
        "Micro-benchmarks (run, history), the gate on their speed (compare, calibrate; our "
        "own: compare-base, accept-base), what this project promises about its own "
        "(promise), and the gate on exact simulated figures (check, accept).",
    ),
    "scenario": Listed(
        "edgeproof.scenario:app",
        "Check scenario files, print their schema, write their data.",
    ),
    "queue": Listed(
        "edgeproof.queue:app",
        "Show and mend the conversions queue of a database.",
    ),
    "outbox": Listed(
        "edgeproof.outbox:app",
        "Show and mend what is forwarded to the destination.",
    ),
}
