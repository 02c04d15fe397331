"""What a figure of the report is: its name, its words, when it is drawn, and what draws it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from core.errors import InputError
from reports.report import Report

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFigure:
    """One figure of the report.

    name: of its files, figures/NAME.svg and .png. heading: what stands above it. how: how it is
    read, in sentences, or a function that returns them. is_drawn: whether a report has the data
    for it. draw: returns the figure, with a headline of `reports.style.headline`.
    """

    name: str
    heading: str
    how: str | Callable[[Report], str]
    is_drawn: Callable[[Report], bool]
    draw: Callable[[Report], Figure]

    def __post_init__(self) -> None:
        """Raise ValueError for a figure without a usable name, a heading or a text."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"figure {self.name!r}: a name is 1 to 40 of a-z, 0-9 and -, a letter first"
            )
        if not self.heading.strip():
            raise ValueError(f"figure {self.name!r} has no heading")
        if isinstance(self.how, str) and not self.how.strip():
            raise ValueError(f"figure {self.name!r} does not say how it is read; give how")

    def how_to_read(self, report: Report) -> str:
        """Return how the figure of *report* is read; InputError if it does not say so."""
        text = self.how if isinstance(self.how, str) else self.how(report)
        if not text.strip():
            raise InputError(f"figure {self.name!r} does not say how it is read; mend its how")
        return text
