"""A service process whose functions are counted: `python -m bench.profiled_worker OUT PLAN`.

At SIGUSR1 it writes what every function has taken so far to OUT, as JSON; `bench.service_profile`
subtracts. Times are CPU time of the thread that ran the function.
"""

from __future__ import annotations

import cProfile
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from core import worker

_profiles: list[cProfile.Profile] = []


def _begin() -> None:
    profile = cProfile.Profile(time.thread_time)
    _profiles.append(profile)
    profile.enable()


def _begin_in_thread(*_: Any) -> None:
    sys.setprofile(None)
    _begin()


def taken() -> dict[str, tuple[int, float]]:
    """Return calls and seconds by "file:function"; what C functions take counts for the caller."""
    found: dict[str, tuple[int, float]] = {}
    for profile in _profiles:
        for entry in profile.getstats():
            if isinstance(entry.code, str):
                continue
            calls, seconds = entry.callcount, entry.inlinetime
            for called in entry.calls or ():
                if isinstance(called.code, str):
                    calls += called.callcount
                    seconds += called.inlinetime
            name = f"{entry.code.co_filename}:{entry.code.co_name}"
            before = found.get(name, (0, 0.0))
            found[name] = before[0] + calls, before[1] + seconds
    return found


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM; return the exit code."""
    out = Path(arguments[0])

    def write(*_: Any) -> None:
        _profiles[0].disable()  # this is no part of what is measured
        new = out.with_suffix(".new")
        new.write_text(json.dumps(taken()), encoding="utf-8")
        new.replace(out)
        _profiles[0].enable()

    signal.signal(signal.SIGUSR1, write)
    threading.setprofile(_begin_in_thread)
    _begin()
    return worker.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
