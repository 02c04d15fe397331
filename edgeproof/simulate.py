"""edgeproof simulate: predict every KPI of a scenario."""

from __future__ import annotations

import os
from dataclasses import replace
from time import monotonic

from core.errors import InputError
from core.scenario.replay import prepare_measured
from edgeproof.asked import asked
from edgeproof.ci import GithubOption, QualityOption
from edgeproof.finish import finish
from edgeproof.isolates import show_splits, splits_of
from edgeproof.learning import CalibrationOption, chosen_calibration
from edgeproof.options import (
    ColumnsOption,
    EngineOption,
    FormatOption,
    IsolatesOption,
    JsonOption,
    KpiOption,
    OneRunOption,
    OutOption,
    PlainGateOption,
    PlainOption,
    PrecisionOption,
    PricesOption,
    RateOption,
    RequireOption,
    ScenarioArgument,
    SeedOption,
    SetOption,
    StrictOption,
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
from edgeproof.runs import new_folder, run_facts, write_json, write_run
from reports.words import side_title
from sim.replications import not_stated
from sim.simulate import simulate


def jobs() -> int:
    """Return how many processes replications may use."""
    return max(1, min(8, os.cpu_count() or 1))


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
    gate: PlainGateOption = "target",
    require: RequireOption = None,
    strict: StrictOption = False,
    one_run: OneRunOption = False,
    precision: PrecisionOption = None,
    isolates: IsolatesOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
    github: GithubOption = None,
    code_quality: QualityOption = None,
) -> int:
    """Predict every KPI of SCENARIO: the mean of 10 replications and its 95 % interval.

    --precision 2% adds replications until the intervals are that narrow. --one-run shows the
    interval for one more run in place of that of the mean.

    The simulation runs the application's own code and SQL on simulated time, so the same scenario
    and seed give the same record.json byte for byte.

    Example: edgeproof simulate baseline --rate 400 --set tiers.l1.ttl=30s
    """
    options = judging(
        gate, require, strict=strict, plain=plain, as_json=json,
        github=github, code_quality=code_quality,
    )  # fmt: skip
    chosen = chosen_scenario(
        scenario, command="simulate", overrides=set_, seed=seed, rate=rate, trace=trace,
        trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
        format_=format_, columns=columns, kpis=kpi, prices=prices,
    )  # fmt: skip
    options = options.checked(chosen)
    known = chosen_calibration(calibration, chosen)
    wanted = precision_of(precision)
    prepared = prepare_measured(chosen)
    tell_notes(prepared.workload)
    told = asked(chosen, scenario, workload=prepared.workload)
    unpredicted = not_stated(chosen, known)
    splits = None
    if isolates is not None:
        idle = {"--precision": precision, "--one-run": one_run, "--require": require,
                "--strict": strict, "--code-quality": code_quality}  # fmt: skip
        if asked_for := [name for name, value in idle.items() if value]:
            raise InputError(
                f"{asked_for[0]} has no effect beside --isolates, which judges nothing: leave one "
                "of them out"
            )
        splits = splits_of(chosen, isolates)
    folder = new_folder(out, chosen.name)
    if splits is not None:
        return show_splits(
            splits, folder, calibration=known, jobs=jobs(), plain=plain, as_json=json
        )
    started = monotonic()
    display = Display(plain=plain, quiet=json)
    with display.open():
        found = simulate(
            chosen, prepared=prepared, calibration=known, jobs=jobs(), precision=wanted,
            engine=engine, on_progress=display.update,
        )  # fmt: skip
    record = replace(found.record, one_more=one_run)
    thinned = write_run(folder, record, found.requests)
    facts = run_facts("simulate", {"simulate": monotonic() - started}, asked=told)
    facts["engine"] = found.engine
    write_json(folder / "run.json", facts)
    lines = [*unpredicted, *found.lines, *thinned]
    del found, prepared  # ten million requests are 250 MB, and drawing takes memory, too
    return finish(
        folder,
        options,
        title=f"{chosen.name}: {side_title(record)}",
        kpis=chosen.judged(),
        predicted=record,
        facts=facts,
        lines=lines,
    )
