"""edgeproof plan: the highest arrival rate that meets every KPI."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

from core.cost.refusals import refusals
from core.metrics.capacity import CapacityPlan, CapacityPoint
from core.metrics.growth import Forecast, Growth, forecast, parse_growth
from core.metrics.what_helps import Effect
from core.scenario.calibration import Calibration
from core.scenario.pace import rate_of
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from core.texts import count_of
from edgeproof.asked import asked
from edgeproof.ci import GithubOption, QualityOption
from edgeproof.finish import finish, show_table
from edgeproof.known_runs import known_runs, tell_interrupted
from edgeproof.learning import CalibrationOption, chosen_calibration
from edgeproof.notices import notice
from edgeproof.options import (
    ColumnsOption,
    EngineOption,
    FormatOption,
    FreshOption,
    GrowthOption,
    HighestRateOption,
    JsonOption,
    KpiOption,
    OutOption,
    PlainOption,
    PricesOption,
    RateOption,
    RatePrecisionOption,
    ScenarioArgument,
    SeedOption,
    SetOption,
    TimeUnitOption,
    TodayOption,
    TraceLimitOption,
    TraceOffsetOption,
    TraceOption,
    WhatHelpsOption,
    chosen_scenario,
    judging,
    precision_of,
    tell_notes,
)
from edgeproof.progress import Display
from edgeproof.runs import new_folder, run_facts, write_json
from edgeproof.simulate import jobs
from reports.capacity_words import cost_note, knee_note, points_table, short_runs_note
from reports.helps_words import helps_notes, helps_table, plan_findings, times_text
from reports.words import rate_text, waiting_left_out
from sim.capacity import PRECISION, Step, checked_bound, plan_capacity
from sim.changes import what_helps
from sim.coverage import uncovered
from sim.engine_name import EngineName
from sim.kept_runs import KeptRuns
from sim.rates import is_trace
from sim.replications import not_stated


def command(
    scenario: ScenarioArgument,
    trace: TraceOption = None,
    trace_offset: TraceOffsetOption = None,
    trace_limit: TraceLimitOption = None,
    time_unit: TimeUnitOption = None,
    format_: FormatOption = None,
    columns: ColumnsOption = None,
    seed: SeedOption = None,
    rate: RateOption = None,
    set_: SetOption = None,
    prices: PricesOption = None,
    calibration: CalibrationOption = None,
    kpi: KpiOption = None,
    engine: EngineOption = "auto",
    out: OutOption = None,
    max_rate: HighestRateOption = None,
    precision: RatePrecisionOption = None,
    fresh: FreshOption = False,
    helps: WhatHelpsOption = False,
    growth: GrowthOption = None,
    today: TodayOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
    github: GithubOption = None,
    code_quality: QualityOption = None,
) -> int:
    """Find the highest arrival rate at which SCENARIO meets every KPI, and which breaks first.

    Rates are doubled and bisected on the same random numbers, each judged on the mean of 4
    replications, until they are within 2 %. Then 10 replications or more each find their own knee;
    the mean has a 95 % interval of at most 2 % either way (--precision). --rate is where the search
    begins, --max-rate where it ends. Every run is kept for later commands: after Ctrl-C the same
    command goes on from there. The exit code is 0 if some rate meets every KPI, 1 if none does.

    --what-helps also tries the next value of each field, and ranks them. --growth says when growing
    traffic reaches the rate.

    Example: edgeproof plan baseline --what-helps --growth 8%/month
    """
    options = judging(
        "target", None, strict=False, plain=plain, as_json=json,
        github=github, code_quality=code_quality,
    )  # fmt: skip
    chosen = chosen_scenario(
        scenario, command="plan", overrides=set_, seed=seed, rate=rate, trace=trace,
        trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
        format_=format_, columns=columns, kpis=kpi, prices=prices,
    )  # fmt: skip
    known = chosen_calibration(calibration, chosen)
    checked_bound(chosen, max_rate)
    wanted = precision_of(precision)
    grows = None if growth is None else parse_growth(growth)
    if today is None and rate is None:
        today = rate_of(chosen)
    elif today is None:
        own = chosen_scenario(
            scenario, command="plan", overrides=set_, seed=seed, trace=trace,
            trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
            format_=format_, columns=columns, kpis=kpi, prices=prices,
        )  # fmt: skip
        today = rate_of(own)
    kept = known_runs(known, engine, is_fresh=fresh)
    prepared = prepare_measured(chosen)
    workload = prepared.workload
    tell_notes(workload)
    told = asked(chosen, scenario)
    unpredicted = not_stated(chosen, known)
    folder = new_folder(out, chosen.name)
    display = Display(plain=plain, quiet=json)
    started = monotonic()

    has_held, has_broken = False, False

    def show(point: CapacityPoint) -> None:
        nonlocal has_held, has_broken
        has_held, has_broken = has_held or point.holds, has_broken or not point.holds
        words = [f"breaks {', '.join(point.broken)}"] if point.broken else []
        words += [f"the {name} cannot keep up" for name in point.saturated]
        display.say(f"{rate_text(point.rate)}: {'; '.join(words) or 'holds'}")

    rates: set[float] = set()
    second: list[tuple[float, float]] = []  # when the second rate began, and the requests before

    def follow(step: Step) -> None:
        detail = rate_text(step.rate)
        rates.add(step.rate)
        if len(rates) > 1 and not second:  # the first one loads what all need
            second.append((monotonic(), step.requests))
        # Until the rates are known between which the first KPI breaks, the bound is far off.
        if second and step.requests > second[0][1] and has_held and has_broken:
            speed = (monotonic() - second[0][0]) / (step.requests - second[0][1])
            detail += f", at most {_span(speed * step.left)} left"
        display.update("planning", step.share, detail)

    with display.open():
        found = plan_capacity(
            chosen, max_rate=max_rate, precision=wanted or PRECISION, today=today, kept=kept,
            calibration=known, jobs=jobs(), engine=engine,
            on_compiling=lambda: display.update("compiling (once, up to 30 s)", 0.0),
            on_point=show, on_step=follow,
        )  # fmt: skip
        if not found.interrupted:
            display.update("planning", 1.0)
            if helps:
                found = _with_changes(found, chosen, known, kept, engine, display)
    if kept.taken:
        notice(f"{count_of(kept.taken, 'run')} of earlier commands taken (--fresh simulates anew)")
    if grows is not None:
        found = replace(found, forecast=_forecast(found, grows))
        if found.forecast is None:
            notice("--growth: the plan found no rate that traffic could grow to")
    found = replace(found, refused=_refusals(chosen, found.cost_point))
    write_json(folder / "plan.json", found.to_json())
    facts = run_facts("plan", {"plan": monotonic() - started}, asked=told)
    write_json(folder / "run.json", facts)
    if not json:
        show_table(points_table(found, chosen.judged()), plain=plain)
        if len(changes := helps_table(found, chosen.judged())) > 1:
            print()
            show_table(changes, plain=plain)
    findings = plan_findings(found)
    if not helps and found.breaking_rate is not None and not found.interrupted:
        findings.append("What helps most? --what-helps tries the next value of each field.")
    notes = [
        *filter(None, [knee_note(found), _short_runs(chosen, found, workload), cost_note(found)]),
        *helps_notes(found),
        *_refused(chosen, found),
        *waiting_left_out([kpi.metric for kpi in chosen.judged()]),
        *unpredicted,
    ]
    if engine == "auto" and (reason := uncovered(chosen, prepared, known)):
        notes.append(
            f"The reference simulated this: the compiled engine does not simulate {reason}."
        )
    finish(
        folder, options, title=f"{chosen.name}: capacity", kpis=chosen.judged(), plan=found,
        facts=facts, notes=notes, lines=[*notes, *findings],
    )  # fmt: skip
    if found.interrupted or (found.helps is not None and found.helps.interrupted):
        tell_interrupted(kept, [chosen])
        return 130
    return 0 if found.highest_rate is not None else 1


def _with_changes(
    plan: CapacityPlan,
    scenario: Scenario,
    calibration: Calibration | None,
    kept: KeptRuns,
    engine: EngineName,
    display: Display,
) -> CapacityPlan:
    """Return *plan* with what the next value of each field does to it."""

    def show(done: int, total: int, name: str, effect: Effect | None) -> None:
        display.update("trying changes", done / (total + 1), name)
        if effect is not None and effect.ratio is not None:
            display.say(f"{name}: {times_text(effect)} times")

    display.update("trying changes", 0.0)
    found = what_helps(
        scenario, plan, calibration=calibration, jobs=jobs(), engine=engine, kept=kept,
        on_change=show,
    )  # fmt: skip
    if found is None:
        notice(
            "--what-helps: nothing breaks up to the bound; raise --max-rate"
            if plan.breaking_rate is None
            else "--what-helps: the replications differ too much to compare; lengthen the duration"
        )
        return plan
    if not found.interrupted:
        display.update("trying changes", 1.0)
    return replace(plan, helps=found)


def _forecast(plan: CapacityPlan, growth: Growth) -> Forecast | None:
    """Return when growing traffic reaches what *plan* holds, None where it holds nothing."""
    is_bound = plan.breaking_rate is None and not plan.interrupted
    limit = plan.highest_rate if plan.knee is None else plan.knee.rate
    if not limit or not plan.today or (plan.knee is None and not is_bound):
        return None
    return forecast(
        growth,
        today=plan.today,
        limit=limit,
        interval=None if plan.knee is None else plan.knee.interval,
        since=datetime.now(UTC).date(),
    )


def _short_runs(scenario: Scenario, plan: CapacityPlan, workload: Workload) -> str | None:
    """Return that the plan's runs are short for its rate; a trace is judged whole at every rate."""
    if plan.knee is None or is_trace(scenario):
        return None
    judged = len(workload) * scenario.duration / scenario.total_time
    return short_runs_note(plan, judged * plan.knee.rate / rate_of(scenario), scenario.duration)


def _refused(scenario: Scenario, plan: CapacityPlan) -> list[str]:
    """Return what the platform would refuse at the highest rate that holds."""
    point = next((p for p in plan.points if p.rate == plan.highest_rate), None)
    return [
        f"There the {scenario.prices.plan} plan would refuse: {each}."
        for each in _refusals(scenario, point).values()
    ]


def _refusals(scenario: Scenario, point: CapacityPoint | None) -> dict[str, str]:
    """Return what the platform's plan would refuse at the rate of *point*: in short, and whole."""
    if point is None:
        return {}
    found = refusals(scenario.prices, scenario.prices.plan, point.costs)
    return {each.short: each.text for each in found}


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
