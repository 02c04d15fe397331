"""edgeproof report: judge and draw runs again."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from core.attribution.study import Study
from core.errors import InputError
from core.metrics.capacity import CapacityPlan
from core.metrics.record import RunRecord, read_record
from core.metrics.sizing import Sizing
from core.metrics.sweep import Sweep
from core.scenario.file import parse_scenario
from core.texts import read_json
from edgeproof.ci import GithubOption, QualityOption
from edgeproof.credit import STUDY, redraw_study
from edgeproof.finish import finish, show_table
from edgeproof.invocation import current
from edgeproof.notices import tell_strict
from edgeproof.options import (
    GateOption,
    JsonOption,
    PlainOption,
    ReportOutOption,
    RequireOption,
    StrictOption,
    judging,
)
from edgeproof.prove import model_verdict, request_lines
from edgeproof.runs import SIZE, SWEEP, new_folder, shown_facts
from reports.helps_words import plan_findings
from reports.size import size_exhibit
from reports.sweep import cells_csv, exhibit_of, sweep_table
from reports.words import side_title, waiting_left_out

EXHIBITS = (SWEEP, SIZE)
"""Files of runs that judge themselves: they are drawn again as they are."""


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="One run's folder, or a prediction and a measurement."
        ),
    ],
    out: ReportOutOption = None,
    gate: GateOption = "target",
    require: RequireOption = None,
    strict: StrictOption = False,
    plain: PlainOption = False,
    json: JsonOption = False,
    github: GithubOption = None,
    code_quality: QualityOption = None,
) -> int:
    """Judge and draw RUN again: simulation, load, proof, plan, sweep, size or attribution.

    Two runs are a prediction and a measurement of the same requests, compared as prove does. The
    report goes into the (first) run's folder, or into --out.

    Example: edgeproof report runs/baseline-1
    """
    options = judging(
        gate, require, strict=strict, plain=plain, as_json=json, has_model=True,
        github=github, code_quality=code_quality,
    )  # fmt: skip
    if any((run / STUDY).is_file() for run in runs):
        asked = {"--gate": gate != "target", "--require": bool(require), "--strict": strict}
        return _attribution(runs, asked, out, plain=plain, as_json=json)
    if any((run / name).is_file() for run in runs for name in EXHIBITS):
        asked = {"--gate": gate != "target", "--require": bool(require), "--strict": strict}
        return _exhibit(runs, asked, out, plain=plain, as_json=json)
    found = _Found()
    for run in runs:
        found.add(run)
    if found.plan is not None and (found.predicted or found.measured):
        raise InputError(f"{runs[0]}: a plan is reported alone; name the other runs separately")
    if found.plan is not None:
        asked = {"--gate": gate != "target", "--require": bool(require), "--strict": strict}
        for name, is_given in asked.items():
            if is_given:
                raise InputError(f"{name}: {runs[0]} is a plan, which judges no KPI; leave it out")
    if gate == "model" and not (found.predicted and found.measured):
        raise InputError(
            "--gate model: there is no prediction and measurement to compare; name the run of a "
            "proof, or one of each"
        )
    tell_strict(strict=strict and found.measured is not None and found.measured.runs == 1)
    record = found.measured or found.predicted
    scenario = parse_scenario(record.scenario, source=str(runs[0])) if record else None
    if scenario is not None:
        options = options.checked(scenario)
    kpis = scenario.judged() if scenario else ()
    notes: Sequence[str] = (found.facts or {}).get("notes", ())
    if found.plan is not None:
        kpis = found.plan.kpis
        notes = waiting_left_out([kpi.metric for kpi in kpis])
    verdict, holds, lines = None, True, []
    if found.predicted and found.measured:
        if found.predicted.workload_hash != found.measured.workload_hash:
            raise InputError(
                f"{runs[0]} and {runs[-1]}: not the same requests (their workload hashes differ); "
                "compare runs of one scenario, seed and trace"
            )
        verdict, holds = model_verdict(found.predicted, found.measured)
        lines = request_lines(found.measured)
    if out is None:
        current().watch(runs[0])
    return finish(
        runs[0] if out is None else new_folder(out, "report"),
        options,
        title=found.title(),
        kpis=kpis,
        predicted=found.predicted,
        measured=found.measured,
        plan=found.plan,
        model_verdict=verdict,
        model_holds=holds,
        facts=found.facts,
        notes=notes,
        lines=lines if found.plan is None else [*notes, *plan_findings(found.plan)],
    )


def _exhibit(
    runs: Sequence[Path], asked: dict[str, bool], out: Path | None, *, plain: bool, as_json: bool
) -> int:
    """Draw the sweep or the size of the one folder again."""
    from reports.document import write_exhibit

    run = runs[0]
    if len(runs) > 1:
        raise InputError(f"{run}: a sweep is reported alone; name the others separately")
    for name, is_given in asked.items():
        if is_given:
            raise InputError(f"{name}: {run} is a sweep, whose verdicts are its own; leave it out")
    facts = _parsed(run / "run.json", _facts) if (run / "run.json").is_file() else None
    notes = (facts or {}).get("notes", ())
    rows = shown_facts(facts) if facts else ()
    if (run / SIZE).is_file():
        sizing = _parsed(run / SIZE, Sizing.from_json)
        sweep, exhibit = sizing.sweep, size_exhibit(sizing, notes=notes, facts=rows)
    else:
        sweep = _parsed(run / SWEEP, Sweep.from_json)
        exhibit = exhibit_of(sweep, notes=notes, facts=rows)
    if out is None:
        current().watch(run)
    folder = run if out is None else new_folder(out, "report")
    write_exhibit(folder, exhibit, "report", {"cells.csv": cells_csv(sweep)})
    if as_json:
        print(json_module.dumps({"out": str(folder), "answer": exhibit.answer, **exhibit.data}))
        return 0
    show_table(sweep_table(sweep), plain=plain)
    print(f"{exhibit.kind.upper()}: {exhibit.answer}")
    print(f"Report: {folder / 'report.html'}")
    return 0


def _attribution(
    runs: Sequence[Path], asked: dict[str, bool], out: Path | None, *, plain: bool, as_json: bool
) -> int:
    """Draw the attribution of the one folder again."""
    if len(runs) > 1:
        raise InputError(f"{runs[0]}: an attribution is reported alone; name the others separately")
    for name, is_given in asked.items():
        if is_given:
            raise InputError(f"{name}: {runs[0]} is an attribution, which judges no KPI")
    study = _parsed(runs[0] / STUDY, Study.from_json)
    redraw_study(study, runs[0] if out is None else new_folder(out, "report"), plain=plain,
                 as_json=as_json)  # fmt: skip
    return 0


@dataclass(slots=True)
class _Found:
    """What the folders hold."""

    predicted: RunRecord | None = None
    measured: RunRecord | None = None
    plan: CapacityPlan | None = None
    facts: dict[str, Any] | None = None

    def add(self, run: Path) -> None:
        """Read what *run* holds; InputError if it is no run or a side is given twice."""
        if not run.is_dir():
            raise InputError(f"{run}: no such folder; give the folder of a finished run")
        if (run / "run.json").is_file():
            facts = _parsed(run / "run.json", _facts)
            if self.facts is None:
                self.facts = facts
            elif "asked" in facts:
                self.facts.setdefault("others", []).append(facts["asked"])
        if (run / "plan.json").is_file():
            self.plan = _parsed(run / "plan.json", CapacityPlan.from_json)
            return
        sides = [run / name / "record.json" for name in ("predicted", "measured")]
        paths = [path for path in sides if path.is_file()] or [run / "record.json"]
        for path in paths:
            self._take(read_record(path), path)

    def _take(self, record: RunRecord, path: Path) -> None:
        side = "predicted" if record.engine == "simulate" else "measured"
        if getattr(self, side) is not None:
            raise InputError(f"{path}: a second run that is {side}; give one of each at most")
        setattr(self, side, record)

    def title(self) -> str:
        """Return the report's title."""
        if self.plan is not None:
            return f"{self.plan.scenario}: capacity"
        record = self.measured or self.predicted
        assert record is not None
        if self.predicted and self.measured:
            return f"{record.name}: predicted and measured"
        return f"{record.name}: {side_title(record)}"


def _facts(data: dict[str, Any]) -> dict[str, Any]:
    shown_facts(data)  # KeyError or TypeError if a report could not show them
    if not all(isinstance(note, str) for note in data.get("notes", [])):
        raise TypeError("its notes are not texts")
    return data


def _json(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path, "a run")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run the command again") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: not an object; run the command again")
    return data


def _parsed(path: Path, parse: Any) -> Any:
    try:
        return parse(_json(path))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error}); run the command again") from None
