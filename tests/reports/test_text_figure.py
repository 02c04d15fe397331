"""Claims about figures of letters: scale, marks, and names that cannot break them."""

from __future__ import annotations

import math

import pytest
from markdown_it import MarkdownIt

from core.metrics.verdict import compare
from reports.text_figure import (
    WIDTH,
    Bar,
    Extent,
    code,
    drawn_bars,
    drawn_spans,
    fenced,
    kpi_bars,
    plan_bars,
)
from tests.reports import records


def cells(line: str) -> str:
    """Return the drawn part of a line whose name is "a"."""
    return line.removeprefix("a  ")[: WIDTH + 1]


@pytest.mark.parametrize(
    ("share", "filled", "figure"),
    [
        (0.0, 0, "0 %"), (0.5, 10, "50 %"), (1.0, 20, "100 %"), (0.9996, 20, "99.96 %"),
        (1.0004, 20, "100.04 %"), (1.5, 29, "150 %"), (27.1, 39, "2,710 %"), (math.inf, 39, "∞"),
    ],
)  # fmt: skip
def test_a_bar_is_as_long_as_its_share(share: float, filled: int, figure: str) -> None:
    _, line, *_ = drawn_bars([Bar(name="a", share=share, said="PASS")], what="").splitlines()
    drawn = cells(line)
    assert len(drawn) == WIDTH + 1
    assert drawn.count("█") == filled
    assert drawn[20] == "│"
    assert (drawn[-1] == ">") == (share > 2)
    assert line.removeprefix(f"a  {drawn}").split("  ")[-2].strip() == figure
    assert line.endswith("  PASS")


def test_marks_that_are_drawn_are_explained_and_no_others() -> None:
    text = drawn_bars([Bar(name="a", share=0.5, alert=1.5, predicted=0.7, said="x")], what="")
    drawn = cells(text.splitlines()[1])
    assert (drawn[30], drawn[14]) == ("!", "◇")
    assert text.splitlines()[-1] == "│ target, ! alert, ◇ predicted"
    plain = drawn_bars([Bar(name="a", share=None, said="NOT MEASURED")], what="")
    assert plain.splitlines()[-1] == "│ target"
    assert "█" not in plain


def test_a_report_and_a_plan_have_a_bar_for_each_kpi_and_rate() -> None:
    rows = compare(records.KPIS, records.predicted(), records.measured(slow=50.0))
    lines = kpi_bars(rows).splitlines()
    for kpi, line in zip(records.KPIS, lines[1:], strict=False):
        assert line.startswith(f"{kpi.name} ")
    assert "FAIL (predicted PASS)" in "\n".join(lines)
    plan = records.plan()
    text = plan_bars(plan, records.KPIS)
    assert len(text.splitlines()) == len(plan.points) + 4
    assert "1,320 requests/s" in text
    assert "breaks p95_query" in text


def test_a_span_lies_on_its_side_of_none() -> None:
    spans = [
        Extent(name="slow", value=0.06, interval=(0.05, 0.07), said="SLOWER"),
        Extent(name="fast", value=-0.9, interval=(-0.91, -0.89), said="FASTER"),
        Extent(name="none", value=math.nan, interval=None, said="UNDECIDED"),
        Extent(name="wild", value=9.0, interval=(-math.inf, math.inf), said="UNDECIDED"),
    ]
    head, slow, fast, none, wild, *_ = drawn_spans(spans, limit=0.05, what="").splitlines()
    assert head.split() == ["−50", "%", "0", "+50", "%"]
    middle = 6 + WIDTH // 2
    assert slow.index("●") > middle > fast.index("<")
    assert none[6 : 6 + WIDTH + 1].strip("·│!") == ""
    assert (wild[6], wild[6 + WIDTH]) == ("├", ">")
    assert all(len(line) >= 6 + WIDTH + 1 for line in (slow, fast, none, wild))


NAMES = ["a", "`", "``` x", "<b>&", "a|b", "a\\|b", "\x1b[2J", "a\n\n# b", "$x$ _y_ *z*", "x" * 90]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leaves_its_block_or_its_cell(name: str) -> None:
    figure = drawn_bars([Bar(name=name, share=1.0, said=name)], what="")
    table = f"| a | b |\n| :-- | :-- |\n| {code(name)} | {code(name * 2)} |\n"
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(f"{fenced(figure)}\n{table}")
    assert [t.content for t in tokens if t.type == "fence"] == [f"{figure}\n"]
    kinds = [token.type for token in tokens]
    assert "heading_open" not in kinds
    assert (kinds.count("tr_open"), kinds.count("td_open")) == (2, 2)
    for token in tokens:
        for child in token.children or ():
            assert child.type in ("text", "code_inline", "text_special"), child
