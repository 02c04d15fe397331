"""Who answers the cache reads of a scenario with fewer and with more isolates."""

from __future__ import annotations

from collections.abc import Callable

from core.metrics.what_helps import IsolateSplit
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from sim.capacity import Runner
from sim.coverage import uncovered
from sim.kept_runs import KeptRuns
from sim.rates import at_rate, interval, mean
from sim.trial import RUNS, found_of

SPLITS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Numbers of isolates, as multiples of the scenario's."""

MOST = 65_536
"""Isolates of a topology."""

_SHARES = ("ratio(l1)", "ratio(l2)", "ratio(miss)")


def isolate_splits(
    scenario: Scenario,
    *,
    rate: float,
    runner: Runner,
    kept: KeptRuns,
    is_compiled: bool = False,
    on_split: Callable[[str], None] | None = None,
) -> tuple[IsolateSplit, ...]:
    """Return who answers the cache reads of *scenario* at *rate* for fewer and more isolates.

    is_compiled: leave out numbers that the compiled engine does not simulate. on_split: called with
    what follows. There are none for an L1 that dies with its request.
    """
    if scenario.tiers.l1.scope != "isolate":
        return ()
    own = scenario.topology.isolates
    found = []
    for number in sorted({max(1, round(own * factor)) for factor in SPLITS}):
        topology = scenario.topology.model_copy(update={"isolates": number})
        changed = scenario.model_copy(update={"topology": topology})
        if topology.isolate_count > MOST:
            continue
        if is_compiled and uncovered(changed, prepare_measured(changed)):
            continue
        if on_split is not None:
            on_split(f"isolates: {number}")
        runs = found_of(at_rate(changed, rate), range(RUNS), runner, kept)
        each = [runs[n] for n in range(RUNS)]
        shares = {s: v for s in _SHARES if (v := mean(each, s)) is not None}
        if shares:
            ends = {s: i for s in shares if (i := interval(each, s)) is not None}
            found.append(IsolateSplit(isolates=number, shares=shares, intervals=ends))
    return tuple(found)
