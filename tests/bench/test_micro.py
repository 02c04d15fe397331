"""The micro-benchmarks run, measure and answer, and say how well they measured."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from bench.history import read
from bench.micro import CONFIDENCE, FEWEST_ROUNDS, Precision, Run, figure
from bench.ratio import CUSTOMERS, Ratio, mm1
from edgeproof.benchmarks import lines
from edgeproof.main import main

SUITE = """
calls = []


def slow_at_first():
    if not calls:
        sum(range(4_000_000))
    calls.append(1)


def test_slow_first_call(benchmark):
    benchmark(slow_at_first)


def test_wrong_answer(benchmark):
    assert benchmark(int, "7") == 8


def test_five_rounds(benchmark):
    benchmark.pedantic(sum, args=([1, 2],), rounds=5)


def test_interrupted(benchmark):
    def stop():
        raise KeyboardInterrupt

    benchmark(stop)


def test_never_begun(benchmark):
    benchmark(int, "7")
"""

SCRIPT = """
import sys
from pathlib import Path
import edgeproof.benchmarks as command
from bench import micro
from edgeproof.main import main

run = micro.run_benchmarks
command.run_benchmarks = lambda **options: run(**options, suite=Path(sys.argv[1]))
sys.exit(main(["bench", "run", *sys.argv[2:]]))
"""


def bench_run(
    folder: Path, *arguments: str, suite: Path | None = None
) -> subprocess.CompletedProcess[str]:
    start = ["-m", "edgeproof", "bench", "run"] if suite is None else ["-c", SCRIPT, str(suite)]
    # Under xdist the variables of its workers turn pytest-benchmark off.
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *start, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_benchmarks_of_l1_run_and_leave_their_figures(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = bench_run(tmp_path, "-k", "l1_hit", "--json", str(out), "--max-time", "0.2s")
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
    assert "measuring 2 of 2: bench_cache.py::test_l1_hit_through_the_tiers\n" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_run_keeps_what_was_measured_and_names_the_rest(tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "bench_own.py").write_text(SUITE, encoding="utf-8")
    places = ("--json", "own.json", "--save", "history")
    done = bench_run(tmp_path, *places, "--precision", "0.1%", "--max-time", "0.1s", suite=suite)
    assert done.returncode == 130, done.stderr
    found = {
        line.split("::")[1].split()[0]: line
        for line in done.stdout.splitlines()
        if line.startswith("bench_own.py::")
    }
    assert set(found) == {"test_slow_first_call", "test_five_rounds"}
    assert "%!" in found["test_five_rounds"]
    assert found["test_five_rounds"].endswith(" 5 x 1")
    assert "interrupted; what was written is kept in own.json, history.jsonl" in done.stderr
    assert "FAILED, no figure: bench_own.py::test_wrong_answer\n" in done.stdout
    assert (
        "Interrupted, not measured: bench_own.py::test_interrupted, bench_own.py::test_never_begun"
        in done.stdout
    )
    assert "bench_own.py::test_wrong_answer fails:\n" in done.stderr
    assert 'assert benchmark(int, "7") == 8' in done.stderr
    own = json.loads((tmp_path / "own.json").read_text(encoding="utf-8"))["benchmarks"]
    rounds = {entry["name"]: entry["stats"]["rounds"] for entry in own}
    assert set(rounds) == set(found)
    # A first call of a tenth of a second would leave the fewest rounds.
    assert rounds["test_slow_first_call"] > FEWEST_ROUNDS
    (kept,) = read(tmp_path / "history.jsonl").entries
    assert {one.name.partition("::")[2] for one in kept.benchmarks} == set(found)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["history.jsonl", "own.json", "suite"]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("import nothing_there", 1, "FAILED, no figure: bench_own.py"),
        ("import pytest\ndef test_s(benchmark): pytest.skip('no')", 3, "nothing was measured"),
        ("def pytest_runtest_call(): 1 / 0", 3, "pytest ended by an error of its own"),
    ],
    ids=["not imported", "skipped", "pytest"],
)
def test_run_that_measures_nothing_is_no_success_and_no_interruption(
    text: str, code: int, said: str, tmp_path: Path
) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    own = "def test_a(benchmark): benchmark(int)"
    if text.startswith("def pytest"):
        (suite / "conftest.py").write_text(text.replace("call()", "protocol(item)"))
        text = own
    (suite / "bench_own.py").write_text(text)
    if text.startswith("import nothing"):
        (suite / "bench_other.py").write_text(own)
    done = bench_run(tmp_path, "--max-time", "0.1s", suite=suite)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "nterrupted, not measured" not in done.stdout


def test_name_that_no_benchmark_has_is_bad_input(tmp_path: Path) -> None:
    done = bench_run(tmp_path, "-k", "nothing_of_the_kind")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("edgeproof: -k nothing_of_the_kind: no benchmark's name holds that")
    assert "Traceback" not in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--precision 0", "bench run: --precision 0: is no share"),
        ("--max-time 2", "bench run: --max-time 2: is no time above 0"),
        ("--json nowhere/x.json", "--json nowhere/x.json: cannot be written"),
        ("--json .", "--json .: is a folder; give a file"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    options: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "run", *options.split()]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"edgeproof: {words}")
    assert (shown.out, shown.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("rounds", [*range(6, 40), 997])
def test_interval_of_the_median_is_the_narrowest_that_holds(rounds: int) -> None:
    found = figure("f", [float(number) for number in range(1, rounds + 1)])
    rank = int(found.low)
    assert found.high == rounds + 1 - rank
    for lower, is_enough in ((rank, True), (rank + 1, False)):
        coverage = 1 - 2 * stats.binom.cdf(lower - 1, rounds, 0.5)
        assert bool(coverage >= CONFIDENCE) is is_enough


def test_margin_is_that_of_students_interval() -> None:
    times = [1.0, 1.1, 1.3, 0.9, 1.05]
    found = figure("f", times)
    interval = stats.ttest_1samp(times, 0).confidence_interval(CONFIDENCE)
    assert found.margin == pytest.approx((interval.high - interval.low) / 2 / found.mean)
    assert (found.low, found.high) == (0.9, 1.3)  # of five rounds: their range
    assert figure("f", [1.0]).margin == math.inf


@pytest.mark.parametrize("times", [[], [1.0, 0.0], [1.0, math.nan], [math.inf], [-1.0]])
def test_time_that_is_no_positive_number_is_refused(times: list[float]) -> None:
    with pytest.raises(ValueError, match="f: a time is no positive number"):
        figure("f", times)


RUN = Run(
    figures=(), failed=(), not_measured=(), is_interrupted=False, work=1.0, halves=1.0, line=""
)


def test_each_row_has_its_own_unit_and_a_mark_where_the_margin_was_missed() -> None:
    run = replace(
        RUN,
        figures=(
            figure("near", [88e-6, 88.1e-6] * 50),
            figure("far", [1.0, 2.0, 3.0]),
            figure("tiny", [2.5e-9] * 9),
        ),
        line="The CPU was 9% slower in the second half of this run.",
    )
    found = list(lines(run, Precision(margin=0.01)))
    assert found[0] == run.line
    rows = [line.split() for line in found[2:5]]
    assert [row[:5] for row in rows] == [
        ["near", "88", "µs", "88", "µs"],
        ["far", "2", "s", "2", "s"],
        ["tiny", "2.5", "ns", "2.5", "ns"],
    ]
    assert [("!" in line) for line in found[2:5]] == [False, True, False]
    assert "! ±1 % was asked for and not reached by 1 of 3" in found[5]
    reached = list(lines(replace(run, figures=run.figures[:1]), Precision(margin=0.01)))
    assert reached[-1].endswith("±1 % was asked for and reached by all.")


def test_queue_that_the_simulation_is_compared_with_is_an_m_m_1() -> None:
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
