"""The figures of the report, and those of one report that there is data for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from core.errors import InputError
from core.extensions import installed, installed_names
from reports import style
from reports.capacity import CAPACITY, capacity
from reports.figure import ReportFigure
from reports.isolate_shares import ISOLATES
from reports.report import Report
from reports.scorecard import SCORECARD, scorecard
from reports.spectrum import SPECTRUM, spectrum
from reports.timeline import TIMELINE, timeline
from reports.tornado import TORNADO

__all__ = ["FIGURES", "GROUP", "Drawn", "capacity", "draw", "installed_figures", "scorecard",
           "spectrum", "timeline"]  # fmt: skip

FIGURES = (SCORECARD, SPECTRUM, TIMELINE, CAPACITY, ISOLATES, TORNADO)
"""The figures that come with edgeproof, in the order in which they are read."""

GROUP = "edgeproof.figures"
"""The entry points through which an installed package adds figures of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A figure of one report: its picture, its finding, and how it is read."""

    figure: ReportFigure
    picture: Figure
    finding: str
    how: str


def installed_figures() -> tuple[ReportFigure, ...]:
    """Return the figures that installed packages add, by name.

    Raise InputError if a package gives something else, or a name that is taken.
    """
    found = []
    for name in installed_names(GROUP):
        figure = installed(GROUP, name)
        if not isinstance(figure, ReportFigure) or figure.name != name:
            raise InputError(
                f"the entry point {name!r} of {GROUP} is {figure!r:.80}; it has to be a "
                "ReportFigure of that name"
            )
        if any(name == known.name for known in FIGURES):
            raise InputError(
                f"the entry point {name!r} of {GROUP} has the name of a figure of edgeproof; "
                "rename it"
            )
        found.append(figure)
    return tuple(found)


def draw(report: Report, figures: Sequence[ReportFigure] = FIGURES) -> list[Drawn]:
    """Return those of *figures* that *report* has the data for, in their order.

    Raise ValueError if two have one name, InputError if one has no headline.
    """
    names = [figure.name for figure in figures]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two figures are named {name!r}; rename one")
    return [_drawn(figure, report) for figure in figures if figure.is_drawn(report)]


def _drawn(figure: ReportFigure, report: Report) -> Drawn:
    picture = figure.draw(report)
    finding = style.finding(picture)
    if not finding:
        raise InputError(
            f"figure {figure.name!r} states no finding; call reports.style.headline on it"
        )
    how = " ".join(filter(None, (style.subtitle(picture), figure.how_to_read(report))))
    return Drawn(figure=figure, picture=picture, finding=finding, how=how)
