"""Claims about the list of decisions: every page is in it, and both tell the same status."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT

FOLDER = Path(ROOT, "docs", "decisions")
ROW = re.compile(r"^\| \[(\d{4})\]\((\S+\.md)\) \| (.+?) \| (.+?) \| (\d{4}-\d\d-\d\d) \|$", re.M)


def _pages() -> dict[str, str]:
    """Return the text of every decision by its file's name."""
    return {
        page.name: page.read_text(encoding="utf-8")
        for page in sorted(FOLDER.glob("*.md"))
        if page.name != "README.md"
    }


def _rows() -> list[tuple[str, str, str, str, str]]:
    """Return number, file, title, status and date of every row of the list."""
    return ROW.findall((FOLDER / "README.md").read_text(encoding="utf-8"))


def test_every_decision_is_listed_once_with_its_number_and_title() -> None:
    listed = [(number, name, title) for number, name, title, _, _ in _rows()]
    assert listed == [
        (name[:4], name, text.partition("\n")[0].removeprefix("# "))
        for name, text in _pages().items()
    ]


def test_decision_that_another_changed_says_so_and_names_it() -> None:
    pages = _pages()
    for _, name, _, status, _ in _rows():
        changed_by = re.findall(r"\[\d{4}\]\((\S+\.md)\)", status)
        assert bool(changed_by) == status.startswith(("amended by ", "superseded by ")), status
        assert changed_by or status == "accepted", status
        text = pages[name]
        says_so = re.search(r"^\*\*Status\.\*\*.*superseded", text, re.M) is not None
        assert not changed_by or says_so, name
        for other in changed_by:
            assert f"]({other})" in text, f"{name} does not link {other}"
            assert f"]({name})" in pages[other], f"{other} does not link {name}"
