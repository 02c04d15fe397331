"""edgeproof size: the smallest value of a field that meets every KPI."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from itertools import product
from time import monotonic
from typing import Annotated

import typer

from core.metrics.sizing import Sizing
from core.metrics.sweep import Sweep, SweepCell, SweptField
from core.scenario.file import scenario_hash
from core.scenario.pace import rate_of
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from core.texts import count_of
from edgeproof.asked import asked
from edgeproof.axes import Axis, Variant, check_once, loaded
from edgeproof.finish import show_table
from edgeproof.gridding import ClusterOption, ReplicationsOption, chosen_engine, opened_grid
from edgeproof.knobs import Sized, sized_fields
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
from edgeproof.runs import SIZE, new_folder, run_facts, shown_facts, write_json
from reports.size import size_answer, size_exhibit
from reports.sweep import cells_csv, sweep_table
from sim.cells import cell_of
from sim.replications import not_stated
from sim.sizing import SCANNED, Point, find_size
from sim.sizing import Sized as Found

FieldOption = Annotated[
    list[str],
    typer.Option(
        "--field",
        metavar="FIELD[=LOW..HIGH]",
        help="The field that is sized, as --set names it; its bounds, such as 100..5000 or 5s..1h. "
        "[default: a 16th of the scenario's value, and 16 times it] Repeatable: the cheapest "
        "combination of several.",
        rich_help_panel="Scenario",
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="LOW", help="The lower bound of the one field.",
        rich_help_panel="Scenario",
    ),
]  # fmt: skip
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="HIGH", help="The upper bound of the one field.",
        rich_help_panel="Scenario",
    ),
]  # fmt: skip


def command(
    scenario: ScenarioArgument,
    field: FieldOption,
    from_: FromOption = None,
    to: ToOption = None,
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
    """Find the smallest value of a field with which SCENARIO meets every KPI.

    A scan over the bounds comes first, for a KPI may improve and worsen again along a field; then
    the gap below the smallest value that passes is halved until it is 5 % wide. A KPI passes if all
    of its 95 % interval does. Of several fields the cheapest combination is found. The exit code is
    0 if a size is found, 1 if no value within the bounds does it.

    Example: edgeproof size baseline --field tiers.l1.max_entries --from 10 --to 5000 --rate 800
    """
    tell_plain(plain=plain, as_json=json)

    def load(more: Sequence[str], at: str | None, *, is_quiet: bool = True) -> Scenario:
        return chosen_scenario(
            scenario, command="simulate", overrides=[*(set_ or ()), *more], seed=seed, rate=rate,
            trace=trace, trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
            format_=format_, columns=columns, kpis=kpi, prices=prices, is_quiet=is_quiet,
        )  # fmt: skip

    chosen = load((), None, is_quiet=False)
    fields = sized_fields(chosen, field, from_, to)
    check_once([each.knob.name for each in fields], "--field", set_ or ())
    axes = [Axis(field=each.knob.name, values=()) for each in fields]

    def variant(point: Point) -> Variant:
        values = tuple(each.text(value) for each, value in zip(fields, point, strict=True))
        return Variant(values=values, scenario=loaded(axes, values, load, option="--field"))

    known = chosen_calibration(calibration, chosen)
    corners = [variant(p) for p in product(*((f.knob.low, f.knob.high) for f in fields))]
    for corner in corners:
        prepare_measured(corner.scenario)
    tell_notes(prepare_measured(chosen).workload)
    told = asked(chosen, scenario)
    unpredicted = not_stated(chosen, known)
    if cluster is not None:
        from sim.cluster import check_cluster

        check_cluster(cluster)
    kept = known_runs(known, engine, is_fresh=fresh)
    numbers = range(replications)
    folder = new_folder(out, f"{chosen.name}-size")
    started = monotonic()
    display = Display(plain=plain, quiet=json)
    tried: dict[Point, SweepCell] = {}
    found: Found | None = None

    def seen(each: Variant) -> SweepCell:
        return cell_of(each.scenario, kept.of(each.scenario, numbers), each.values)

    with display.open():
        most = replications * SCANNED[len(fields)] ** len(fields)
        simulating = chosen_engine(
            engine, [corner.scenario for corner in corners], known, runs=most,
            on_compiling=lambda: display.update("compiling (once, up to 30 s)", 0.0),
        )  # fmt: skip
        try:
            with opened_grid(
                simulating, kept, known, display=display, runs=most, phase="scanning",
                cluster=cluster,
            ) as grid:  # fmt: skip

                def cells_at(points: Sequence[Point]) -> list[SweepCell]:
                    variants = [variant(point) for point in points]
                    tried.update({p: seen(v) for p, v in zip(points, variants, strict=True)})
                    grid.run([(v.name(axes), v.scenario) for v in variants], numbers)
                    grid.phase = "halving"
                    cells = [seen(each) for each in variants]
                    tried.update(zip(points, cells, strict=True))
                    return cells

                found = find_size([each.knob for each in fields], cells_at)
        except KeyboardInterrupt:
            tried = {point: seen(variant(point)) for point in tried}
    sizing = _sizing(chosen, fields, tried, found, replications)
    notes = [*unpredicted, *simulating.notes]
    facts = run_facts("size", {"size": monotonic() - started}, asked=told, notes=notes)
    write_json(folder / SIZE, sizing.to_json())
    write_json(folder / "run.json", facts)
    from reports.document import write_exhibit  # matplotlib is a third of a command's start

    exhibit = size_exhibit(sizing, notes=notes, facts=shown_facts(facts))
    write_exhibit(folder, exhibit, "report", {"cells.csv": cells_csv(sizing.sweep)})
    if kept.taken:
        notice(f"{count_of(kept.taken, 'run')} of earlier commands taken (--fresh simulates anew)")
    answer = size_answer(sizing)
    if json:
        print(json_module.dumps({"out": str(folder), "answer": answer, **exhibit.data}))
    else:
        show_table(sweep_table(sizing.sweep), plain=plain)
        for line in notes:
            print(line)
        print(f"SIZE: {answer}")
        print(f"Report: {folder / 'report.html'}")
    if found is None:
        tell_interrupted(kept, [chosen])
        return 130
    return 0 if found.point is not None else 1


def _sizing(
    scenario: Scenario,
    fields: Sequence[Sized],
    tried: dict[Point, SweepCell],
    found: Found | None,
    replications: int,
) -> Sizing:
    """Return what was tried and found; of several fields, the scan and the cells of interest."""
    if len(fields) == 1:
        points = sorted(tried)
    else:
        points = list(tried if found is None else product(*found.scan))
    columns = list(zip(*points, strict=True))
    sweep = Sweep(
        scenario=scenario.name,
        scenario_hash=scenario_hash(scenario),
        seed=scenario.seed,
        fields=tuple(
            _swept(each, sorted(set(column))) for each, column in zip(fields, columns, strict=True)
        ),
        replications=replications,
        kpis=scenario.judged(),
        cells=tuple(tried[point] for point in points),
        interrupted=found is None,
    )
    bounds = tuple((each.text(each.knob.low), each.text(each.knob.high)) for each in fields)
    rate = rate_of(scenario)
    if found is None or found.point is None:
        return Sizing(sweep=sweep, bounds=bounds, rate=rate)
    best = found.point
    smaller = [
        None if value is None else tried[*best[:place], value, *best[place + 1 :]]
        for place, value in enumerate(found.smaller)
    ]
    return Sizing(
        sweep=sweep, bounds=bounds, rate=rate, found=tried[best], smaller=tuple(smaller),
        holes=tuple(fields[0].text(value) for value in found.holes),
    )  # fmt: skip


def _swept(each: Sized, values: Sequence[float]) -> SweptField:
    unit = each.unit
    return SweptField(
        name=each.knob.name,
        values=tuple(map(each.text, values)),
        numbers=tuple(values),
        unit="seconds" if unit == "seconds" else "bytes" if unit == "bytes" else "number",
    )
