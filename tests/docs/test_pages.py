"""Claims about the pages of docs: what they name is there, and the index lists them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCS = Path(ROOT, "docs")
PAGES = [Path(ROOT, "README.md"), *sorted(DOCS.rglob("*.md"))]
ROOMS = "core|sim|scenarios|reports|bench|edgeproof"
PATH = re.compile(rf"\b((?:{ROOMS})/[\w/.-]*(?:/|\.(?:py|toml|sql|json|j2)))(?=[^\w]|$)")


def _anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of *page*, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_path_that_architecture_names_exists() -> None:
    named = set(PATH.findall((DOCS / "architecture.md").read_text(encoding="utf-8")))
    assert len(named) > 50, "the pattern finds no paths"
    assert sorted(path for path in named if not Path(ROOT, path).exists()) == []


def test_architecture_describes_every_room_and_every_word_at_the_root_of_core() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms = {f"`core/{path.parent.name}/`" for path in Path(ROOT, "core").glob("*/__init__.py")}
    words = {f"`core/{path.name}`" for path in Path(ROOT, "core").glob("[a-z]*.py")}
    assert sorted(name for name in rooms | words if name not in text) == []


def test_index_lists_every_page_once() -> None:
    listed = re.findall(r"^\| \[.*?\]\((.*?)\)", (DOCS / "README.md").read_text("utf-8"), re.M)
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert sorted(listed) == sorted({*pages, "decisions/README.md"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    broken = []
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []
