"""The walk of docs/import-log.md: its commands print what the page says."""

from __future__ import annotations

import re
import shlex
from contextlib import chdir
from pathlib import Path

import pytest

from bench import logs
from scenarios.intake.rules import parse_rule
from tests.conftest import ROOT
from tests.edgeproof.commands import called

TEXT = Path(ROOT, "docs", "import-log.md").read_text(encoding="utf-8")


def test_the_walk_from_a_log_to_a_plan_for_8x_prints_what_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk = TEXT.partition("## A walk")[2].partition("\n## ")[0]
    (made,) = re.findall(r"```sh\npython -m bench\.logs (.*?)\n```", walk)
    with chdir(tmp_path):
        assert logs.main(shlex.split(made)) == 0
    capsys.readouterr()
    steps = re.findall(r"```sh\nedgeproof (.*?)\n```\n\n```text\n(.*?)```", walk, re.DOTALL)
    assert len(steps) == 3
    for command, printed in steps:
        done = called(*shlex.split(command), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == printed
    assert "PASS: All" in steps[2][1]
    (again,) = re.findall(r"```\nedgeproof (import log .*?)\n```", TEXT)
    assert called(*shlex.split(again), cwd=tmp_path).returncode == 0


def test_rules_of_the_page_are_rules() -> None:
    rules = re.findall(r"^\| `(\S+ = [^`]+)` \|", TEXT, re.MULTILINE)
    assert len(rules) >= 6
    assert [str(parse_rule(text, "the page")) for text in rules] == rules
