"""edgeproof compare: how far two runs lie apart, and whether the second is worse."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InputError
from core.metrics.difference import Change, differences
from core.metrics.kpi import Kpi
from core.metrics.record import RunRecord, read_record
from core.scenario.file import parse_scenario
from core.secrets import masked
from core.texts import count_of
from edgeproof.ci import Ci, GithubOption, QualityOption, chosen_ci
from edgeproof.finish import show_table
from edgeproof.notices import tell_plain
from edgeproof.options import JsonOption, PlainOption
from edgeproof.paired.options import share
from edgeproof.paired.versions import Unusable
from edgeproof.runs import new_folder
from reports import compared as comparing
from reports import words
from reports.compared import Compared
from reports.finding import Finding

_MOST_SHOWN = 8


def command(
    before: Annotated[Path, typer.Argument(metavar="A", help="A run's folder, or a record.json.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The run that is held against A.")],
    max_regression: Annotated[
        str,
        typer.Option(
            "--max-regression",
            metavar="SHARE",
            help="Exit with 1 if a figure of B is worse by more: percent, points for ratios.",
            rich_help_panel="Verdict",
        ),
    ] = "5%",
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Exit with 4 if a figure is undecided.", rich_help_panel="Verdict"
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="A new folder for compare.html, .md, .json and the figure. Default: none.",
            rich_help_panel="Output",
        ),
    ] = None,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Print Markdown.", rich_help_panel="Output"),
    ] = False,
    plain: PlainOption = False,
    json: JsonOption = False,
    github: GithubOption = None,
    code_quality: QualityOption = None,
) -> int:
    """Compare run B with run A, KPI by KPI and endpoint by endpoint; exit 1 if B is worse.

    Runs are simulations, loads or the measured side of proofs, of one scenario or of two. The
    difference has a 95 % interval where both sides have replications or repeats; those of one seed
    are paired. A figure is WORSE if all of its interval is beyond --max-regression, UNDECIDED if a
    part is. Of a single run the figure itself decides.

    Example: edgeproof compare runs/baseline-1 runs/baseline-2 --max-regression 3%
    """
    try:
        limit = share(max_regression, "--max-regression")
    except Unusable as error:
        raise InputError(str(error)) from None
    if markdown and json:
        raise InputError("--markdown: --json prints one object and nothing else; leave one out")
    tell_plain(plain=plain, as_json=json)
    ci = chosen_ci(github, code_quality)
    records = (_record(before), _record(after))
    found = differences(*records, kpis=_kpis(*records), limit=limit)
    compared = Compared(
        names=(str(before), str(after)),
        sides=(words.side_title(records[0]), words.side_title(records[1])),
        found=found,
        notes=tuple(_notes(*records)),
        facts=(_facts(records[0]), _facts(records[1])),
    )
    if out is not None:
        from reports.document import write_comparison  # matplotlib is slow to import

        write_comparison(new_folder(out, "compare"), compared)
    if json:
        print(json_module.dumps(comparing.data(compared), allow_nan=False))
    elif markdown:
        print(comparing.markdown(compared), end="")
    else:
        _show(compared, ci, out, plain=plain)
    ci.tell(
        _findings(compared, strict=strict), comparing.markdown(compared), otherwise=str(after),
        as_json=json or markdown,
    )  # fmt: skip
    if compared.outcome == "INVALID":
        return 3
    if compared.outcome == Change.WORSE:
        return 1
    return 4 if strict and compared.outcome == Change.UNDECIDED else 0


def _record(run: Path) -> RunRecord:
    """Return the record of *run*: of a proof, its measured side."""
    if run.is_file():
        return read_record(run)
    if not run.is_dir():
        raise InputError(f"{run}: no such run; give the folder of a finished run or a record.json")
    if (run / "plan.json").is_file():
        raise InputError(
            f"{run}: is a plan, which has rates and no record; compare simulations or loads, and "
            "read the plans' rates in their plan.json"
        )
    for name in ("measured/record.json", "predicted/record.json"):
        if (run / name).is_file():
            return read_record(run / name)
    return read_record(run / "record.json")


def _kpis(before: RunRecord, after: RunRecord) -> list[Kpi]:
    """Return the KPIs of both scenarios, once each; where they differ, that of B."""
    found: dict[str, Kpi] = {}
    for side, record in (("B", after), ("A", before)):
        for kpi in parse_scenario(record.scenario, source=f"the scenario of {side}").judged():
            found.setdefault(kpi.name, kpi)
    return list(found.values())


def _facts(record: RunRecord) -> dict[str, Any]:
    return {
        "engine": record.engine,
        "scenario": record.name,
        "scenario_hash": record.scenario_hash,
        "seed": record.seed,
        "workload_hash": record.workload_hash,
        "runs": record.runs,
    }


def _notes(before: RunRecord, after: RunRecord) -> Iterator[str]:
    """Yield what makes the runs less alike than one may think."""
    if before.engine != after.engine:
        kinds = {"simulate": "predicted", "load": "measured"}
        yield f"A is {kinds[before.engine]} and B {kinds[after.engine]}"
    if before.scenario_hash != after.scenario_hash:
        changed = list(_changed(before.scenario, after.scenario))
        shown = "; ".join(changed[:_MOST_SHOWN])
        more = len(changed) - _MOST_SHOWN
        yield f"the scenarios differ: {shown}{f'; and {more} more' if more > 0 else ''}"
    elif before.seed == after.seed and before.workload_hash != after.workload_hash:
        yield "the scenario is the same and the requests are not: another trace, or another version"
    if before.seed != after.seed:
        yield f"the seeds differ ({before.seed} and {after.seed}), so no runs are paired"
    elif before.runs != after.runs:
        yield f"A has {count_of(before.runs, 'run')} and B {after.runs}, so none are paired"


def _changed(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Yield each field that differs ("traffic.stages[0].rate 60.0 -> 120.0")."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            if place or name not in ("name", "description"):
                inner = f"{place}.{name}" if place else str(name)
                yield from _changed(before.get(name), after.get(name), inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for position, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changed(old, new, f"{place}[{position}]")
    elif before != after:
        yield f"{place} {_short(place, before)} → {_short(place, after)}"


def _short(place: str, value: Any) -> str:
    """Return the setting at *place* in short, without what may be a secret."""
    beginning = f"{place.rpartition('.')[2]}="
    (text,) = masked([beginning + json_module.dumps(value, ensure_ascii=False)])
    text = text.removeprefix(beginning)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _show(compared: Compared, ci: Ci, out: Path | None, *, plain: bool) -> None:
    say = ci.line
    print(say(f"A: {compared.names[0]} ({compared.sides[0]})"))
    print(say(f"B: {compared.names[1]} ({compared.sides[1]})"))
    for kind, _ in comparing.SECTIONS:
        rows = [row for row in compared.found.rows if row.kind == kind]
        if rows:
            shown = [[*map(say, cells)] for cells in comparing.table(rows)]
            show_table(shown, plain=plain)
            print()
    print(comparing.basis(compared.found))
    for note in compared.notes:
        print(say(f"Note: {note}."))
    for reason in compared.found.invalid:
        print(say(f"INVALID: {reason}"))
    for line in compared.doubts:
        print(say(line))
    print(say(f"{compared.outcome}: {compared.sentence}"))
    if out is not None:
        print(say(f"Report: {out / 'compare.html'}"))


def _findings(compared: Compared, *, strict: bool) -> list[Finding]:
    title = f"{compared.names[0]} and {compared.names[1]}"
    if compared.found.invalid:
        return [
            Finding(
                level="error", severity="blocker", check="invalid", subject=title,
                title=f"INVALID: {title}", message="\n".join(compared.found.invalid),
            )
        ]  # fmt: skip
    findings = []
    for row in (*compared.found.worse, *compared.found.undecided):
        is_worse = row.outcome is Change.WORSE
        findings.append(
            Finding(
                level="error" if is_worse or strict else "warning",
                severity="major" if is_worse else "minor", check="compare", subject=row.name,
                title=f"{row.name}: {row.outcome.value}",
                message=f"{comparing.figure_of(row.metric, row.before)} in A, "
                f"{comparing.figure_of(row.metric, row.after)} in B: {comparing.change_of(row)}",
            )
        )  # fmt: skip
    return findings
