"""Claims about docs/library.md; tests/packaging/check_wheel.py runs its examples from the wheel."""

from __future__ import annotations

import re

from tests.docs.examples import EXAMPLES, PAGE


def test_page_has_an_example_of_each_part() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(EXAMPLES) == text.count("```python") == len(re.findall(r"^## ", text, re.MULTILINE))
    assert [example.title.partition(":")[0] for example in EXAMPLES] == [
        "An attribution service", "A service that may be killed", "A cache in three lines",
        "A security service", "An orchestrator", "An endpoint of one's own",
    ]  # fmt: skip
