"""`edgeproof scenario new`: a file that works as it stands, and overwrites nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.metrics.kpi import Outcome
from core.metrics.verdict import verdicts
from core.scenario.file import load_scenario
from scenarios.catalogue import templates
from sim.simulate import simulate
from tests.edgeproof.commands import called


@pytest.mark.parametrize("like", templates())
def test_a_new_scenario_checks_and_meets_its_kpis(like: str, tmp_path: Path) -> None:
    written = called("scenario", "new", "my.shop.toml", "--like", like, cwd=tmp_path)
    assert (written.returncode, written.stderr) == (0, "")
    assert called("scenario", "check", "my.shop.toml", cwd=tmp_path).returncode == 0
    scenario = load_scenario(tmp_path / "my.shop.toml")
    assert scenario.name == "my.shop"
    record = simulate(scenario, replications=0).record
    assert {v.outcome for v in verdicts(record, scenario.judged())} == {Outcome.PASS}
    text = (tmp_path / "my.shop.toml").read_text()
    assert not re.search("NAME|FILE", text)
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("like", templates())
def test_what_is_commented_out_works_too(like: str, tmp_path: Path) -> None:
    text = templates()[like].read_text()
    lines = [re.sub(r"^# (?=\[\[|\w+ = )", "", line) for line in text.splitlines()]
    (tmp_path / "all.toml").write_text("\n".join(lines))
    assert load_scenario(tmp_path / "all.toml").faults


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text("mine")
    ended = called("scenario", "new", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "scenario.toml: is there already" in ended.stderr
    assert (tmp_path / "scenario.toml").read_text() == "mine"


def test_a_dash_prints_it_and_an_unknown_kind_is_one_line(tmp_path: Path) -> None:
    assert 'name = "scenario"' in called("scenario", "new", "-", cwd=tmp_path).stdout
    ended = called("scenario", "new", "--like", "nothing", "x.toml", cwd=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert [*tmp_path.iterdir()] == []
