"""Learn a service: send it the requests of a calibration, write calibration.toml, read one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from core.errors import InputError, InvalidRun
from core.files import write_whole
from core.scenario.calibration import Calibration
from core.scenario.calibration_file import read_calibration, to_toml
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from edgeproof.access import Access
from edgeproof.loading import Bounds, drive, was_interrupted
from edgeproof.progress import Display
from scenarios.calibrate import NotCalibrated
from scenarios.calibration_plan import CalibrationBounds, default_bounds, learning_workload
from scenarios.learning import FEWEST, WANTED, learn, samples_told
from scenarios.result import LoadResult

CALIBRATION_FILE = "calibration.toml"

CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="FILE",
        help="Predict with the times that `edgeproof calibrate` learned of a service.",
        rich_help_panel="Scenario",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """A calibration, the requests that it took, and what came of them.

    calibration is None where the answers taught nothing; why: then the reason.
    """

    calibration: Calibration | None
    workload: Workload
    result: LoadResult
    why: str = ""


def chosen_calibration(path: Path | None, scenario: Scenario) -> Calibration | None:
    """Return the calibration in *path*, None without one; InputError if it does not fit."""
    return None if path is None else read_calibration(path, scenario.endpoints)


def calibration_bounds(
    scenario: Scenario, workload: Workload, limits: Bounds, **stated: float | None
) -> CalibrationBounds:
    """Return what a calibration may send: rate and seconds as *stated*, or the usual bounds."""
    usual = default_bounds(scenario, workload)
    rate, seconds = stated.get("rate"), stated.get("seconds")
    return replace(
        usual,
        rate=min(usual.rate if rate is None else rate, limits.max_rate),
        seconds=min(usual.seconds if seconds is None else seconds, limits.max_duration),
    )


def teach(
    scenario: Scenario,
    workload: Workload,
    hosts: Sequence[str],
    folder: Path,
    *,
    bounds: CalibrationBounds,
    limits: Bounds,
    display: Display,
    access: Access,
) -> Taught:
    """Send the requests of a calibration about the subjects of *workload* and learn from them.

    Raise InputError if they would be too few, InvalidRun if they all failed.
    """
    asked = learning_workload(scenario, workload, bounds)
    if len(asked) < FEWEST:
        raise InputError(
            f"calibration: {bounds.rate:.3g} requests/s for {bounds.seconds:.3g} s are "
            f"{len(asked)} requests; at least {FEWEST} are needed: raise the rate or the duration"
        )
    result = drive(
        scenario, asked, hosts, folder, phase="calibrating", limits=limits, display=display,
        access=access,
    )  # fmt: skip
    if was_interrupted(result):
        raise KeyboardInterrupt
    if result.interrupted:
        raise InvalidRun(f"the calibration {result.audit['ended_early']}")
    try:
        known = learn(scenario, result)
    except NotCalibrated as error:
        return Taught(calibration=None, workload=asked, result=result, why=str(error))
    return Taught(calibration=known, workload=asked, result=result)


def write_calibration(path: Path, calibration: Calibration, *, source: str) -> None:
    """Write *calibration* to *path*, whole or not at all."""
    write_whole(path, to_toml(calibration, source=source))


def lines(known: Calibration) -> list[str]:
    """Return what was learned and what not, a line each, for the terminal."""
    told = [
        f"Calibrated: {known.requests:,} answers; samples of {WANTED:,}: {samples_told(known)}."
    ]
    told += [f"  {note}" for note in known.notes]
    told += [f"  {place}: {why}; the scenario's value stays" for place, why in known.few.items()]
    if known.unread:
        names = ", ".join(f"{e}.{r}" for e, reads in known.unread.items() for r in reads)
        told.append(f"  cache reads that the service never told: {names}")
    return told
