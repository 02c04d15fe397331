"""The benchmark of the load generator, once through."""

from __future__ import annotations

import re
import sys

import pytest

from bench import generator


def test_a_version_is_loaded_and_its_cost_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    generator.main([sys.executable, "--rates=50", "--seconds=1", "--rounds=1", "--locust"])
    head, ours, theirs = capsys.readouterr().out.splitlines()
    assert head.split() == ["rate/s", "CPU", "us", "p99", "lag", "ms", "sender"]
    rate, cpu, _, python = ours.split()
    assert (rate, python) == ("50", sys.executable)
    assert float(cpu) > 0
    reached = re.fullmatch(r" +50 +(\d+) +-  plain FastHttpUser \(reached (\d+)/s\)", theirs)
    assert reached is not None, theirs
    assert int(reached[1]) > 0
    assert 30 <= int(reached[2]) <= 60


def test_the_highest_rate_is_the_last_one_below_the_limit_of_the_lag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    limits = {"fast": 130.0, "slow": 110.0}

    def send(sender: str, rate: float) -> generator.Sent:
        return generator.Sent(cpu=0.0, lag_p99=0.001 if rate < limits[sender] else 0.1)

    generator.highest(["fast", "slow"], 100.0, send, rounds=3)
    _, fast, slow = capsys.readouterr().out.splitlines()
    assert fast.split() == ["127", "1.000", "fast"]
    assert slow.split() == ["109", "0.863", "slow"]
