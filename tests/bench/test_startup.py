"""Claims about the bench of start-up; its bounds are checked by running it, not here."""

from __future__ import annotations

import pytest

from bench.startup import Start, main, start_ratios


def start(name: str, code: str) -> Start:
    return Start(
        name=name, arguments=("-c", code), yardstick=("-c", "pass"), beside="nothing", at_most=1.4
    )


def test_heavier_start_has_the_higher_ratio() -> None:
    light, heavy = start_ratios([start("light", ""), start("heavy", "sum(range(5_000_000))")], 8)
    assert heavy.median > light.median
    assert (heavy.pairs, heavy.blocks) == (8, 8)


def test_failing_start_is_no_figure() -> None:
    with pytest.raises(ValueError, match=r"ended with 1: ModuleNotFoundError: .*'core.nothing'"):
        start_ratios([start("faulty", "import core.nothing")], 8)


@pytest.mark.parametrize("rounds", ["3", "many"])
def test_rounds_that_decide_nothing_are_refused(
    rounds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([rounds]) == 2
    assert capsys.readouterr().err.count("\n") == 1
