"""The walk of docs/import-events.md: its commands print what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.conftest import ROOT
from tests.edgeproof.commands import called

TEXT = Path(ROOT, "docs", "import-events.md").read_text(encoding="utf-8")


def test_the_walk_from_raw_events_to_credits_prints_what_the_page_says(tmp_path: Path) -> None:
    walk = TEXT.partition("## A walk")[2].partition("\n## ")[0]
    (events,) = re.findall(r"```csv\n(.*?)```", walk, re.DOTALL)
    (tmp_path / "shop-events.csv").write_text(events, encoding="utf-8")
    steps = re.findall(r"```sh\nedgeproof (.*?)\n```.*?```text\n(.*?)```", walk, re.DOTALL)
    assert len(steps) == 2
    for command, printed in steps:
        done = called(*shlex.split(command), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(printed), done.stdout
