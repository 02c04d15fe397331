"""edgeproof plan: the highest arrival rate that meets every KPI."""

from __future__ import annotations

from time import monotonic

from core.cost.refusals import refusals
from core.metrics.capacity import CapacityPlan, CapacityPoint
from core.scenario.pace import rate_of
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from edgeproof.asked import asked
from edgeproof.ci import GithubOption, QualityOption
from edgeproof.finish import finish, show_table
from edgeproof.kept_plans import runs_file
from edgeproof.learning import CalibrationOption, chosen_calibration
from edgeproof.notices import notice
from edgeproof.options import (
    ColumnsOption,
    EngineOption,
    FormatOption,
    HighestRateOption,
    JsonOption,
    KpiOption,
    OutOption,
    PlainOption,
    PrecisionOption,
    PricesOption,
    RateOption,
    ScenarioArgument,
    SeedOption,
    SetOption,
    TimeUnitOption,
    TraceLimitOption,
    TraceOffsetOption,
    TraceOption,
    chosen_scenario,
    judging,
    precision_of,
    tell_notes,
)
from edgeproof.progress import Display
from edgeproof.runs import new_folder, run_facts, write_json
from edgeproof.simulate import jobs
from reports.capacity_words import cost_note, knee_note, points_table, short_runs_note
from reports.words import rate_text, waiting_left_out
from sim.capacity import PRECISION, Step, checked_bound, plan_capacity
from sim.coverage import uncovered
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
    precision: PrecisionOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
    github: GithubOption = None,
    code_quality: QualityOption = None,
) -> int:
    """Find the highest arrival rate at which SCENARIO meets every KPI, and which breaks first.

    Rates are doubled and bisected on the same random numbers, each judged on the mean of 4
    replications, until they are within 2 %. Then 10 replications or more each find their own knee;
    the mean has a 95 % interval of at most 2 % either way (--precision). --rate is where the search
    begins, --max-rate where it ends. Ctrl-C keeps what was tried, and the same command goes on from
    there. The exit code is 0 if some rate meets every KPI, 1 if none does.

    Example: edgeproof plan baseline --set tiers.l3.concurrency=2
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
    today = rate_of(chosen)
    if rate is not None:
        own = chosen_scenario(
            scenario, command="plan", overrides=set_, seed=seed, trace=trace,
            trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
            format_=format_, columns=columns, kpis=kpi, prices=prices,
        )  # fmt: skip
        today = rate_of(own)
    kept = KeptRuns(runs_file(chosen, known))
    if kept.resumed:
        notice(f"goes on from {kept.resumed} runs of the same plan, which was interrupted")
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
        share = step.requests / (step.requests + step.left)
        detail = rate_text(step.rate)
        rates.add(step.rate)
        if len(rates) > 1 and not second:  # the first one loads what all need
            second.append((monotonic(), step.requests))
        # Until the rates are known between which the first KPI breaks, the bound is far off.
        if second and step.requests > second[0][1] and has_held and has_broken:
            speed = (monotonic() - second[0][0]) / (step.requests - second[0][1])
            detail += f", at most {_span(speed * step.left)} left"
        display.update("planning", share, detail)

    with display.open():
        found = plan_capacity(
            chosen, max_rate=max_rate, precision=wanted or PRECISION, today=today, kept=kept,
            calibration=known, jobs=jobs(), engine=engine,
            on_compiling=lambda: display.update("compiling (once, up to 30 s)", 0.0),
            on_point=show, on_step=follow,
        )  # fmt: skip
        if not found.interrupted:
            kept.forget()
            display.update("planning", 1.0)
    write_json(folder / "plan.json", found.to_json())
    facts = run_facts("plan", {"plan": monotonic() - started}, asked=told)
    write_json(folder / "run.json", facts)
    if not json:
        show_table(points_table(found, chosen.judged()), plain=plain)
    notes = [
        *filter(None, [knee_note(found), _short_runs(chosen, found, workload), cost_note(found)]),
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
        facts=facts, notes=notes, lines=notes,
    )  # fmt: skip
    if found.interrupted:
        notice("the runs are kept: the same command goes on from there")
        return 130
    return 0 if found.highest_rate is not None else 1


def _short_runs(scenario: Scenario, plan: CapacityPlan, workload: Workload) -> str | None:
    """Return that the plan's runs are short for its rate; a trace is judged whole at every rate."""
    if plan.knee is None or is_trace(scenario):
        return None
    judged = len(workload) * scenario.duration / scenario.total_time
    return short_runs_note(plan, judged * plan.knee.rate / rate_of(scenario), scenario.duration)


def _refused(scenario: Scenario, plan: CapacityPlan) -> list[str]:
    """Return what the platform would refuse at the highest rate that holds."""
    point = next((p for p in plan.points if p.rate == plan.highest_rate), None)
    if point is None:
        return []
    name = scenario.prices.plan
    found = refusals(scenario.prices, name, point.costs)
    return [f"There the {name} plan would refuse: {each.text}." for each in found]


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
