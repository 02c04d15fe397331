"""Claims about the bench of whole commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.commands import in_turns, main

_CHILD = 'python3 -c "sum(range({}))" &\nwait\n'


def checkout(folder: Path, text: str) -> Path:
    program = folder / ".venv" / "bin" / "edgeproof"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{text}")
    program.chmod(0o755)
    return folder


def test_time_of_a_command_is_that_of_its_children_too(tmp_path: Path) -> None:
    light = checkout(tmp_path / "light", _CHILD.format(1))
    heavy = checkout(tmp_path / "heavy", _CHILD.format(20_000_000))
    plans = tmp_path / "cache" / "edgeproof" / "plans"
    plans.mkdir(parents=True)
    (of_light,), (of_heavy,) = in_turns([light, heavy], ["plan"], 1, tmp_path / "cache")
    assert of_heavy > of_light
    assert not plans.exists()


def test_a_missed_kpi_is_a_figure_and_a_refusal_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missed = checkout(tmp_path / "missed", "exit 1\n")
    refuses = checkout(tmp_path / "refuses", "echo unknown >&2; exit 2\n")
    same = [str(missed), str(missed), "--rounds", "1", "--command", "simulate baseline"]
    assert main(same) == 0
    assert "edgeproof simulate baseline: " in capsys.readouterr().out
    assert main([str(missed), str(refuses), "--rounds", "1"]) == 2
    assert capsys.readouterr().err == (
        f"python -m bench.commands: {refuses}: plan baseline ended with 2: unknown\n"
    )
    assert main([str(missed), str(tmp_path / "nothing"), "--rounds", "1"]) == 2
    assert "make the checkout's .venv" in capsys.readouterr().err
