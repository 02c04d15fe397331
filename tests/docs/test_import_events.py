"""The walk of docs/import-events.md: its commands print what the page says, and write its files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.conftest import ROOT
from tests.edgeproof.commands import called

TEXT = Path(ROOT, "docs", "import-events.md").read_text(encoding="utf-8")


def test_the_walk_from_raw_events_to_a_report_prints_what_the_page_says(tmp_path: Path) -> None:
    walk = TEXT.partition("## A walk")[2].partition("\n## ")[0]
    files = re.findall(r"`([\w.-]+\.csv)`.*?:\n\n```csv\n(.*?)```", walk, re.DOTALL)
    assert [name for name, _ in files] == ["shop-events.csv", "costs.csv"]
    for name, text in files:
        (tmp_path / name).write_text(text, encoding="utf-8")
    steps = re.findall(r"```sh\nedgeproof (.*?)\n```.*?```text\n(.*?)```", walk, re.DOTALL)
    assert len(steps) == walk.count("```sh") == 4
    for command, printed in steps:
        done = called(*shlex.split(command), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(printed), done.stdout
    page = (tmp_path / "week" / "report.html").read_text(encoding="utf-8")
    for title in ("Cost and return", "What changed", "Conversions by week", "Time lag"):
        assert f"<h2>{title}</h2>" in page
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    tables = {file.name for file in (tmp_path / "week" / "tables").iterdir()}
    assert {"comparison.csv", "costs.csv", "trend.csv", "paths.csv", "lags.csv"} <= tables
