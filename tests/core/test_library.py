"""Claims about docs/library.md: its examples run as they stand, and print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = Path(ROOT, "docs", "library.md")
EXAMPLES = dict(
    re.findall(
        r"^## (.*?)\n.*?```python\n(.*?```\n\n```text\n.*?)```",
        PAGE.read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)


def test_page_has_an_example_of_each_part() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(EXAMPLES) == text.count("```python") == len(re.findall(r"^## ", text, re.MULTILINE))
    assert [title.partition(":")[0] for title in EXAMPLES] == [
        "An attribution service", "A service that may be killed", "A security service",
        "An orchestrator", "An endpoint of one's own",
    ]  # fmt: skip


@pytest.mark.parametrize("title", EXAMPLES)
def test_example_prints_what_the_page_says(title: str, tmp_path: Path) -> None:
    source, _, printed = EXAMPLES[title].partition("```\n\n```text\n")
    script = tmp_path / "example.py"
    script.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == printed
