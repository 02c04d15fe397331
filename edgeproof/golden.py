"""edgeproof bench check and accept: the gate on exact simulated figures."""

from __future__ import annotations

import json as json_module
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import golden
from bench.golden import Checked, Subject
from core.errors import InputError
from core.texts import count_of
from edgeproof import golden_findings
from edgeproof.ci import JUNIT, GithubOption, QualityOption, chosen_ci, keep_file, write
from edgeproof.invocation import current
from edgeproof.options import (
    ColumnsOption,
    EngineOption,
    FormatOption,
    JsonOption,
    TimeUnitOption,
    TraceLimitOption,
    TraceOffsetOption,
    TraceOption,
    chosen_scenario,
)
from reports import junit
from reports.words import printable
from scenarios.catalogue import find_scenario, shipped

ScenariosArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SCENARIO]...",
        help="Scenario files of your own (with --golden), or names of those that come with "
        f"edgeproof. Default: {', '.join(golden.SCENARIOS)}.",
    ),
]
GoldenOption = Annotated[
    Path | None,
    typer.Option(
        "--golden",
        metavar="DIR",
        help="The folder of the golden files, one for each scenario, named as its file is. "
        "Default: the one that comes with edgeproof.",
    ),
]
JunitOption = Annotated[
    Path | None,
    typer.Option(
        JUNIT, metavar="FILE", help="Write a JUnit test case for each scenario.",
        callback=keep_file, is_eager=True,
        rich_help_panel="CI",
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What `bench check` found; *gone*: golden files without a scenario."""

    checked: tuple[Checked, ...]
    gone: tuple[Path, ...]

    @property
    def code(self) -> int:
        """The exit code: 2 a golden file that cannot be used, 1 a difference, 0 neither."""
        if any(one.error for one in self.checked):
            return 2
        return int(bool(self.gone) or any(one.differences for one in self.checked))


def check(
    scenario: ScenariosArgument = None,
    folder: GoldenOption = None,
    trace: TraceOption = None,
    trace_offset: TraceOffsetOption = None,
    trace_limit: TraceLimitOption = None,
    time_unit: TimeUnitOption = None,
    format_: FormatOption = None,
    columns: ColumnsOption = None,
    engine: EngineOption = "reference",
    junit_file: JunitOption = None,
    github: GithubOption = None,
    code_quality: QualityOption = None,
    json: JsonOption = False,
) -> int:
    """Compare simulated KPIs and counters with golden files; exit 1 if any figure differs.

    A golden file in DIR whose scenario is not among those named is gone, and fails.

    Example: edgeproof bench check perf/*.toml --golden perf/golden --junit golden.xml
    """
    ci = chosen_ci(github, code_quality, junit_file)
    given = scenario or []
    source = _source(trace, trace_offset, trace_limit, time_unit, format_, columns)
    subjects = _subjects(given, folder, source)
    place = golden.GOLDEN if folder is None else folder
    if not place.is_dir():
        raise InputError(
            f"--golden {place}: no such folder; make it with {_accept(given, folder, trace)}"
        )
    found = Found(
        checked=tuple(golden.check(subjects, engine=engine, on_scenario=_tell)),
        gone=tuple(golden.gone(place, _names(subjects, place))),
    )
    if junit_file is not None:
        write(junit_file, junit_xml(found))
    if json:
        print(json_module.dumps(as_json(found), allow_nan=False))
    else:
        for line in lines(found, _accept(given, folder, trace)):
            print(ci.line(printable(line)))
    for one in found.checked:
        if one.error:
            print(f"edgeproof: {printable(one.error)}", file=sys.stderr)
    ci.tell(
        [*golden_findings.findings(found.checked, found.gone)],
        golden_findings.summary(found.checked, found.gone, _accept(given, folder, trace)),
        otherwise=place.name,
        as_json=json,
    )
    return found.code


def accept(
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why the figures changed; it is kept.")
    ],
    scenario: ScenariosArgument = None,
    folder: GoldenOption = None,
    trace: TraceOption = None,
    trace_offset: TraceOffsetOption = None,
    trace_limit: TraceLimitOption = None,
    time_unit: TimeUnitOption = None,
    format_: FormatOption = None,
    columns: ColumnsOption = None,
    json: JsonOption = False,
) -> int:
    """Write the golden files anew and keep the reason beside them.

    Example: edgeproof bench accept perf/*.toml --golden perf/golden --reason "first figures"
    """
    given = scenario or []
    source = _source(trace, trace_offset, trace_limit, time_unit, format_, columns)
    subjects = _subjects(given, folder, source)
    place = golden.GOLDEN if folder is None else folder
    current().watch(place)
    if place.exists() and not (place.is_dir() and os.access(place, os.W_OK)):
        raise InputError(f"--golden {place}: not a folder that can be written; give another")
    changed = golden.accept(subjects, reason, on_scenario=_tell)
    stale = golden.gone(place, _names(subjects, place)) if place.is_dir() else []
    if json:
        data = {
            "schema_version": 1,
            "changed": changed,
            "reason": " ".join(reason.split()),
            "gone": [str(path) for path in stale],
        }
        print(json_module.dumps(data))
        return 0
    for path in stale:
        print(f"{path}: its scenario is not among those named; remove the file if it is gone")
    if any(changed.values()):
        count = count_of(sum(changed.values()), "figure")
        print(f"{count} changed; the reason stands in the golden files.")
    else:
        print("No figure changed; nothing was written.")
    return 0


def lines(found: Found, remedy: str) -> Iterator[str]:
    """Yield what differs, and the sentence at the end."""
    for one in found.checked:
        yield from map(str, one.differences)
    for path in found.gone:
        yield f"{path.stem}: its scenario is gone: none of those checked belongs to {path}"
    count = sum(len(one.differences) for one in found.checked)
    faults = []
    if count:
        faults.append(f"{count_of(count, 'figure')} {'differ' if count > 1 else 'differs'}")
    if found.gone:
        faults.append(f"golden files without a scenario: {len(found.gone)}")
    if unusable := sum(bool(one.error) for one in found.checked):
        faults.append(f"scenarios without a usable golden file: {unusable}")
    if not faults:
        yield "Every simulated figure equals its golden file."
        return
    end = f"{', '.join(faults)}."
    if found.gone:
        end += " Name the scenario, or remove the golden file if it is meant to be gone."
    yield f"{end} If other figures are meant: {remedy}" if count else end


def as_json(found: Found) -> dict[str, Any]:
    """Return what `bench check --json` prints."""
    return {
        "schema_version": 1,
        "outcome": "PASS" if found.code == 0 else "FAIL",
        "scenarios": [
            {
                "name": one.subject.name,
                "scenario": one.subject.source,
                "golden": str(one.subject.golden),
                "outcome": "FAIL" if one.error or one.differences else "PASS",
                "error": one.error or None,
                "differences": [
                    {"figure": d.figure, "before": _plain(d.before), "after": _plain(d.after)}
                    for d in one.differences
                ],
            }
            for one in found.checked
        ],
        "gone": [str(path) for path in found.gone],
    }


def _plain(value: Any) -> Any:
    """Return *value* as strict JSON has it: a golden file may hold what is no number."""
    return value if json_module.dumps(value) not in ("NaN", "Infinity", "-Infinity") else str(value)


def junit_xml(found: Found) -> bytes:
    """Return JUnit XML with a case for each scenario, and one for each golden file without one."""
    group = "edgeproof.golden"
    cases = []
    for one in found.checked:
        name = one.subject.name
        if one.error:
            case = junit.Case(
                group=group, name=name, kind="error", type="golden", message=one.error
            )
        elif one.differences:
            case = junit.Case(
                group=group, name=name, kind="failure", type="difference",
                message=f"different figures: {len(one.differences)}",
                text="\n".join(map(str, one.differences)),
            )  # fmt: skip
        else:
            case = junit.Case(group=group, name=name)
        cases.append(case)
    cases += [
        junit.Case(
            group=group,
            name=path.stem,
            kind="failure",
            type="gone",
            message=f"none of the scenarios belongs to {path}",
        )
        for path in found.gone
    ]
    return junit.written(cases, name="golden figures")


def _source(
    trace: Path | None,
    offset: int | None,
    limit: int | None,
    time_unit: str | None,
    format_: str | None,
    columns: str | None,
) -> dict[str, Any]:
    given = {
        "trace": trace, "trace_offset": offset, "trace_limit": limit, "time_unit": time_unit,
        "format_": format_, "columns": columns,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def _subjects(
    given: Sequence[str], folder: Path | None, source: dict[str, Any]
) -> tuple[Subject, ...]:
    place = golden.GOLDEN if folder is None else folder
    if not given:
        if source:
            option = next(iter(source)).strip("_").replace("_", "-")
            raise InputError(f"--{option} needs the SCENARIO that it changes, and --golden DIR")
        return golden.of_package(golden.SCENARIOS, place)
    paths: dict[str, tuple[str, Path]] = {}
    for text in given:
        path = find_scenario(text)
        if path.stem in paths:
            raise InputError(
                f"{paths[path.stem][0]} and {text} would share the golden file "
                f"{path.stem}.json; rename one, or give each a --golden DIR of its own"
            )
        paths[path.stem] = (text, path)
    if folder is None:
        own = {name: shipped()[name].resolve() for name in golden.SCENARIOS}
        for name, (text, path) in paths.items():
            if source or own.get(name) != path.resolve():
                raise InputError(
                    f"{text}: edgeproof's own golden files are those of {', '.join(own)} as they "
                    "come; give --golden DIR for yours"
                )
    return tuple(
        Subject(
            name=name, source=text, scenario=chosen_scenario(text, **source),
            golden=place / f"{name}.json",
        )
        for name, (text, _) in paths.items()
    )  # fmt: skip


def _names(subjects: Sequence[Subject], place: Path) -> set[str]:
    """Return the names that golden files in *place* may have."""
    names = {subject.name for subject in subjects}
    if place.resolve() == golden.GOLDEN.resolve():
        names.update(golden.SCENARIOS)
    return names


def _accept(given: Sequence[str], folder: Path | None, trace: Path | None) -> str:
    words = ["edgeproof", "bench", "accept", *given]
    words += [] if folder is None else ["--golden", str(folder)]
    words += [] if trace is None else ["--trace", str(trace)]
    return f"{shlex.join(words)} --reason TEXT"


def _tell(name: str) -> None:
    print(f"simulating {printable(name)}", file=sys.stderr, flush=True)
