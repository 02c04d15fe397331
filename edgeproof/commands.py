"""The tables of commands: where each stands, and its summary.

`edgeproof --help` and `edgeproof bench --help` are written from them, so that no command is
imported for them.
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
    "calibrate": Listed(
        "edgeproof.calibrating:command",
        "Learn the times of a service and write calibration.toml for simulate, plan and prove.",
    ),
    "probe": Listed(
        "edgeproof.probe:app",
        "Measure the real D1, KV, Redis or HTTP service from here, and write calibration.toml.",
    ),
    "prove": Listed(
        "edgeproof.prove:command",
        "Predict SCENARIO, measure it, and show side by side how far apart the two are.",
    ),
    "plan": Listed(
        "edgeproof.plan:command",
        "Find the highest arrival rate at which SCENARIO meets every KPI, and which breaks first.",
    ),
    "sweep": Listed(
        "edgeproof.sweep:command",
        "Predict every KPI of SCENARIO with fields at several values, in every combination.",
    ),
    "size": Listed(
        "edgeproof.size:command",
        "Find the smallest value of a field with which SCENARIO meets every KPI.",
    ),
    "curve": Listed(
        "edgeproof.curve:command",
        "Show the miss ratio of a trace over the size of a cache: exact, and by eviction policy.",
    ),
    "cost": Listed(
        "edgeproof.cost:command",
        "Show what SCENARIO or RUN costs: the bill, what each tier saves, and what TTLs trade.",
    ),
    "verify": Listed(
        "edgeproof.verify:command",
        "Check the simulation against closed forms: queues, LRU and TTL caches.",
    ),
    "check-headers": Listed(
        "edgeproof.check_headers:command",
        "Ask URL once and say what can be read of its Cache-Status and Server-Timing.",
    ),
    "report": Listed(
        "edgeproof.report:command",
        "Judge and draw RUN again: simulation, load, proof, plan, sweep, size or attribution.",
    ),
    "compare": Listed(
        "edgeproof.two_runs:command",
        "Compare run B with run A, KPI by KPI and endpoint by endpoint; exit 1 if B is worse.",
    ),
    "attribute": Listed(
        "edgeproof.accounts:app",
        "Share out conversions and their value over channels, under seven attribution models.",
    ),
    "import": Listed(
        "edgeproof.imports:app",
        "Take data as you have them: raw events into a database (events), access logs into a "
        "scenario (log).",
    ),
    "bench": Listed(
        "edgeproof.bench:app",
        "Micro-benchmarks (run, history), the gate on their speed (compare, calibrate; our "
        "own: compare-base, accept-base), what this project promises about its own "
        "(promise), and the gate on exact simulated figures (check, accept).",
    ),
    "scenario": Listed(
        "edgeproof.scenario:app",
        "Write, list and check scenario files, print their schema, write their data.",
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

BENCH = {
    "run": Listed(
        "edgeproof.benchmarks:command",
        "Time an L1 hit, an L2 hit, a full miss, a simulated request and an attribution batch.",
    ),
    "history": Listed(
        "edgeproof.history:command",
        "Show each benchmark over versions, and where its level changed.",
    ),
    "compare": Listed(
        "edgeproof.compare:command",
        "Compare two versions' benchmarks in one run: FASTER, SLOWER, SAME or UNDECIDED.",
    ),
    "calibrate": Listed(
        "edgeproof.calibrate:command",
        "Compare unchanged code, and planted slowdowns, and print how often each fails the gate.",
    ),
    "promise": Listed(
        "edgeproof.promise:command",
        "Hold what this project promises about its speed: KEPT, BROKEN, UNDECIDED or NOT MEASURED.",
    ),
    "check": Listed(
        "edgeproof.golden:check",
        "Compare simulated KPIs and counters with golden files; exit 1 if any figure differs.",
    ),
    "accept": Listed(
        "edgeproof.golden:accept",
        "Write the golden files anew and keep the reason beside them.",
    ),
    "compare-base": Listed(
        "edgeproof.base:compare_base",
        "Compare five benchmarks with the revision that bench/base.json pins; fail beyond 10 %.",
    ),
    "accept-base": Listed(
        "edgeproof.base:accept_base",
        "Pin another revision for compare-base and keep the reason beside it.",
    ),
}

IMPORTS = {
    "events": Listed(
        "edgeproof.import_events:command",
        "Write raw events from files into a database of their own, which `attribute --db` reads.",
    ),
    "log": Listed(
        "edgeproof.import_log:command",
        "Write a scenario and a trace from access logs: endpoints, mix, arrival rates, keys.",
    ),
}
