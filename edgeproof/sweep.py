"""edgeproof sweep: every KPI with fields at several values, in every combination."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from itertools import product
from time import monotonic
from typing import Annotated

import typer

from core.errors import InputError
from core.metrics.sweep import Sweep, SweptField
from core.scenario.file import scenario_hash
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from core.texts import count_of
from edgeproof.asked import asked
from edgeproof.axes import check_once, check_runs, parse_axes, swept_fields, variants_of
from edgeproof.finish import show_table
from edgeproof.gridding import ClusterOption, ReplicationsOption, chosen_engine, opened_grid
from edgeproof.known_runs import known_runs, tell_interrupted
from edgeproof.learning import CalibrationOption, chosen_calibration
from edgeproof.notices import notice, tell_plain
from edgeproof.options import (
    ColumnsOption,
    EngineOption,
    FormatOption,
    FreshOption,
    JsonOption,
    KpiOption,
    OutOption,
    PlainOption,
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
    tell_notes,
)
from edgeproof.progress import Display
from edgeproof.runs import SWEEP, new_folder, run_facts, shown_facts, write_json
from reports.sweep import answer_of, cells_csv, exhibit_of, sweep_table
from sim.cells import cell_of
from sim.replications import not_stated

OverOption = Annotated[
    list[str],
    typer.Option(
        "--over",
        metavar="FIELD=A,B,...",
        help="Try these values of a field, as --set names it, or of traffic.rate: "
        "tiers.l1.ttl=10s,60s. Repeatable: every combination is tried.",
        rich_help_panel="Scenario",
    ),
]


def command(
    scenario: ScenarioArgument,
    over: OverOption,
    replications: ReplicationsOption = 10,
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
    cluster: ClusterOption = None,
    fresh: FreshOption = False,
    out: OutOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Predict every KPI of SCENARIO with fields at several values, in every combination.

    Every combination is simulated on the same random numbers, so that two of them differ by their
    values alone. The runs are kept: after Ctrl-C, or with more values, the same command makes only
    those that are missing. The exit code is 0 if some combination meets every KPI, 1 if none does.

    Example: edgeproof sweep baseline --over tiers.l1.ttl=10s,60s,600s --over traffic.rate=1x,2x,4x
    """
    tell_plain(plain=plain, as_json=json)
    axes = parse_axes(over)
    if rate is not None and any(axis.is_rate for axis in axes):
        raise InputError(f"--rate {rate}: --over traffic.rate replaces it; leave one of them out")
    check_once([axis.field for axis in axes], "--over", set_ or ())
    check_runs(axes, replications)

    def load(more: Sequence[str], at: str | None, *, is_quiet: bool = True) -> Scenario:
        return chosen_scenario(
            scenario, command="simulate", overrides=[*(set_ or ()), *more], seed=seed,
            rate=rate if at is None else at, trace=trace, trace_offset=trace_offset,
            trace_limit=trace_limit, time_unit=time_unit, format_=format_, columns=columns,
            kpis=kpi, prices=prices, is_quiet=is_quiet,
        )  # fmt: skip

    chosen = load((), None, is_quiet=False)
    known = chosen_calibration(calibration, chosen)
    variants = variants_of(axes, load)
    fields = swept_fields(axes, variants)
    tell_notes(prepare_measured(chosen).workload)
    told = asked(chosen, scenario)
    unpredicted = not_stated(chosen, known)
    if cluster is not None:
        from sim.cluster import check_cluster

        check_cluster(cluster)
    kept = known_runs(known, engine, is_fresh=fresh)
    numbers = range(replications)
    folder = new_folder(out, f"{chosen.name}-sweep")
    started = monotonic()
    display = Display(plain=plain, quiet=json)
    is_interrupted = False
    with display.open():
        missing = sum(replications - len(kept.of(v.scenario, numbers)) for v in variants)
        simulating = chosen_engine(
            engine, [v.scenario for v in variants], known, runs=replications,
            on_compiling=lambda: display.update("compiling (once, up to 30 s)", 0.0),
        )  # fmt: skip
        try:
            with opened_grid(
                simulating,
                kept,
                known,
                display=display,
                runs=missing,
                phase="sweeping",
                cluster=cluster,
            ) as grid:
                grid.run([(v.name(axes), v.scenario) for v in variants], numbers)
        except KeyboardInterrupt:
            is_interrupted = True
    sweep = Sweep(
        scenario=chosen.name,
        scenario_hash=scenario_hash(chosen),
        seed=chosen.seed,
        fields=fields,
        replications=replications,
        kpis=chosen.judged(),
        cells=tuple(
            cell_of(v.scenario, kept.of(v.scenario, numbers), shown)
            for v, shown in zip(variants, _shown_values(fields), strict=True)
        ),
        interrupted=is_interrupted,
    )
    notes = [*unpredicted, *simulating.notes]
    facts = run_facts("sweep", {"sweep": monotonic() - started}, asked=told, notes=notes)
    write_json(folder / SWEEP, sweep.to_json())
    write_json(folder / "run.json", facts)
    from reports.document import write_exhibit  # matplotlib is a third of a command's start

    exhibit = exhibit_of(sweep, notes=notes, facts=shown_facts(facts))
    write_exhibit(folder, exhibit, "report", {"cells.csv": cells_csv(sweep)})
    if kept.taken:
        notice(f"{count_of(kept.taken, 'run')} of earlier commands taken (--fresh simulates anew)")
    if json:
        print(json_module.dumps({"out": str(folder), "answer": answer_of(sweep), **exhibit.data}))
    else:
        show_table(sweep_table(sweep), plain=plain)
        for line in notes:
            print(line)
        print(f"SWEEP: {answer_of(sweep)}")
        print(f"Report: {folder / 'report.html'}")
    if is_interrupted:
        tell_interrupted(kept, [v.scenario for v in variants])
        return 130
    return 0 if any(cell.is_met for cell in sweep.seen()) else 1


def _shown_values(fields: Sequence[SweptField]) -> list[tuple[str, ...]]:
    return list(product(*(field.values for field in fields)))
