"""Commands that print tokens, and whether one still runs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from scenarios.tokens import Tokens


def counting(folder: Path, *, every: float | None = None, then: str = "") -> Tokens:
    """Return tokens that are 1, 2, ... in turns; then: what the command does before it prints."""
    count = folder / "count"
    count.write_text("0")
    program = f"n=$(($(cat {count}) + 1)); echo $n > {count}; {then}; echo $n"
    return Tokens({"TOKEN": ["sh", "-c", program.replace("; ;", ";")]}, every=every)


def left_of(pids: Iterable[int]) -> list[int]:
    """Return which processes still run after ten seconds; a killed one ends when it is scheduled.

    A zombie that waits for its parent has ended.
    """
    end = time.monotonic() + 10.0
    left = [*pids]
    while (left := [pid for pid in left if _is_running(pid)]) and time.monotonic() < end:
        time.sleep(0.01)
    return left


def _is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
