"""`python -m edgeproof.workerd.tether PLAN.json`: run a program that ends with its parent.

The plan has the program, its arguments and further variables of its environment. The kernel's
signal stays asked for when the program takes the place of this process.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path

from core.child import die_with_parent

_KILLED_WITH_PARENT = (
    "import ctypes, os, sys; "
    f"ctypes.CDLL(None).prctl(1, {signal.SIGKILL.value}, 0, 0, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def write_tethered(path: Path, variable: str) -> None:
    """Write an executable file to *path* that runs the program which *variable* names.

    The program is killed with its parent.
    """
    words = shlex.join([sys.executable, "-S", "-E", "-c", _KILLED_WITH_PARENT])
    path.write_text(f'#!/bin/sh\nexec {words} "${variable}" "$@"\n', encoding="utf-8")
    path.chmod(0o700)


def main(path: str) -> None:
    """Take the place of this process with what the plan at *path* names."""
    plan = json.loads(Path(path).read_text(encoding="utf-8"))
    die_with_parent(signal.SIGTERM)
    arguments = [plan["program"], *plan["arguments"]]
    os.execve(plan["program"], arguments, {**os.environ, **plan["environment"]})


if __name__ == "__main__":
    main(sys.argv[1])
