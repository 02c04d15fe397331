"""Instructions per call, counted by valgrind: exact, unlike times, but without a verdict."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgeproof.paired.processes import Crashed, Task, TimeUp, Turn, Worker, job
from edgeproof.paired.versions import Unusable

_SLOW_NS = 5_000_000_000
"""Calls that take longer under valgrind, still without counting, are left out."""
_CALLS_NS = 50_000_000
_MOST_CALLS = 1_000
_CONTROL_SECONDS = 30.0

Counts = dict[str, tuple[float, float]]
"""Instructions per call of base and head, by benchmark."""


def require_valgrind() -> None:
    """Raise Unusable without valgrind's programs."""
    if shutil.which("valgrind") is None or shutil.which("callgrind_control") is None:
        raise Unusable(
            "--instructions: valgrind is not installed; on Debian: apt-get install valgrind"
        )


def counted(
    task: Task, names: Sequence[str], *, deadline: float, say: Callable[[str], None]
) -> Counts:
    """Return the instructions of *names* that can be counted before the deadline.

    They include a benchmark's setup. Raise Unusable if valgrind cannot be controlled.
    """
    sides = [_side(task, index, names, deadline, say) for index in (0, 1)]
    return {
        name: (sides[0][name], sides[1][name])
        for name in names
        if name in sides[0] and name in sides[1]
    }


def _side(
    task: Task, index: int, names: Sequence[str], deadline: float, say: Callable[[str], None]
) -> dict[str, float]:
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="edgeproof-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        turn = Turn(number=0, only=None, deadline=deadline)
        under = (
            "valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet",
            f"--callgrind-out-file={place / 'counts'}",
        )  # fmt: skip
        worker = Worker(
            task.pythons[index], job(task, turn, [index]), place, deadline,
            under=under, hash_seed="0",
        )  # fmt: skip
        try:
            sides = worker.expect("collected")["sides"]
            (known,) = sides.values()
            chosen = [name for name in known if name in names]
            worker.tell({"benchmarks": chosen})
            for number, name in enumerate(chosen):
                say(f"counting instructions: {number + 1} of {len(chosen)}, version {index + 1}")
                event = worker.hear()
                if event["event"] == "at":
                    count = _per_call(worker, place / "counts")
                    if count is not None:
                        found[name] = count
                    worker.tell({"do": "go on"})
                    worker.expect("tested")
        except TimeUp:
            pass  # what was counted by then
        except Crashed as crash:
            raise Unusable(f"--instructions: {crash}") from None
        finally:
            worker.close()
    return found


def _per_call(worker: Worker, out: Path) -> float | None:
    """Return the instructions of a call, from the difference of two numbers of calls."""
    worker.tell({"do": "warm up"})
    cost = worker.hear()
    if cost["event"] != "cost" or cost["timed"] > _SLOW_NS:
        return None
    calls = max(1, min(_MOST_CALLS, round(_CALLS_NS / max(1.0, cost["timed"]))))
    if cost["most"] is not None:
        calls = min(calls, cost["most"] // 3)
    if calls < 1:
        return None
    _control(worker, "--instr=on")
    try:
        _dumped(worker, out)
        once, twice = (_block(worker, out, times * calls) for times in (1, 2))
    finally:
        _control(worker, "--instr=off")
    return None if once is None or twice is None else (twice - once) / calls


def _block(worker: Worker, out: Path, calls: int) -> int | None:
    worker.tell({"do": "time", "calls": calls})
    event: dict[str, Any] = worker.hear()
    return _dumped(worker, out) if event["event"] == "time" else None


def _dumped(worker: Worker, out: Path) -> int:
    """Return the instructions since the last dump."""
    for old in out.parent.glob(f"{out.name}*"):
        old.unlink()
    _control(worker, "--dump")
    total = 0
    for path in out.parent.glob(f"{out.name}*"):
        with suppress(OSError):
            for found in re.findall(r"^(?:totals|summary): (\d+)", path.read_text("utf-8"), re.M):
                total = max(total, int(found))
    return total


def _control(worker: Worker, option: str) -> None:
    try:
        done = subprocess.run(
            ["callgrind_control", option, str(worker.pid)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_CONTROL_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unusable("--instructions: valgrind does not answer callgrind_control") from None
    if done.returncode != 0 or "not" in done.stderr.lower().split():
        told = " ".join((done.stderr or done.stdout).split())[-200:]
        raise Unusable(f"--instructions: callgrind_control failed: {told}")
