"""A service process whose functions are counted: `python -m bench.profiled_worker OUT PLAN`.

At SIGUSR1 it writes the totals of every function so far to OUT, as JSON; `bench.service_profile`
subtracts. Times are CPU time of the thread that ran the function.
"""

from __future__ import annotations

import cProfile
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from core.files import write_whole
from core.service import worker

Taken = tuple[int, int, float]
"""Calls of a function, its calls of C functions, and the seconds of both under the profiler."""

_profiles: list[cProfile.Profile] = []
_CALLS = 5_000
_TIMES = 3


def _begin() -> None:
    profile = cProfile.Profile(time.thread_time)
    _profiles.append(profile)
    profile.enable()


def _begin_in_thread(*_: Any) -> None:
    sys.setprofile(None)
    _begin()


def taken(profiles: Iterable[cProfile.Profile]) -> dict[str, Taken]:
    """Return the totals by "file:function"; the time of C functions counts for their caller."""
    found: dict[str, Taken] = {}
    for profile in profiles:
        for entry in profile.getstats():
            if isinstance(entry.code, str):
                continue
            calls, c_calls, seconds = entry.callcount, 0, entry.inlinetime
            for called in entry.calls or ():
                if isinstance(called.code, str):
                    c_calls += called.callcount
                    seconds += called.inlinetime
            name = f"{entry.code.co_filename}:{entry.code.co_name}"
            before = found.get(name, (0, 0, 0.0))
            found[name] = before[0] + calls, before[1] + c_calls, before[2] + seconds
    return found


def _nothing() -> None:
    pass


def call_seconds(function: Callable[[], object]) -> float:
    """Return the profiler's cost per call of *function*, in seconds."""
    found = []
    for _ in range(_TIMES):
        started = time.thread_time()
        _repeat(function)
        plain = time.thread_time() - started
        profile = cProfile.Profile(time.thread_time)
        profile.enable()
        _repeat(function)
        profile.disable()
        seconds = sum(entry[2] for entry in taken([profile]).values())
        found.append((seconds - plain) / _CALLS)
    return max(0.0, min(found))


def _repeat(function: Callable[[], object]) -> None:
    for _ in range(_CALLS):
        function()


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM; return the exit code."""
    out = Path(arguments[0])

    def write(*_: Any) -> None:
        _profiles[0].disable()  # this is not part of the measurement
        found = {
            "functions": taken(_profiles),
            "call": call_seconds(_nothing), "c_call": call_seconds(int),
        }  # fmt: skip
        write_whole(out, json.dumps(found))
        _profiles[0].enable()

    signal.signal(signal.SIGUSR1, write)
    threading.setprofile(_begin_in_thread)
    _begin()
    return worker.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
