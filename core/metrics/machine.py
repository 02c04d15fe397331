"""How fast this machine is just now, and what this process has used of it."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def fixed_work() -> float:
    """Do a fixed piece of work, about 0.3 ms of pure Python; return the seconds it took."""
    started = time.perf_counter()
    total = 0
    for number in range(4_000):
        total += number * number % 7
    return time.perf_counter() - started


def resident_bytes() -> int:
    """Return this process's resident memory in bytes (its peak where the kernel tells no more)."""
    return _status("VmRSS") or _peak_of_usage()


def peak_resident_bytes() -> int:
    """Return the peak of this process's resident memory since the last `reset_peak`, in bytes."""
    return _status("VmHWM") or _peak_of_usage()


def reset_peak() -> bool:
    """Start the peak of resident memory anew; return whether the kernel could."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def process_cpu_seconds() -> float:
    """Return the CPU time that this process has used, over all its threads."""
    return time.process_time()


def _status(field: str) -> int:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _peak_of_usage() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def description() -> dict[str, str | int]:
    """Return what a run's folder keeps of the host: no name, no address."""
    system = os.uname()
    return {
        "system": f"{system.sysname} {system.release}",
        "machine": system.machine,
        "processors": os.cpu_count() or 1,
    }
