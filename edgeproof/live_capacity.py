"""edgeproof load --find-capacity: the highest rate that a live service carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from core.errors import InputError
from core.metrics.capacity import CapacityPlan, CapacityPoint
from core.metrics.charge import Charge
from core.metrics.kpi import Kpi
from core.scenario.file import scenario_hash
from core.scenario.pace import rate_of
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.scenario.trace_window import timed_window
from core.scenario.traffic import RateStage
from core.units import parse_duration
from edgeproof.access import Access
from edgeproof.finish import finish, show_table
from edgeproof.load_metrics import LoadMetrics
from edgeproof.loading import Bounds, check_load, drive, keep, was_interrupted
from edgeproof.notices import notice
from edgeproof.options import Judging
from edgeproof.progress import Display
from edgeproof.runs import new_folder, run_facts, write_json
from reports.capacity_words import points_table
from reports.words import rate_text, waiting_left_out
from scenarios.crew import Fleet
from scenarios.growth import growth
from scenarios.knee import HOLDS, KneeSearch, Load

STEP = "15s"
LEAST_STEP = 0.5


def find_capacity(
    scenario: Scenario,
    hosts: Sequence[str],
    *,
    step: str,
    out: Path | None,
    limits: Bounds,
    options: Judging,
    told: dict[str, Any],
    access: Access,
    fleet: Fleet | None = None,
    metrics: LoadMetrics | None = None,
) -> int:
    """Search, write the plan and its report, print what was found, and return the exit code."""
    one = at_rate(scenario, rate_of(scenario), step)
    check_load(one, prepare(one).workload, hosts, limits, access)
    folder = new_folder(out, scenario.name)
    display = Display(plain=options.plain, quiet=options.as_json)
    started, number = monotonic(), 0
    run_ids: list[str] = []

    def load(rate: float, replication: int) -> Load:
        nonlocal number
        number += 1
        chosen = at_rate(scenario, rate, step)
        workload = prepare(chosen, replication=replication).workload
        place = folder / f"load-{number}"
        result = drive(
            chosen, workload, hosts, place / "load", limits=limits, display=display,
            phase=f"load {number}, {rate_text(rate)}", access=access.of_load(number - 1),
            replication=replication, fleet=fleet, metrics=metrics,
        )  # fmt: skip
        run_ids.append(str(result.audit["run_id"]))
        record = keep(chosen, workload, result, place, clean=False)
        return Load(
            record=record,
            growth=growth(chosen, workload, result),
            interrupted=was_interrupted(result),
        )

    def show(point: CapacityPoint) -> None:
        broken = [name for name in point.broken if name not in point.undecided]
        words = [f"breaks {', '.join(broken)}"] if broken else []
        words += [f"{name} is undecided" for name in point.undecided]
        words += [f"the {name} cannot keep up" for name in point.saturated]
        how = "mean" if point.intervals else "median"
        of_several = f" ({how} of {point.runs} loads)" if point.runs != 1 else ""
        display.say(f"{rate_text(point.rate)}: {'; '.join(words) or 'holds'}{of_several}")

    search = KneeSearch(
        scenario.judged(), load, start=rate_of(scenario), bound=limits.max_rate,
        seconds=one.total_time, most_seconds=limits.max_duration, on_point=show,
    )  # fmt: skip
    with display.open():
        search.run()
    found = _plan(scenario, search, limits.max_rate)
    write_json(folder / "plan.json", found.to_json())
    notes = waiting_left_out([kpi.metric for kpi in scenario.judged()])
    facts = run_facts(
        "load", {"search": monotonic() - started}, asked=told, notes=notes, run_ids=run_ids
    )
    write_json(folder / "run.json", facts)
    if not options.as_json and found.points:
        show_table(points_table(found, found.kpis), plain=options.plain)
    finish(
        folder, options, title=f"{scenario.name}: capacity, measured", kpis=found.kpis, plan=found,
        facts=facts, notes=notes, lines=notes,
    )  # fmt: skip
    if found.interrupted:
        return 130
    if not found.points:
        return 3
    return 0 if found.highest_rate is not None else 1


def check_search(is_asked: bool, others: Mapping[str, bool], step: str | None) -> None:
    """Raise InputError for options that have no effect with --find-capacity, or without it."""
    if not is_asked:
        if step is not None:
            raise InputError("--step: belongs to --find-capacity; leave it out, or give that, too")
        return
    for name, is_given in others.items():
        if is_given:
            raise InputError(
                f"{name}: has no effect with --find-capacity, which judges rates; leave it out"
            )


def checked(scenario: Scenario, step: str) -> None:
    """Raise InputError for what a search over rates would not leave as it is."""
    try:
        seconds = parse_duration(step)
    except ValueError as error:
        raise InputError(f"--step: {error}") from None
    if seconds < LEAST_STEP:
        raise InputError(f"--step {step}: give at least {LEAST_STEP:g}s, better ten times as much")
    if timed_window(scenario) is not None:
        raise InputError(
            f"{scenario.name}: the trace has times of its own, and --find-capacity loads at steady "
            "rates; leave the trace out, or give one without times"
        )
    if rate_of(scenario) <= 0:
        raise InputError(f"{scenario.name}: every stage has the rate 0; give --rate to begin with")
    for kpi in scenario.judged():
        if kpi.metric.part is not None:
            raise InputError(
                f"--find-capacity: {kpi.name} judges a part of the run, and each load has one "
                f"steady rate; judge {kpi.metric.whole.name}"
            )
    for position, fault in enumerate(scenario.faults):
        if fault.kind.is_of_traffic:
            raise InputError(
                f"--find-capacity: faults[{position}] ({fault.name}) changes the traffic at a time "
                "of its own; leave it out (--set faults=[])"
            )
    if len(scenario.traffic.stages) > 1 or scenario.traffic.stages[0].ramp_to is not None:
        notice(
            "--find-capacity: each load has one steady rate in place of traffic.stages; it begins "
            f"at {rate_text(rate_of(scenario))}, the highest of them"
        )


def at_rate(scenario: Scenario, rate: float, step: str) -> Scenario:
    """Return *scenario* at one steady rate, judged for *step*."""
    traffic = scenario.traffic.model_copy(update={"stages": (RateStage(rate=rate),)})
    steady = {"traffic": traffic, "duration": parse_duration(step)}
    return scenario.model_copy(update={**steady, "faults": (), "deployments": ()})


def _plan(scenario: Scenario, search: KneeSearch, bound: float) -> CapacityPlan:
    points, breaking = search.points, search.breaking
    ended = search.ended
    if search.interrupted:
        ended = ""
    found = CapacityPlan(
        scenario=scenario.name,
        scenario_hash=scenario_hash(scenario),
        seed=scenario.seed,
        replications=HOLDS,
        kpis=scenario.judged(),
        points=tuple(points[rate] for rate in sorted(points)),
        highest_rate=search.highest,
        breaking_rate=breaking,
        breaks_first=points[breaking].broken if breaking is not None else (),
        bound=bound,
        unmeasured={
            kpi.name: _why(kpi) for kpi in scenario.judged() if kpi.name in (search.unseen or ())
        },
        interrupted=search.interrupted,
        engine="load",
        ended=ended,
    )
    if found.highest_rate is not None and not found.is_held:
        unheld = "the highest rate was not held, so that one load alone speaks for it"
        return replace(found, ended="; ".join(filter(None, (ended, unheld))))
    return found


def _why(kpi: Kpi) -> str:
    series = kpi.metric.series
    if isinstance(kpi.metric.what, Charge):
        return "who answered the cache reads was not seen"
    if kpi.metric.function == "ratio":
        return "the service tells of no cache read"
    if kpi.metric.what is None and kpi.metric.function != "peak":
        return f"no {series} request was sent"
    return f"the service does not tell {series}"
