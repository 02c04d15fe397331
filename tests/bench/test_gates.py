"""Claims about `bench.gates`: turns, bounds, what is kept, and what the made-up package holds."""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path

import pytest

from bench import gates as command
from bench.gate_peers import LIMITS, UNITS, Failed, Gate, Verdicts, write
from bench.gates import Done, bounds, main, measure, read, table


def gate(name: str, calls: list[tuple[str, str]], *, needs: tuple[str, ...] = ()) -> Gate:
    """Return a gate that reads the slowed version as slower, and notes its calls."""

    def compare(folder: Path, _: str) -> Verdicts:
        calls.append((name, folder.name))
        return {"5 %": "range(2100)" in (folder / "head/subject/__init__.py").read_text()}

    return Gate(name=name, needs=needs, settings=("5 %",), compare=compare)


def test_gates_take_turns_and_the_order_turns_every_round(tmp_path: Path) -> None:
    calls: list[tuple[str, str]] = []
    done: list[Done] = []
    ticks = count()
    both = [gate("a", calls), gate("b", calls)]
    measure(
        tmp_path, both, "python", [], rounds=2, slowdown=0.05, keep=done.append,
        clock=lambda: float(next(ticks)),
    )  # fmt: skip
    first = [("a", "same"), ("a", "slowed"), ("b", "same"), ("b", "slowed")]
    assert calls == [*first, *first[::-1]]
    rows = [line.split(" | ")[2:] for line in table(done, both)][2:]
    assert rows == [["0 of 2", "78%", "2 of 2", "22%", "1 |"]] * 2


def test_a_run_goes_on_where_it_was_left(tmp_path: Path) -> None:
    calls: list[tuple[str, str]] = []
    had = [Done(gate="a", planted=0.0, verdicts={"5 %": False}, seconds=1.0)] * 2
    done: list[Done] = []
    measure(tmp_path, [gate("a", calls)], "python", had, rounds=3, slowdown=0.05, keep=done.append)
    assert sorted(calls) == [("a", "same"), *[("a", "slowed")] * 3]


def test_both_versions_differ_in_the_slowdown_alone(tmp_path: Path) -> None:
    write(tmp_path, 0.05)
    for place in ("base", "head"):
        source = (tmp_path / place / "subject/__init__.py").read_text()
        assert f"range({UNITS if place == 'base' else UNITS * 105 // 100})" in source
        assert (tmp_path / place / "benchmarks/test_subject.py").is_file()
    assert (tmp_path / "asv" / "subject/__init__.py").read_text() == source
    assert LIMITS[0] == 5


@pytest.mark.parametrize(
    ("found", "tried", "low", "high"), [(0, 20, 0.0, 0.139), (20, 20, 0.861, 1.0)]
)
def test_bounds_are_clopper_and_pearson_s(found: int, tried: int, low: float, high: float) -> None:
    assert bounds(found, tried) == pytest.approx((low, high), abs=5e-4)


def test_an_interrupt_keeps_what_is_done_and_a_tool_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[str, str]] = []

    def interrupted(folder: Path, python: str) -> Verdicts:
        if len(calls) == 2:
            raise KeyboardInterrupt
        return known.compare(folder, python)

    known = gate("a", calls)
    here = Gate(name="a", needs=("pytest",), settings=("5 %",), compare=interrupted)
    gone = gate("b", calls, needs=("asv",))
    monkeypatch.setattr(command, "GATES", (here, gone))
    monkeypatch.setattr(command, "versions", lambda _: {"pytest": "9"})
    file = tmp_path / "kept.jsonl"
    options = ["--peers", sys.executable, "--save", str(file)]
    assert main(options) == 130
    told = capfd.readouterr()
    assert "| a | `5 %` | 0 of 1 | 95% | 1 of 1 | 5% |" in told.out
    assert "Interrupted" in told.out
    assert "b: not measured" in told.err
    facts, *lines = map(json.loads, file.read_text().splitlines())
    assert [line["planted"] for line in lines] == [0.0, 0.05]
    with file.open("a") as end:
        end.write('{"gate": "a", "plan')  # cut by the interrupt
    assert len(read(file, facts)) == 2
    assert main([*options, "--slowdown", "0.1"]) == 2
    (line,) = capfd.readouterr().err.splitlines()[-1:]
    assert line.startswith(f"python -m bench.gates: --save {file}: is of another run")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--rounds", "0"], "--rounds 0: at least 1"),
        (["--slowdown", "-1"], "--slowdown -1: is no share"),
        (["--gate", "asv"], "--gate asv: unknown; there are: edgeproof bench compare"),
        (["--peers", "/nowhere/python"], "--peers /nowhere/python: cannot be run"),
    ],
)
def test_bad_input_is_one_line(
    capfd: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"python -m bench.gates: {told}")


def test_a_gate_that_cannot_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(_: Path, __: str) -> Verdicts:
        raise Failed("asv: it broke")

    monkeypatch.setattr(
        command, "GATES", (Gate(name="a", needs=(), settings=("5 %",), compare=fails),)
    )
    assert main(["--peers", sys.executable]) == 2
    assert capfd.readouterr().err.splitlines()[-1] == "python -m bench.gates: asv: it broke"
