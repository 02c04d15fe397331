"""The micro-benchmarks run, measure and answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.ratio import CUSTOMERS, Ratio, mm1


def bench_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeproof", "bench", "run", *arguments]
    # Under xdist the variables of its workers turn pytest-benchmark off.
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PYTEST_")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_benchmarks_of_l1_run_and_leave_their_figures(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = bench_run(tmp_path, "-k", "l1_hit", "--json", str(out))
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    measured = {
        entry["name"]: entry["stats"]["median"]
        for entry in json.loads(out.read_text(encoding="utf-8"))["benchmarks"]
    }
    assert set(measured) == {
        "test_l1_hit_of_the_memory_cache_alone",
        "test_l1_hit_through_the_tiers",
    }
    for name in measured:
        assert name in done.stdout
    assert measured["test_l1_hit_through_the_tiers"] > 0


def test_name_that_no_benchmark_has_is_bad_input(tmp_path: Path) -> None:
    done = bench_run(tmp_path, "-k", "nothing_of_the_kind")
    assert done.returncode == 2
    assert "edgeproof: -k nothing_of_the_kind: no benchmark's name holds that" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_queue_that_the_simulation_is_compared_with_is_an_m_m_1() -> None:
    import math
    import random  # noqa: TID251  # the queue takes one

    import simpy

    waits: list[float] = []
    env = simpy.Environment()
    mm1(env, random.Random(1), CUSTOMERS, waits)
    env.run()
    assert len(waits) == CUSTOMERS
    # rho / (mu - lambda) = 2.33, within about three standard errors of so long a run.
    assert math.fsum(waits) / CUSTOMERS == pytest.approx(0.7 / 0.3, rel=0.12)


def test_ratio_is_the_median_of_the_rounds() -> None:
    found = Ratio(simpy=(100.0, 200.0, 100.0), simulation=(50.0, 50.0, 20.0))
    assert found.median == 0.25
