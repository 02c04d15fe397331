"""Claims about calibrating: what is counted, and what the counts bound."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgeproof.paired.calibration import Rate, calibrate, lines, subjects
from edgeproof.paired.result import BenchmarkRow, Comparison, Rules
from edgeproof.paired.verdicts import Verdict, Word
from tests.edgeproof.paired.projects import quick


def comparison(
    slowdowns: Sequence[float], *, threshold: float, interrupted: bool = False
) -> Comparison:
    """Return what a gate finds that fails from *threshold* on."""
    rows = tuple(
        BenchmarkRow(
            name=f"benchmarks/test_subject.py::{name}",
            is_regression=slowdown >= threshold,
            verdict=Verdict(
                word=Word.SLOWER if slowdown else Word.SAME, base=1.0, head=1.0 + slowdown,
                ratio=1.0 + slowdown, interval=(1.0, 1.2), processes=8, pairs=80,
            ),
        )
        for name, slowdown in zip(("test_loop", "test_build", "test_short"), slowdowns, strict=True)
    )  # fmt: skip
    return Comparison(
        rows=rows, missing=(), notes=(), is_interrupted=interrupted, seconds=1.0, processes=8
    )


def test_alarms_are_counted_by_suite_and_finds_by_planted_slowdown() -> None:
    asked: list[list[float]] = []

    def compared(slowdowns: Sequence[float]) -> Comparison:
        asked.append([*slowdowns])
        return comparison(slowdowns, threshold=0.05)

    found = calibrate(6, [0.02, 0.05, 0.1], compared, say=lambda _: None, clock=lambda: 0.0)
    assert (found.unchanged.tried, found.unchanged.failed) == (6, 0)
    assert [(r.planted, r.tried, r.failed, r.slower) for r in found.planted] == [
        (0.02, 6, 0, 6), (0.05, 6, 6, 6), (0.1, 6, 6, 6),
    ]  # fmt: skip
    assert asked[0] == [0.0, 0.0, 0.0]
    assert {tuple(one) for one in asked[1::2]} == {
        (0.02, 0.05, 0.1), (0.1, 0.02, 0.05), (0.05, 0.1, 0.02),
    }  # fmt: skip


def test_one_benchmark_that_fails_is_an_alarm() -> None:
    found = calibrate(
        3, [], lambda _: comparison([0.0, 0.0, 0.1], threshold=0.05), say=lambda _: None
    )
    assert (found.unchanged.tried, found.unchanged.failed) == (3, 3)


@pytest.mark.parametrize(
    ("failed", "tried", "at_most", "at_least"),
    [
        (0, 20, 0.1391, 0.0),
        (0, 300, 0.00994, 0.0),
        (20, 20, 1.0, 0.8609),
        (19, 20, 0.99744, 0.7839),
    ],
)
def test_bounds_are_clopper_and_pearson_s(
    failed: int, tried: int, at_most: float, at_least: float
) -> None:
    rate = Rate(0.0, tried=tried, failed=failed)
    assert rate.at_most == pytest.approx(at_most, abs=1e-4)
    assert rate.at_least == pytest.approx(at_least, abs=1e-4)


def test_an_interrupt_keeps_whole_suites() -> None:
    count = 0

    def compared(slowdowns: Sequence[float]) -> Comparison:
        nonlocal count
        count += 1
        return comparison(slowdowns, threshold=0.05, interrupted=count > 4)

    found = calibrate(9, [0.1], compared, say=lambda _: None)
    assert (found.is_interrupted, found.unchanged.tried, found.planted[0].tried) == (True, 2, 2)
    assert "Interrupted" in [*lines(found, Rules())][-1]


def test_versions_that_differ_threefold_are_told_apart(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, tmp_path_factory.mktemp("cache"))
    with subjects(Rules(budget=100.0), apart=False) as compared:
        ratios = {
            row.name.rpartition("::")[2]: row.verdict.ratio
            for row in compared([2.0, 0.0, 0.0]).rows
        }
    assert ratios.keys() == {"test_loop", "test_build", "test_short"}
    assert ratios["test_loop"] > 1.5 * ratios["test_build"]
