"""docs/traffic.md: its examples are scenarios, and what it says of the shipped storm is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.scenario.file import load_scenario
from scenarios.catalogue import shipped
from tests.conftest import ROOT

PAGE = Path(ROOT, "docs", "traffic.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_part_of_a_scenario(example: str, tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text("time,rate\n00:00,5\n12:00,20\n24:00,5\n")
    path = tmp_path / "x.toml"
    path.write_text(f'name = "x"\nduration = "50s"\n{example}', encoding="utf-8")
    assert load_scenario(path).traffic != load_scenario(shipped()["cold-start"]).traffic


def test_options_of_the_page_change_the_shipped_scenarios() -> None:
    options = re.findall(r"`(?:\.\.\. )?--set (traffic\.[^`]+)`", PAGE)
    assert len(options) >= 4
    for option in options:
        if "day.csv" not in option:
            name = "baseline" if "daily" in option else "retry-storm"
            load_scenario(shipped()[name], overrides=[option])
