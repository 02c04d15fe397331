"""The exact gate: simulated KPIs and counters against golden files, any difference fails."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.files import write_whole
from core.metrics.summary import summary, summary_metrics
from core.scenario.file import load_scenario, scenario_hash
from core.scenario.scenario import Scenario
from core.texts import MAX_RECORD_BYTES, bounded_text, parse_request, shown
from scenarios.catalogue import shipped
from sim.engine_name import EngineName
from sim.simulate import simulate

GOLDEN = Path(__file__).with_name("golden")
SCENARIOS = ("baseline", "cold-start", "flash-crowd", "kv-outage", "slow-database")
_HISTORY = 50
_FIRST = ("scenario_hash", "workload_hash")
"""The figures that explain the other differences, and so come before them."""

OnScenario = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A scenario and the golden file of its figures; *source* is the scenario as it was named."""

    name: str
    source: str
    scenario: Scenario
    golden: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A figure that differs from the accepted one; None if it is, or was, missing."""

    scenario: str
    figure: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.figure == "scenario_hash":
            return (
                f"{self.scenario}: the scenario is another one than was accepted: scenario_hash "
                f"was {self.before}, is {self.after}"
            )
        if self.before is None:
            return f"{self.scenario}: {self.figure} is new: {self.after}"
        if self.after is None:
            return f"{self.scenario}: {self.figure} was {self.before}, is gone"
        return f"{self.scenario}: {self.figure} was {self.before}, is {self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The findings about one scenario; *error*: why its golden file cannot be used."""

    subject: Subject
    differences: tuple[Difference, ...] = ()
    error: str = ""


def of_package(names: Sequence[str] = SCENARIOS, folder: Path = GOLDEN) -> tuple[Subject, ...]:
    """Return the shipped scenarios *names* with their golden files in *folder*."""
    return tuple(
        Subject(
            name=name, source=name, scenario=load_scenario(shipped()[name]),
            golden=folder / f"{name}.json",
        )
        for name in names
    )  # fmt: skip


def figures(scenario: Scenario, engine: EngineName = "reference") -> dict[str, Any]:
    """Return every exact figure of *scenario*."""
    record = simulate(scenario, replications=0, engine=engine).record
    return {
        "scenario_hash": _hash(scenario),
        "workload_hash": record.workload_hash,
        "requests": record.planned,
        **{
            f"metric {metric}": "Infinity" if math.isinf(value) else value
            for metric, value in summary(record, summary_metrics(scenario.endpoints)).items()
        },
        **{f"counter {counter}": value for counter, value in record.counters.items()},
        **{
            f"reads {read} {outcome}": count
            for read, outcomes in record.reads.items()
            for outcome, count in outcomes.items()
        },
    }


def check(
    subjects: Sequence[Subject],
    *,
    engine: EngineName = "reference",
    on_scenario: OnScenario | None = None,
) -> list[Checked]:
    """Return the differences between the figures of each of *subjects* and its golden file.

    A golden file that cannot be used is an error of its own scenario; the others are checked.
    """
    return [_checked(subject, engine, on_scenario) for subject in subjects]


def _checked(subject: Subject, engine: EngineName, on_scenario: OnScenario | None) -> Checked:
    try:
        golden = _golden(subject.golden, subject.source)
    except InputError as error:
        return Checked(subject=subject, error=str(error))
    if on_scenario is not None:
        on_scenario(subject.name)
    found = figures(subject.scenario, engine)
    return Checked(subject=subject, differences=tuple(_differences(subject.name, golden, found)))


def gone(folder: Path, names: Collection[str]) -> list[Path]:
    """Return the golden files in *folder* that belong to none of the scenarios *names*.

    Other JSON files do not count; an unreadable one does, since it may have been a golden file.
    """
    return [
        path
        for path in sorted(folder.glob("*.json"))
        if path.stem not in names and _may_be_golden(path)
    ]


def _may_be_golden(path: Path) -> bool:
    try:
        data = _read(path)
    except (OSError, ValueError):
        return True
    return isinstance(data, dict) and isinstance(data.get("figures"), dict)


def accept(
    subjects: Sequence[Subject], reason: str, *, on_scenario: OnScenario | None = None
) -> dict[str, int]:
    """Write the golden files that changed, with *reason*; return how many figures of each did.

    Nothing is written before all scenarios are simulated, and each file is written whole or not
    at all. Raise InputError if the reason is empty, or a file cannot be used or written.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise InputError("--reason is empty; say why the figures changed")
    changed: dict[str, int] = {}
    files: dict[Path, str] = {}
    for subject in subjects:
        path = subject.golden
        golden = _golden(path) if path.is_file() else {}
        history = _history(path)
        if on_scenario is not None:
            on_scenario(subject.name)
        found = figures(subject.scenario)
        differences = list(_differences(subject.name, golden, found))
        changed[subject.name] = len(differences)
        if differences:
            history.append({"reason": reason, "figures": len(differences)})
            data = {"figures": found, "accepted": history[-_HISTORY:]}
            files[path] = json.dumps(data, indent=1) + "\n"
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); give another --golden DIR"
            ) from None
    return changed


def _hash(scenario: Scenario) -> str:
    """Return the scenario's hash without the path of a trace, whose content has its own hash.

    Other machines check files out in other folders.
    """
    if scenario.trace.file is None:
        return scenario_hash(scenario)
    trace = scenario.trace.model_copy(update={"file": Path(scenario.trace.file).name})
    return scenario_hash(scenario.model_copy(update={"trace": trace}))


def _history(path: Path) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = _part(path, "accepted", list) if path.is_file() else []
    return history


def _golden(path: Path, source: str = "SCENARIO") -> dict[str, Any]:
    golden: dict[str, Any] = _part(path, "figures", dict, source)
    return golden


def _remedy(path: Path, source: str) -> str:
    own = "" if path.parent == GOLDEN else shlex.join((source, "--golden", str(path.parent))) + " "
    return f"edgeproof bench accept {own}--reason TEXT"


def _read(path: Path) -> Any:
    """Return the file's JSON; ValueError also for a key that stands twice."""
    return parse_request(bounded_text(path, MAX_RECORD_BYTES, "a golden file").encode())


def _part(path: Path, name: str, kind: type[Any], source: str = "SCENARIO") -> Any:
    try:
        data = _read(path)
        if not isinstance(data, dict) or not isinstance(part := data.get(name), kind):
            raise TypeError(f"it has no {'table' if kind is dict else 'list'} {name}")
        if kind is dict:
            for figure, value in part.items():
                if isinstance(value, bool) or not isinstance(value, int | float | str):
                    raise TypeError(f"{shown(figure)} is {shown(value)}, no number and no text")
    except FileNotFoundError:
        raise InputError(f"{path}: no golden file; make it with {_remedy(path, source)}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a golden file ({error}); restore it from git") from None
    return part


def _differences(
    scenario: str, golden: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterator[Difference]:
    for name in sorted(golden.keys() | found.keys(), key=lambda name: (name not in _FIRST, name)):
        before, after = golden.get(name), found.get(name)
        if before != after:
            yield Difference(scenario=scenario, figure=name, before=before, after=after)
