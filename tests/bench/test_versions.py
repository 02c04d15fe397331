"""Claims about comparing checkouts: each runs its own code, and what does not run is one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.paired import Ratio
from bench.versions import BLOCK, Version, compared, gate, main, rates, version_of
from core.context import Purpose
from core.streams import Stream

ROOT = Path(__file__).parents[2]


def test_each_version_runs_the_code_of_its_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # A checkout whose simulation says who it is, and goes no further.
    (tmp_path / "sim").mkdir()
    (tmp_path / "core").symlink_to(ROOT / "core")
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    (tmp_path / "sim" / "__init__.py").write_text("raise SystemExit('another simulation')")
    with pytest.raises(ValueError, match="does not run"):
        rates([Version(tmp_path)], rounds=1)
    assert "another simulation" in capfd.readouterr().err


def test_versions_take_turns_and_fields_reach_the_scenario() -> None:
    short = ("duration=3s", "warm_up=1s")
    found = rates([Version(ROOT, short), version_of("@".join([str(ROOT), *short]))], rounds=2)
    assert [len(of_version) for of_version in found] == [2, 2]
    assert all(rate > 0 for of_version in found for rate in of_version)


@pytest.mark.parametrize("arguments", [["/nowhere"], ["/nowhere", "--pairs", "6"]])
def test_what_cannot_be_compared_is_one_line(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_no_round_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        rates([Version(ROOT)], rounds=0)


def test_an_unknown_argument_ends_with_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--at-most", "3", "x"]) == 2
    assert "DIR" in capfd.readouterr().err


class Machine:
    """Two versions on a machine whose speed drifts: the second takes *slowdown* times as long."""

    def __init__(self, slowdown: float) -> None:
        self.slowdown = slowdown
        self.orders: list[bool] = []
        self._draws = random_stream()

    def measure(
        self, versions: Sequence[Version], *, rounds: int, turned: bool
    ) -> list[list[float]]:
        self.orders.append(turned)
        found: list[list[float]] = [[], []]
        process = 1 + 0.01 * (next(self._draws) - 0.5)  # its memory layout, for the whole block
        for _ in range(rounds):
            speed = 10_000 if next(self._draws) < 0.5 else 20_000
            found[0].append(speed * (1 + 0.02 * next(self._draws)))
            found[1].append(speed * (1 + 0.02 * next(self._draws)) * process / self.slowdown)
        return found


def random_stream() -> Iterator[float]:
    for row in Stream(5, Purpose.DATA, width=1024).rows(0, 8):
        yield from row.tolist()


PAIR = (Version(ROOT), Version(ROOT))


@pytest.mark.parametrize(("slowdown", "code"), [(1.0, 0), (1.10, 1)])
def test_a_slowdown_is_told_from_none_on_a_machine_of_two_speeds(
    slowdown: float, code: int
) -> None:
    _, (ratio,) = compared(PAIR, at_least=0.97, measure=Machine(slowdown).measure)
    assert gate([ratio], 0.97) == code
    assert ratio.low < 1 / slowdown < ratio.high
    assert ratio.pairs >= 30


def test_an_undecided_comparison_takes_more_pairs_up_to_the_bound() -> None:
    machine = Machine(1 / 0.97)
    _, (ratio,) = compared(PAIR, pairs=24, most=60, at_least=0.97, measure=machine.measure)
    assert ratio.pairs == 60
    assert gate([ratio], 0.97) == 4
    assert machine.orders == [False, True] * (60 // BLOCK // 2)


def test_a_gate_fails_on_one_slow_version_of_several() -> None:
    def between(low: float, high: float) -> Ratio:
        return Ratio(median=(low + high) / 2, low=low, high=high, pairs=30, blocks=10)

    assert gate([between(0.98, 1.02), between(0.98, 1.0)], 0.97) == 0
    assert gate([between(0.98, 1.02), between(0.90, 0.95)], 0.97) == 1
    assert gate([between(0.98, 1.02), between(0.95, 0.99)], 0.97) == 4
