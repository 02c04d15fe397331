"""edgeproof plan: the highest arrival rate that meets every KPI."""

from __future__ import annotations

from time import monotonic

from core.capacity import CapacityPlan, CapacityPoint
from edgeproof.asked import asked
from edgeproof.finish import finish, show_table
from edgeproof.options import (
    JsonOption,
    OutOption,
    PlainOption,
    RateOption,
    ScenarioArgument,
    SeedOption,
    SetOption,
    TraceLimitOption,
    TraceOffsetOption,
    TraceOption,
    chosen_scenario,
    judging,
)
from edgeproof.progress import Display
from edgeproof.runs import new_folder, run_facts, write_json
from sim.capacity import check_plannable, plan_capacity


def command(
    scenario: ScenarioArgument,
    trace: TraceOption = None,
    trace_offset: TraceOffsetOption = None,
    trace_limit: TraceLimitOption = None,
    seed: SeedOption = None,
    rate: RateOption = None,
    set_: SetOption = None,
    out: OutOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Find the highest arrival rate at which SCENARIO meets every KPI, and which breaks first.

    Rates are doubled and bisected on the same random numbers until they are within 2 %. --rate is
    where the search begins. The exit code is 0 if some rate meets every KPI, 1 if none does.

    Example: edgeproof plan baseline --set tiers.l3.concurrency=2
    """
    options = judging("target", None, strict=False, plain=plain, as_json=json)
    chosen = chosen_scenario(
        scenario, overrides=set_, seed=seed, rate=rate, trace=trace,
        trace_offset=trace_offset, trace_limit=trace_limit,
    )  # fmt: skip
    check_plannable(chosen)
    told = asked(
        chosen, scenario,
        changes=[
            ("--set", set_), ("--seed", seed), ("--rate", rate), ("--trace", trace),
            ("--trace-offset", trace_offset), ("--trace-limit", trace_limit),
        ],
    )  # fmt: skip
    folder = new_folder(out, chosen.name)
    display = Display(plain=plain, quiet=json)
    started = monotonic()
    tried = 0

    def show(point: CapacityPoint) -> None:
        nonlocal tried
        tried += 1
        word = "holds" if point.holds else f"breaks {', '.join(point.broken)}"
        display.say(f"{point.rate:,.0f} requests/s: {word}")

    with display.open():
        found = plan_capacity(chosen, on_point=show)
    write_json(folder / "plan.json", found.to_json())
    facts = run_facts("plan", {"plan": monotonic() - started}, asked=told)
    write_json(folder / "run.json", facts)
    if not json:
        show_table(points_table(found), plain=plain)
    finish(
        folder, options, title=f"{chosen.name}: capacity", kpis=chosen.judged(), plan=found,
        facts=facts,
    )  # fmt: skip
    return 0 if found.highest_rate is not None else 1


def points_table(plan: CapacityPlan) -> list[tuple[str, ...]]:
    """Return the rates that were tried, with what breaks at each."""
    rows: list[tuple[str, ...]] = [("requests/s", "all KPIs hold", "breaks")]
    rows += [
        (f"{point.rate:,.0f}", "yes" if point.holds else "no", ", ".join(point.broken) or "-")
        for point in plan.points
    ]
    return rows
