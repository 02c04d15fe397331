"""The walk of docs/capacity-planning.md: its commands print what the page says, and its answer."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT
from tests.docs.walk import steps_of, walk_of

PAGE = "docs/capacity-planning.md"
TEXT = Path(ROOT, PAGE).read_text(encoding="utf-8")
FIGURE = re.compile(r"\d[\d,.]*\d|\d")


def test_the_walk_from_a_log_to_an_answer_prints_what_the_page_says(tmp_path: Path) -> None:
    steps = steps_of(TEXT, tmp_path)
    names = [step.command.split()[1] for step in steps]
    assert names == ["import", "simulate", "simulate", "plan", "size", "sweep", "plan", "curve",
                     "cost"]  # fmt: skip
    for step in steps:
        assert step.printed == step.told, (
            f"{step.command}: python -m tests.docs.walk {PAGE} writes what it prints into the page;"
            " then read the sentences beside it again"
        )
        assert step.code == ("FAIL: " in step.printed), step.command
    printed = "\n".join(step.printed for step in steps)
    (millions,) = re.findall(r"refuse: (\d+) M requests a day", printed)
    (price,) = re.findall(r"^COST: A million requests cost \$([\d.]+)", printed, re.MULTILINE)
    (answer,) = re.findall(r"^> (.*)$", walk_of(TEXT), re.MULTILINE)
    told = set(FIGURE.findall(answer))
    assert len(told) >= 12
    assert told - set(FIGURE.findall(printed)) == {f"{int(millions) * float(price):.0f}"}
