"""Commands that print tokens, and whether one still runs."""

from __future__ import annotations

from pathlib import Path

import psutil

from scenarios.tokens import Tokens


def counting(folder: Path, *, every: float | None = None, then: str = "") -> Tokens:
    """Return tokens that are 1, 2, ... in turns; then: what the command does before it prints."""
    count = folder / "count"
    count.write_text("0")
    program = f"n=$(($(cat {count}) + 1)); echo $n > {count}; {then}; echo $n"
    return Tokens({"TOKEN": ["sh", "-c", program.replace("; ;", ";")]}, every=every)


def is_running(pid: int) -> bool:
    """Return whether the process is there, and is no zombie that waits for its parent."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
