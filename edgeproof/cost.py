"""edgeproof cost: what a scenario or a run costs, what each tier saves, and what TTLs trade."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from core.cost.cost import Cost, cost_of_record
from core.cost.what_if import DEFAULT, variants
from core.errors import InputError
from core.metrics.record import RunRecord, read_record
from core.metrics.verdict import compare, outcome
from core.scenario.file import parse_scenario
from core.scenario.prices import merged, read_prices
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from core.units import format_dollars
from edgeproof.asked import asked
from edgeproof.finish import show_table
from edgeproof.learning import CalibrationOption, chosen_calibration
from edgeproof.notices import tell_plain
from edgeproof.options import (
    EngineOption,
    JsonOption,
    OutOption,
    PlainOption,
    PricesOption,
    RateOption,
    SeedOption,
    SetOption,
    TraceOption,
    chosen_scenario,
    tell_notes,
)
from edgeproof.progress import Display
from edgeproof.runs import new_folder, run_facts, shown_facts, write_json, write_run
from reports import money
from reports.tradeoff import Choice, choice_of, choices_table, headline, tradeoff_figure
from sim.replications import not_stated
from sim.simulate import simulate

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO|RUN", help="A scenario to simulate, or a finished run's folder."
    ),
]
OverOption = Annotated[
    list[str] | None,
    typer.Option(
        "--over",
        metavar="FIELD=A,B,...",
        help="Show money against latency for these values of a field, or factors of it "
        f"(x2). Repeatable. [default: {' and '.join(DEFAULT)}]",
        rich_help_panel="What if",
    ),
]
NoWhatIfOption = Annotated[
    bool,
    typer.Option(
        "--bill-only", help="Only the bill: no what-if.", rich_help_panel="What if"
    ),
]  # fmt: skip


def command(
    target: TargetArgument,
    trace: TraceOption = None,
    seed: SeedOption = None,
    rate: RateOption = None,
    set_: SetOption = None,
    prices: PricesOption = None,
    calibration: CalibrationOption = None,
    over: OverOption = None,
    bill_only: NoWhatIfOption = False,
    engine: EngineOption = "auto",
    out: OutOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Show what SCENARIO or RUN costs: the bill, what each tier saves, and what TTLs trade.

    A scenario is simulated once, and once for each value of --over. A run is charged from what its
    record counted; --prices charges it at others.

    Example: edgeproof cost baseline --over tiers.l1.ttl=10s,60s,600s
    """
    tell_plain(plain=plain, as_json=json)
    if bill_only and over:
        raise InputError("--bill-only: --over asks for a what-if; leave one of them out")
    if _is_run(target):
        changes = {
            "--trace": trace, "--seed": seed, "--rate": rate, "--set": set_, "--over": over,
            "--calibration": calibration, "--out": out,
            "--bill-only": bill_only or None, "--engine": None if engine == "auto" else engine,
        }  # fmt: skip
        if given := [name for name, value in changes.items() if value is not None]:
            raise InputError(f"{given[0]} has no effect on {target}, a finished run; leave it out")
        record = _charged(_record(Path(target)), prices)
        _show(record, (), plain=plain, as_json=json, folder=None)
        return 0
    chosen = chosen_scenario(
        target, command="simulate", overrides=set_, seed=seed, rate=rate, trace=trace,
        prices=prices,
    )  # fmt: skip
    known = chosen_calibration(calibration, chosen)
    texts = () if bill_only else tuple(over or DEFAULT)
    tried = [variant for text in texts for variant in variants(chosen, text)]
    prepared = prepare_measured(chosen)
    tell_notes(prepared.workload)
    told = asked(chosen, target, workload=prepared.workload)
    notes = not_stated(chosen, known)
    folder = new_folder(out, chosen.name)
    started = monotonic()
    display = Display(plain=plain, quiet=json)
    choices: list[Choice] = []
    with display.open():
        found = simulate(
            chosen, prepared=prepared, calibration=known, replications=0, engine=engine,
            on_progress=display.update,
        )  # fmt: skip
        for number, variant in enumerate(tried):
            display.update("what if", number / len(tried), f"{variant.field}={variant.value}")
            record = found.record
            if not variant.is_base:
                record = simulate(
                    variant.scenario, calibration=known, replications=0, engine=engine
                ).record
            choice = choice_of(variant.field, variant.value, record, is_base=variant.is_base)
            if choice is not None:
                choices.append(choice)
        display.update("what if", 1.0)
    write_run(folder, found.record, found.requests)
    facts = run_facts("cost", {"cost": monotonic() - started}, asked=told)
    facts["engine"] = found.engine
    write_json(folder / "run.json", facts)
    write_json(folder / "choices.json", {"choices": [each.to_json() for each in choices]})
    _write(folder, chosen, found.record, choices, facts)
    _show(
        found.record, choices, plain=plain, as_json=json, folder=folder,
        lines=(*notes, *found.lines),
    )  # fmt: skip
    return 0


