"""Running the micro-benchmarks of this package with pytest-benchmark."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from core.errors import InputError

_BENCHMARKS = Path(__file__).with_name("benchmarks")


def run_benchmarks(*, select: str | None = None, json: str | None = None) -> int:
    """Run the benchmarks whose name holds *select*; return pytest's exit code, at most 1.

    *json*: a file for pytest-benchmark's own format. Raise InputError if pytest-benchmark is not
    installed.
    """
    if any(importlib.util.find_spec(name) is None for name in ("pytest", "pytest_benchmark")):
        raise InputError("bench run needs pytest-benchmark; install edgeproof[bench]")
    import pytest  # an extra, and slow to import

    arguments = [
        str(_BENCHMARKS), "-p", "no:cacheprovider", "-q", "--benchmark-only",
        "--benchmark-columns=median,iqr,ops,rounds", "--benchmark-sort=name",
        "--import-mode=importlib", "-o", "python_files=bench_*.py", "--rootdir", str(_BENCHMARKS),
    ]  # fmt: skip
    if select:
        arguments += ["-k", select]
    if json:
        arguments += [f"--benchmark-json={json}"]
    return min(int(pytest.main(arguments)), 1)
