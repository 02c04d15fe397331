"""The benchmark of the load generator, once through."""

from __future__ import annotations

import sys

import pytest

from bench import generator


def test_a_version_is_loaded_and_its_cost_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    generator.main([sys.executable, "--rates", "50", "--seconds", "1", "--rounds", "1"])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["rate/s", "CPU", "us", "p99", "lag", "ms", "python"]
    rate, cpu, _, python = line.split()
    assert (rate, python) == ("50", sys.executable)
    assert float(cpu) > 0
