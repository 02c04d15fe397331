"""Standard output of a Locust process that a program reads: progress only, one object a line."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

LOG_FILE = "locust.log"


class Console:
    """Writes lines of JSON to what was stdout; everything else goes to the log."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take_over(cls, folder: Path) -> Self:
        """Send stdout and stderr to locust.log in *folder*, and keep the old stdout."""
        kept = os.dup(1)
        log = os.open(folder / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        return cls(kept)

    def tell(self, progress: Mapping[str, Any]) -> None:
        """Write *progress* as one line; without a reader there is nobody to tell."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, json.dumps(progress).encode() + b"\n")
