"""A study of one question: what was found, figures and tables, as a page, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from core.metrics.panel import Panel
from reports import page, style, tables
from reports.heat_map import HeatMap, heat_map_figure
from reports.panels import panel_figure
from reports.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with a figure, a table, or both; the table's first row is its header."""

    heading: str
    text: str = ""
    panel: Panel | HeatMap | None = None
    table: Table = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """The answer to one question.

    kind: a word for the page's head, such as "Miss-ratio curve". data: what the JSON file holds
    beside the text, ready for `json`.
    """

    kind: str
    title: str
    answer: str
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    data: dict[str, Any] = field(default_factory=dict)


def files(exhibit: Exhibit, name: str) -> dict[str, bytes]:
    """Return the files of *exhibit* by path: NAME.html, .md, .json and its figures.

    Equal exhibits give equal bytes.
    """
    content: dict[str, bytes] = {}
    drawn = []
    for number, section in enumerate(exhibit.sections):
        inlined = ""
        if section.panel is not None:
            figure = _figure(section.panel)
            svg = style.svg(figure)
            content[f"figures/{section.panel.name}.svg"] = svg
            content[f"figures/{section.panel.name}.png"] = style.png(figure)
            inlined = style.inline(figure, svg, name=page.letters(number))
        drawn.append((section, Markup(inlined)))
    html = page.ENVIRONMENT.get_template("exhibit.html.j2").render(
        exhibit=exhibit, sections=drawn, colours=style.COLOURS
    )
    content[f"{name}.html"] = html.encode()
    content[f"{name}.md"] = markdown(exhibit).encode()
    data = {
        "kind": exhibit.kind, "title": exhibit.title, "answer": exhibit.answer, **exhibit.data,
        "notes": list(exhibit.notes),
    }  # fmt: skip
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    content[f"{name}.json"] = f"{text}\n".encode()
    return content


def _figure(drawn: Panel | HeatMap) -> Figure:
    return heat_map_figure(drawn) if isinstance(drawn, HeatMap) else panel_figure(drawn)


def markdown(exhibit: Exhibit) -> str:
    """Return *exhibit* as Markdown without images, for the summary of a CI job."""
    say = tables.escape
    parts = [f"# {say(exhibit.title)}\n", f"{say(exhibit.answer)}\n"]
    for section in exhibit.sections:
        parts.append(f"## {say(section.heading)}\n")
        if section.panel is not None:
            parts.append(f"{say(section.panel.finding)}\n")
        if section.text:
            parts.append(f"{say(section.text)}\n")
        if len(section.table) > 1:
            parts.append(tables.markdown(section.table, left=1))
    if exhibit.facts:
        parts += ["## Facts\n", tables.markdown([("what", "value"), *exhibit.facts])]
    if exhibit.notes:
        parts += ["## Notes\n", "".join(f"- {say(note)}\n" for note in exhibit.notes)]
    return "\n".join(parts)
