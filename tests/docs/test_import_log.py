"""The walk of docs/import-log.md: its commands print what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from scenarios.intake.rules import parse_rule
from tests.conftest import ROOT
from tests.docs.walk import steps_of
from tests.edgeproof.commands import called

TEXT = Path(ROOT, "docs", "import-log.md").read_text(encoding="utf-8")


def test_the_walk_from_a_log_to_a_plan_for_8x_prints_what_the_page_says(tmp_path: Path) -> None:
    steps = steps_of(TEXT, tmp_path)
    assert [step.command.split()[1] for step in steps] == ["import", "plan", "simulate"]
    for step in steps:
        assert step.printed == step.told, "python -m tests.docs.walk docs/import-log.md writes it"
        assert step.code == 0
    assert "PASS: All" in steps[2].told
    (again,) = re.findall(r"```\nedgeproof (import log .*?)\n```", TEXT)
    assert called(*shlex.split(again), cwd=tmp_path).returncode == 0


def test_rules_of_the_page_are_rules() -> None:
    rules = re.findall(r"^\| `(\S+ = [^`]+)` \|", TEXT, re.MULTILINE)
    assert len(rules) >= 6
    assert [str(parse_rule(text, "the page")) for text in rules] == rules
