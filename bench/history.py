"""The history of benchmark figures: a file of JSON lines, one for each run."""

from __future__ import annotations

import fcntl
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from bench.micro import Run
from core.errors import InputError
from core.texts import parse_json

MAX_BYTES = 256_000_000
SCHEMA_VERSION = 1
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Part(BaseModel):
    # A later version may add fields to a run; the fields of this version keep their meaning.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Version(_Part):
    """The measured code; *is_dirty*: the working tree differs from the revision."""

    package: str
    revision: str | None
    is_dirty: bool

    @property
    def label(self) -> str:
        """The short revision, with + if the tree was dirty; without one the package's version."""
        if self.revision is None:
            return self.package
        return self.revision[:10] + "+" * self.is_dirty


class Machine(_Part):
    """The machine of a figure; figures of different machines are never compared."""

    cpu: str
    cores: int
    python: str
    system: str

    @property
    def label(self) -> str:
        """The machine in one phrase."""
        return f"{self.cpu}, {self.cores} cores, {self.python}, {self.system}"


class Benchmark(_Part):
    """One benchmark's figures, in seconds per call."""

    name: str
    median: _Positive
    low: _Positive
    high: _Positive
    mean: _Positive
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    rounds: int
    iterations: int


class Entry(_Part):
    """One run. work_ns: the time of a fixed piece of work in it, its median over the run.

    halves: that time in the second half of the run over that in the first.
    """

    schema_version: Literal[1] = 1
    date: AwareDatetime
    version: Version
    machine: Machine
    work_ns: _Positive
    halves: _Positive | None
    benchmarks: tuple[Benchmark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The runs of a file in its order, and a note for each line that is left out."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]


def entry(run: Run, now: datetime) -> Entry:
    """Return *run*, which ended *now*, as it stands in a history. Raise ValueError if empty."""
    if not run.figures or run.work is None:
        raise ValueError("nothing was measured")
    return Entry(
        date=now.replace(microsecond=0),
        version=measured_version(),
        machine=this_machine(),
        work_ns=run.work,
        halves=run.halves,
        benchmarks=tuple(
            Benchmark(
                name=one.name, median=one.median, low=one.low, high=one.high, mean=one.mean,
                margin=one.margin if one.rounds > 1 else None,
                rounds=one.rounds, iterations=one.iterations,
            )
            for one in run.figures
        ),
    )  # fmt: skip


def append(path: Path, added: Entry) -> None:
    """Append *added* to the file at *path*, which is made if missing, whole or not at all.

    Two runs that append at once wait for each other. Raise InputError if it cannot be written.
    """
    line = (added.model_dump_json() + "\n").encode()
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line  # a line that was cut off stays a separate line
            try:
                if os.write(file, line) != len(line):
                    raise OSError(28, "No space left on device")
                os.fsync(file)
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)
    except OSError as error:
        raise InputError(
            f"{path}: the run cannot be appended ({error.strerror}); the file is as it was"
        ) from None


def read(path: Path) -> History:
    """Return the runs in the file at *path*.

    A line that is not JSON was cut off (a full disk, a killed process) and is left out with a note.
    Raise InputError if there is no such file, or if a JSON line is not a run.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); make a history with "
            "edgeproof bench run --save FILE"
        ) from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES:,} bytes; is it a history?")
    entries, notes = [], []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            parse_json(line)
        except ValueError:
            notes.append(f"{path}: line {number} is no JSON (cut off?) and is left out")
            continue
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"])) or "the line"
            raise InputError(
                f"{path}: line {number} is no run of a history ({place}: {fault['msg']}); "
                f"{_remedy(fault)}"
            ) from None
    if not entries:
        told = f"; lines that are no JSON and were left out: {len(notes)}" if notes else ""
        raise InputError(
            f"{path}: holds no run{told}; make a history with edgeproof bench run --save FILE"
        )
    return History(entries=tuple(entries), notes=tuple(notes))


def _remedy(fault: ErrorDetails) -> str:
    """Return the remedy for a line that is not a run; no remedy loses measurements."""
    given = fault["input"]
    if fault["loc"] == ("schema_version",) and type(given) is int and given > SCHEMA_VERSION:
        return f"a newer edgeproof wrote schema_version {given}: upgrade edgeproof"
    return "mend the line, or move it into another file to keep it"


def this_machine() -> Machine:
    """Return the features that identify this machine, without its name."""
    system = os.uname()
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{system.sysname} {system.machine}",
    )


def _cpu(place: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = place.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model") and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown CPU"


def measured_version(folder: Path = Path(__file__).parent) -> Version:
    """Return the version of the code in *folder*: its git revision if git tracks it."""
    try:
        package = version("edgeproof")
    except PackageNotFoundError:
        package = "unknown"
    # An environment within another project's working tree is not that project's code.
    is_kept = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is not None
    revision = _git(folder, "rev-parse", "HEAD") if is_kept else None
    is_dirty = revision is not None and _git(folder, "status", "--porcelain") != ""
    return Version(package=package, revision=revision, is_dirty=is_dirty)


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of git, None if git fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One benchmark in one run, in seconds: as measured, and at the series' usual speed.

    relative: scaled by how long the fixed work took in the run, to its median over the series.
    """

    date: datetime
    version: str
    median: float
    low: float
    high: float
    relative: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One benchmark on one machine, in order of date."""

    machine: str
    name: str
    points: tuple[Point, ...]


def series(entries: Sequence[Entry]) -> tuple[Series, ...]:
    """Return the series of each machine and benchmark, as they first appear."""
    ordered = sorted(entries, key=lambda one: one.date)
    usual = {
        machine: median(one.work_ns for one in entries if one.machine == machine)
        for machine in {one.machine for one in entries}
    }
    found: dict[tuple[str, str], list[Point]] = {}
    for one in ordered:
        scale = usual[one.machine] / one.work_ns
        for benchmark in one.benchmarks:
            found.setdefault((one.machine.label, benchmark.name), []).append(
                Point(
                    date=one.date, version=one.version.label, median=benchmark.median,
                    low=benchmark.low, high=benchmark.high, relative=benchmark.median * scale,
                )
            )  # fmt: skip
    return tuple(
        Series(machine=machine, name=name, points=tuple(points))
        for (machine, name), points in found.items()
    )
