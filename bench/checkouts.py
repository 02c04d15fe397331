"""Another checkout of edgeproof, run by this interpreter in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def started_in(folder: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start *code*, a Python program, whose imports are those of the checkout at *folder*.

    The caller talks to it over its standard input and output, as text.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
