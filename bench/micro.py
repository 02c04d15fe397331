"""Running the micro-benchmarks of this package with pytest-benchmark."""

from __future__ import annotations

import os
from pathlib import Path

from bench.importing import import_fault
from core.errors import InputError

_BENCHMARKS = Path(__file__).with_name("benchmarks")


def run_benchmarks(*, select: str | None = None, json: str | None = None) -> int:
    """Run the benchmarks whose name holds *select*; return 0, or 1 if one failed.

    *json*: a file for pytest-benchmark's own format. Raise InputError if pytest-benchmark is not
    installed, no benchmark was chosen, or an option cannot be used.
    """
    for name in ("pytest", "pytest_benchmark"):
        if fault := import_fault(name):
            raise InputError(
                f"bench run needs pytest-benchmark; {name} is {fault}: install edgeproof[bench]"
            )
    import pytest  # an extra, and slow to import

    # No settings of the folder around, and no rewriting of what edgeproof has imported already.
    arguments = [
        str(_BENCHMARKS), "-c", os.devnull, "--assert=plain", "-p", "no:cacheprovider", "-q",
        "--benchmark-only",
        "--benchmark-columns=median,iqr,ops,rounds", "--benchmark-sort=name",
        "--import-mode=importlib", "-o", "python_files=bench_*.py", "--rootdir", str(_BENCHMARKS),
    ]  # fmt: skip
    if select:
        arguments += ["-k", select]
    if json:
        arguments += [f"--benchmark-json={json}"]
    code = pytest.main(arguments)
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise InputError(f"-k {select}: no benchmark's name holds that; leave -k out to run all")
    if code == pytest.ExitCode.USAGE_ERROR:
        raise InputError("bench run: pytest cannot use -k or --json as given; see above")
    return min(int(code), 1)
