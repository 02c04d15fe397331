"""The folder of a run: where it lies, what is written into it, how it is read again."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.files import write_whole
from core.metrics.machine import description
from core.metrics.record import Requests, RunRecord, write_record
from edgeproof.invocation import current
from reports.asked import asked_rows

SWEEP, SIZE = "sweep.json", "size.json"
"""What a sweep and the search for a size found."""
_PACKAGES = ("simpy", "numpy", "locust", "fakeredis", "redis", "starlette", "uvicorn")


def new_folder(out: Path | None, name: str) -> Path:
    """Make and return the folder of a run: *out*, or the next free runs/NAME-N.

    Raise InputError if it cannot be made or holds something else already.
    """
    if out is not None:
        if out.exists() and not out.is_dir():
            raise InputError(f"--out {out}: is a file; give a folder")
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"--out {out}: is not empty; give a new folder, or remove it first")
        is_new = not out.exists()
        current().watch(_made(out), is_new=is_new)
        return out
    number = 1
    while True:
        folder = Path("runs") / f"{name}-{number}"
        try:
            folder.parent.mkdir(exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if folder.parent.is_file():
                raise InputError("runs: is a file; give --out DIR") from None
            number += 1
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be made ({error.strerror}); give --out DIR"
            ) from None
        else:
            current().watch(folder, is_new=True)
            return folder


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--out {folder}: cannot be made ({error.strerror}); give another folder"
        ) from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"--out {folder}: cannot be written; give another folder")
    return folder


def write_run(folder: Path, record: RunRecord, requests: Requests) -> tuple[str, ...]:
    """Write record.json and requests.npz into *folder*; return what is to be said of them."""
    folder.mkdir(exist_ok=True)
    write_record(record, folder / "record.json")
    step = requests.write(folder / "requests.npz")
    if step == 1:
        return ()
    rows = len(requests.intended)
    return (f"requests.npz holds one of {step} of the {rows:,} requests; the report counts all.",)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write *data* to *path*, whole or not at all."""
    write_whole(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def run_facts(
    command: str,
    seconds: Mapping[str, float],
    *,
    asked: Mapping[str, Any],
    notes: Sequence[str] = (),
    run_ids: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what run.json holds: what was asked, host, versions, wall times, and notes.

    run_ids: of its loads; with them the ids of all that a load wrote begin.
    """
    return {
        "schema": "edgeproof/run",
        "schema_version": 1,
        "command": command,
        "asked": dict(asked),
        **({"run_ids": list(run_ids)} if run_ids else {}),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": description(),
        "versions": {
            "edgeproof": version("edgeproof"),
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
        },
        "notes": list(notes),
        "wall_seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def shown_facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts of run.json as label and text, for a report."""
    host, versions = facts["host"], facts["versions"]
    asked = facts.get("asked")  # not there in runs of older versions
    rows = [("Command", str(facts["command"]))] if asked is None else asked_rows(asked)
    for other in facts.get("others", ()):
        rows += [(f"{label}, other run", text) for label, text in asked_rows(other)]
    times = ", ".join(f"{name} {value:.1f} s" for name, value in facts["wall_seconds"].items())
    return [
        *rows,
        *([(_run_title(ids), ", ".join(ids))] if (ids := facts.get("run_ids")) else []),
        ("Ended", str(facts["ended"])),
        ("Host", f"{host['system']}, {host['machine']}, {host['processors']} processors"),
        ("Versions", ", ".join(f"{name} {value}" for name, value in versions.items())),
        ("Wall times", times),
    ]


def _run_title(run_ids: Sequence[str]) -> str:
    return "Run id" if len(run_ids) == 1 else "Run ids"