def _is_run(target: str) -> bool:
    path = Path(target)
    return path.is_dir() or path.suffix == ".json"


def _record(run: Path) -> RunRecord:
    """Return the record of *run*: of a proof, its measured side."""
    if run.is_file():
        return read_record(run)
    if (run / "plan.json").is_file():
        raise InputError(
            f"{run}: is a plan, whose costs stand in its report; give a simulation or a load"
        )
    for name in ("measured/record.json", "predicted/record.json"):
        if (run / name).is_file():
            return read_record(run / name)
    return read_record(run / "record.json")


def _charged(record: RunRecord, prices: Path | None) -> RunRecord:
    """Return *record* with its cost at the prices of its scenario, and those of the file."""
    data = dict(record.scenario)
    if prices is not None:
        data["prices"] = merged(data.get("prices", {}), read_prices(prices))
    scenario = parse_scenario(data, source="the run's scenario")
    writes = record.cost.get("figures", {}).get("kv_key_writes")
    cost = cost_of_record(scenario, record, key_writes=None if writes is None else int(writes))
    if cost is None:
        raise InputError(f"{record.name}: no request was judged, so there is nothing to charge")
    return replace(record, cost=cost.to_json())


def _write(
    folder: Path,
    scenario: Scenario,
    record: RunRecord,
    choices: Sequence[Choice],
    facts: Mapping[str, Any],
) -> None:
    """Write the report into *folder*, with the what-if as its first figure."""
    from reports.document import write_report  # matplotlib is a third of a command's start
    from reports.figures import FIGURES, installed_figures
    from reports.report import Report

    rows, cost = compare(scenario.judged(), record, None), money.decisive(record, None)
    report = Report(
        title=f"{scenario.name}: cost",
        rows=rows,
        outcome=outcome(rows),
        predicted=record,
        kpis=scenario.judged(),
        facts=shown_facts(dict(facts)),
        answer=None if cost is None else (_word(cost), f"{money.finding(cost)}."),
    )
    write_report(folder, report, (tradeoff_figure(choices), *FIGURES, *installed_figures()))


def _word(cost: Cost) -> str:
    return "UNKNOWN" if cost.per_month is None else f"{format_dollars(cost.per_month)} a month"


def _show(
    record: RunRecord,
    choices: Sequence[Choice],
    *,
    plain: bool,
    as_json: bool,
    folder: Path | None,
    lines: Sequence[str] = (),
) -> None:
    """Print the bill, what each tier saves, what is refused, and the what-if."""
    sides = (record, None) if record.engine == "simulate" else (None, record)
    cost = money.decisive(*sides)
    if as_json:
        data = money.data(*sides) | {"choices": [each.to_json() for each in choices]}
        print(json_module.dumps({"out": None if folder is None else str(folder), **data}))
        sys.stdout.flush()
        return
    for table in (money.money_table(*sides), money.units_table(cost), money.savings_table(cost)):
        if len(table) > 1:
            show_table(table, plain=plain)
            print()
    if choices:
        show_table(choices_table(choices), plain=plain)
        print(f"{headline(choices)}.")
    if cost is not None:
        told = money.savings_sentence(cost)
        for line in (*([told] if told else ()), *money.money_lines(*sides),
                     *money.money_notes(cost), *lines):  # fmt: skip
            print(line)
        print(f"COST: {money.finding(cost)}.")
    if folder is not None:
        print(f"Report: {folder / 'report.html'}")
    sys.stdout.flush()
