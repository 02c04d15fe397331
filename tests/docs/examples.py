"""The examples of docs/library.md, each with what the page says that it prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parents[2] / "docs" / "library.md"


class Example(NamedTuple):
    """The example of one section of the page."""

    title: str
    source: str
    printed: str


EXAMPLES = tuple(
    Example(*found)
    for found in re.findall(
        r"^## (.*?)\n.*?```python\n(.*?)```\n\n```text\n(.*?)```",
        PAGE.read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)
