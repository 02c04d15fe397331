"""Claims about figures of one's own: each is drawn with its words, or the lack is an error."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from core.errors import InputError
from core.metrics.kpi import Outcome
from reports import style
from reports.document import write_report
from reports.figure import ReportFigure
from reports.figures import FIGURES
from reports.page import letters
from reports.report import Report
from tests.installed import install
from tests.reports import records

LATE = """
from matplotlib.figure import Figure
from reports import style
from reports.figure import ReportFigure

def _draw(report):
    with style.drawing():
        figure = Figure(figsize=(9.6, 2.4))
        figure.add_axes((0.1, 0.2, 0.8, 0.4)).plot([0, 1], [0, 1])
        style.headline(figure, "Every third is late", "Two points.")
        return figure

FIGURE = ReportFigure(
    name="late", heading="Lateness", how="Read it from left to right.",
    is_drawn=lambda report: report.plan is not None, draw=_draw,
)
"""
ENTRY = "[edgeproof.figures]\nlate = shop_figures:FIGURE\n"


def _report() -> Report:
    """Return the report of a plan, which has one figure of edgeproof's."""
    return Report(
        title="own", rows=[], outcome=Outcome.PASS, plan=records.plan(), kpis=records.KPIS
    )


def _picture(_: Report, *, title: str) -> Figure:
    with style.drawing():
        figure = Figure(figsize=(9.6, 2.0))
        figure.add_axes((0.1, 0.2, 0.8, 0.4)).plot([0, 1], [1, 0])
        style.headline(figure, title, "One line.")
        return figure


def _own(number: int) -> ReportFigure:
    return ReportFigure(
        name=f"own-{number}", heading=f"Own {number}", how=f"How own {number} is read.",
        is_drawn=lambda _: True, draw=partial(_picture, title=f"Finding {number}"),
    )  # fmt: skip


def _plain(page: str) -> str:
    return re.sub(r"\s+", " ", page.replace("\u00a0", " "))


def test_ninth_figure_and_any_further_one_stand_in_every_document(tmp_path: Path) -> None:
    own = [_own(number) for number in range(9)]
    written = write_report(tmp_path, _report(), [*FIGURES, *own])
    page = _plain((tmp_path / "report.html").read_text())
    summary = (tmp_path / "report.md").read_text()
    for number in range(9):
        assert f'<p class="kicker">Own {number}</p>' in page
        assert f'<h2 id="figure-own-{number}">Finding {number}</h2>' in page
        assert f"One line. How own {number} is read." in page
        assert f"- **Own {number}:** Finding {number}\n" in summary
        assert tmp_path / f"figures/own-{number}.svg" in written
        assert (tmp_path / f"figures/own-{number}.png").stat().st_size > 0
    assert page.count("<svg") == 10
    ids = Counter(re.findall(r' id="([^"]+)"', page))
    assert max(ids.values()) == 1


def test_ids_of_any_number_of_figures_begin_with_letters_of_their_own() -> None:
    found = [letters(position) for position in range(800)]
    some = [found[position] for position in (0, 25, 26, 701, 702)]
    assert some == ["a", "z", "aa", "zz", "aaa"]
    assert len(set(found)) == 800


def test_figure_of_an_installed_package_is_drawn_after_those_of_edgeproof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path / "site", module="shop_figures", source=LATE, entry_points=ENTRY)
    write_report(tmp_path / "run", _report())
    page = _plain((tmp_path / "run" / "report.html").read_text())
    assert page.index(">Capacity<") < page.index(">Lateness<")
    assert "Two points. Read it from left to right." in page
    assert "- **Lateness:** Every third is late\n" in (tmp_path / "run" / "report.md").read_text()
    assert (tmp_path / "run" / "figures" / "late.svg").is_file()


@pytest.mark.parametrize(
    ("entry", "source", "words"),
    [
        ("late = shop_figures:FIGURE", "FIGURE = 7", "is 7; it has to be a ReportFigure"),
        ("early = shop_figures:FIGURE", LATE, "it has to be a ReportFigure of that name"),
        (
            "timeline = shop_figures:FIGURE",
            LATE.replace('"late"', '"timeline"'),
            "has the name of a figure of edgeproof",
        ),
        (
            "late = shop_figures:FIGURE",
            LATE.replace('"Read it from left to right."', "lambda _: ' '"),
            "'late' does not say how it is read",
        ),
        (
            "late = shop_figures:FIGURE",
            LATE.replace('style.headline(figure, "Every third is late"', 'print(""'),
            "'late' states no finding; call reports.style.headline",
        ),
    ],
)
def test_figure_that_lacks_something_is_named_and_nothing_is_written(
    entry: str, source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        monkeypatch, tmp_path / "site", module="shop_figures", source=source,
        entry_points=f"[edgeproof.figures]\n{entry}\n",
    )  # fmt: skip
    with pytest.raises(InputError, match=words):
        write_report(tmp_path / "run", _report())
    assert not (tmp_path / "run").exists()


def test_figure_without_a_name_a_heading_or_a_text_cannot_be() -> None:
    own = _own(1)
    wrongs: list[dict[str, Any]] = [{"name": "../x"}, {"name": ""}, {"heading": " "}, {"how": ""}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="figure '"):
            replace(own, **wrong)
    with pytest.raises(ValueError, match="two figures are named 'own-1'"):
        write_report(Path("nowhere"), _report(), [own, own])
