"""The tables of commands: where each stands, and its summary.

`edgeproof --help` and `edgeproof bench --help` are written from them, so that no command is
imported for them.
"""

from __future__ import annotations

from typing import NamedTuple


class Listed(NamedTuple):
    """A command's place, `module:attribute` (a function, or a typer app), and its summary.

    The summary is the first sentence of the command's own help. Commands of one section stand
    together in the help, sections in the order of their first command.
    """

    place: str
    summary: str
    section: str = "Commands"


PREDICT = "Predict"
MEASURE = "Measure a service"
JUDGE = "Judge and compare runs"
INPUTS = "Scenarios and data"
ATTRIBUTION = "Attribution and its queues"
SPEED = "Speed of code, in CI"


COMMANDS = {
    "simulate": Listed(
        "edgeproof.simulate:command",
        "Predict every KPI of SCENARIO: the mean of 10 replications and its 95 % interval.",
        PREDICT,
    ),
    "plan": Listed(
        "edgeproof.plan:command",
        "Find the highest arrival rate at which SCENARIO meets every KPI, and which breaks first.",
        PREDICT,
    ),
    "sweep": Listed(
        "edgeproof.sweep:command",
        "Predict every KPI of SCENARIO with fields at several values, in every combination.",
        PREDICT,
    ),
    "size": Listed(
        "edgeproof.size:command",
        "Find the smallest value of a field with which SCENARIO meets every KPI.",
        PREDICT,
    ),
    "curve": Listed(
        "edgeproof.curve:command",
        "Show the miss ratio over the size and the TTLs of the caches of SCENARIO, or of a trace.",
        PREDICT,
    ),
    "cost": Listed(
        "edgeproof.cost:command",
        "Show what SCENARIO or RUN costs: the bill, what each tier saves, and what TTLs trade.",
        PREDICT,
    ),
    "verify": Listed(
        "edgeproof.verify:command",
        "Check the simulation against closed forms: queues, LRU and TTL caches.",
        PREDICT,
    ),
    "prove": Listed(
        "edgeproof.prove:command",
        "Predict SCENARIO, measure it, and show side by side how far apart the two are.",
        MEASURE,
    ),
    "load": Listed(
        "edgeproof.load:command",
        "Send SCENARIO's requests to a running service and measure every KPI that it shows.",
        MEASURE,
    ),
    "serve": Listed(
        "edgeproof.serve:command",
        "Run the reference service with SCENARIO's users and conversions until Ctrl-C.",
        MEASURE,
    ),
    "calibrate": Listed(
        "edgeproof.calibrating:command",
        "Learn the times of a service and write calibration.toml for simulate, plan and prove.",
        MEASURE,
    ),
    "probe": Listed(
        "edgeproof.probe:app",
        "Measure the real D1, KV, Redis or HTTP service from here, and write calibration.toml.",
        MEASURE,
    ),
    "check-headers": Listed(
        "edgeproof.check_headers:command",
        "Ask URL once and say what can be read of its Cache-Status and Server-Timing.",
        MEASURE,
    ),
    "report": Listed(
        "edgeproof.report:command",
        "Judge and draw RUN again: simulation, load, proof, plan, sweep, size or attribution.",
        JUDGE,
    ),
    "compare": Listed(
        "edgeproof.two_runs:command",
        "Compare run B with run A, KPI by KPI and endpoint by endpoint; exit 1 if B is worse.",
        JUDGE,
    ),
    "scenario": Listed(
        "edgeproof.scenario:app",
        "Write, list and check scenario files, print their schema, write their data.",
        INPUTS,
    ),
    "import": Listed(
        "edgeproof.imports:app",
        "Take data as you have them: raw events into a database (events), access logs into a "
        "scenario (log).",
        INPUTS,
    ),
    "attribute": Listed(
        "edgeproof.accounts:app",
        "Share out conversions and their value over channels, under seven attribution models.",
        ATTRIBUTION,
    ),
    "queue": Listed(
        "edgeproof.queue:app",
        "Show and mend the conversions queue of a database.",
        ATTRIBUTION,
    ),
    "outbox": Listed(
        "edgeproof.outbox:app",
        "Show and mend what is forwarded to the destination.",
        ATTRIBUTION,
    ),
    "bench": Listed(
        "edgeproof.bench:app",
        "Time code (run, history), gate its speed (compare, calibrate; this project's own: "
        "promise, compare-base, accept-base), and gate exact simulated figures (check, accept).",
        SPEED,
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
