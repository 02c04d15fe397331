"""The report of an attribution run as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from core.attribution.account import Account
from core.attribution.bootstrap import Intervals
from core.attribution.models import BUILT_IN, DATA_DRIVEN
from core.attribution.study import Cell, Study, Table
from core.texts import count_of
from reports import style, words
from reports.credit import credit_finding, is_drawable
from reports.page import ENVIRONMENT

_SHARES = ("share", "conversion_rate", "removal_effect", "removal_effect_value", "share_value")
_RATIOS = ("auc", "standard_error", "behind_best", "standard_error_of_that")
_BY_MODEL = ("costs", "comparison")
"""Tables with so many rows that one model is shown."""
_HEADINGS = {"cpa": "CPA", "roas": "ROAS", "roi": "ROI", "nulls": "not converted"}
_MONEY = ("value", "cost", "cpa")


def study_html(study: Study, pictures: Sequence[tuple[str, str, Figure, bytes]]) -> str:
    """Return *study* as an HTML page that refers to nothing outside itself.

    pictures: name, heading, figure, and what `style.svg` made of it.
    """
    account = study.account
    drawn = [
        {
            "name": name,
            "heading": heading,
            "finding": words.tied(style.finding(figure)),
            "how": words.tied(style.subtitle(figure)),
            "svg": Markup(style.inline(figure, svg, name="abcdefgh"[place])),
        }
        for place, (name, heading, figure, svg) in enumerate(pictures)
    ]
    by_name = {each["name"]: each for each in drawn}
    fitted = account.fitted
    facts = [("data", study.source)] if study.source else []
    facts += [
        ("conversions", f"{account.attributed:,.6g}"),
        ("value", f"{account.value:,.2f}"),
        ("without a touch", count_of(account.untouched, "conversion")),
    ]
    if fitted is not None:
        facts.append((
            "data_driven",
            f"Markov chain of order {fitted.parameters.order} from "
            f"{count_of(fitted.paths, 'path')}; "
            f"version {fitted.version}",
        ))  # fmt: skip
    facts.append(("parameters", account.parameters.key()))
    sections: list[dict[str, Any]] = [
        {
            "title": title,
            "how": how,
            "figure": None,
            "columns": columns,
            "rows": rows,
            "more": 0,
            "texts": [True, *[False] * len(columns)],
        }
        for title, how, columns, rows in channel_tables(account, study.intervals)
    ]
    if "credit" in by_name:
        sections[0]["figure"] = by_name["credit"]
    sections += [_section(table, by_name.get(table.name), account.models) for table in study.tables]
    return ENVIRONMENT.get_template("attribution.html.j2").render(
        title="Attribution",
        sentence=credit_finding(account) if is_drawable(account) else "No shares to compare",
        colours=style.COLOURS,
        facts=facts,
        notices=[words.printable(notice) for notice in account.notices],
        sections=sections,
    )


def channel_tables(
    account: Account, intervals: Intervals | None
) -> list[tuple[str, str, list[str], list[list[str]]]]:
    """Return title, reading, columns and rows of the channel tables: conversions and value."""
    found = []
    by_place = {(row.model, row.channel): row for row in account.rows}
    first = DATA_DRIVEN if DATA_DRIVEN in account.models else account.models[-1:]
    names = [row.channel for row in account.rows if row.model in first]
    channels = dict.fromkeys((*names, *(row.channel for row in account.rows)))
    for kind in ("conversions", "value"):
        if kind == "value" and not any(row.value for row in account.rows):
            continue
        columns = ["channel", *(model.replace("_", " ") for model in account.models)]
        has_removal = DATA_DRIVEN in account.models
        columns += ["by removal effects"] * has_removal
        has_range = intervals is not None and kind == "conversions"
        columns += ["data driven, 95 %"] * has_range
        rows = []
        for channel in channels:
            cells = [words.printable(channel)]
            for model in account.models:
                row = by_place.get((model, channel))
                cells.append(words.DASH if row is None else _number(kind, getattr(row, kind)))
            if has_removal:
                driven = by_place.get((DATA_DRIVEN, channel))
                part = None if driven is None else getattr(driven, f"removal_{kind}")
                cells.append(_number(kind, part))
            if has_range and intervals is not None:
                cells.append(_range(intervals, channel, account.attributed))
            rows.append(cells)
        how = "Every model shares out every conversion that has a touch, whole."
        if has_removal:
            how += " By removal effects: the total shared out by the effects of the whole chain."
        found.append((kind.capitalize(), how, columns, rows))
    return found or [("Conversions", "No conversion has a touch.", ["channel"], [])]


def _range(intervals: Intervals, channel: str, total: float) -> str:
    if channel not in intervals.channels:
        return words.DASH
    low, high = intervals.credit[intervals.channels.index(channel)].tolist()
    return f"{low * total:,.1f} to {high * total:,.1f}"


def _section(table: Table, figure: dict[str, Any] | None, models: Sequence[str]) -> dict[str, Any]:
    rows, how, names = list(table.rows), table.how, list(table.columns)
    if table.name in _BY_MODEL and len(models) > 1:
        place, focus = names.index("model"), _focus(models)
        rows = [(*row[:place], *row[place + 1 :]) for row in rows if row[place] == focus]
        del names[place]
        how += f" Shown for {focus}; the file has all models."
    shown = rows[: table.shown]
    texts = [any(isinstance(row[place], str) for row in shown) for place in range(len(names))]
    return {
        "title": table.title,
        "how": how,
        "figure": figure,
        "columns": [_HEADINGS.get(name, name.replace("_", " ")) for name in names],
        "texts": texts,
        "rows": [
            [_number(name, cell) for name, cell in zip(names, row, strict=True)] for row in shown
        ],
        "more": len(table.rows) - len(shown),
        "name": table.name,
    }


def shown_table(table: Table, models: Sequence[str]) -> tuple[str, list[tuple[str, ...]]]:
    """Return the title and the cells of *table* as the page shows them."""
    part = _section(table, None, models)
    title = table.title if len(models) == 1 else f"{table.title} ({_focus(models)})"
    if table.name not in _BY_MODEL:
        title = table.title
    return title, [tuple(part["columns"]), *(tuple(cells) for cells in part["rows"])]


def _focus(models: Sequence[str]) -> str:
    """Return the model whose rows are shown where not all fit."""
    if DATA_DRIVEN in models:
        return DATA_DRIVEN
    return next((model for model in reversed(models) if model in BUILT_IN), models[-1])


def _number(column: str, cell: Cell) -> str:
    """Return *cell* as the column shows it."""
    if cell is None:
        return words.DASH
    if isinstance(cell, str):
        return words.printable(cell)
    if column in _SHARES or column == "roi":
        return f"{_rounded(100 * cell, 1):,.1f} %"
    if column in _RATIOS:
        return f"{cell:.4f}"
    if column in _MONEY:
        return f"{_rounded(cell, 2):,.2f}"
    if column in ("roas", "assisted_per_last_click"):
        return f"{cell:,.2f}"
    return f"{cell:,.0f}" if cell == int(cell) else f"{_rounded(cell, 1):,.1f}"


def _rounded(cell: float, digits: int) -> float:
    """Return *cell* rounded, without the sign of a zero."""
    return round(cell, digits) + 0.0
