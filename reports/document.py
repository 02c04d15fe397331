"""The only place that writes report files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from core.attribution.account import Account, ChannelRow
from core.attribution.cells import guarded
from core.attribution.study import Study
from core.files import write_whole
from reports import compared as comparing
from reports import failures, latencies, money, page, steps, style
from reports.change import change, drawn_rows
from reports.compared import Compared
from reports.credit import credit, is_drawable
from reports.exhibit import Exhibit, files
from reports.figure import ReportFigure
from reports.figures import FIGURES, draw, installed_figures
from reports.junit import junit
from reports.report import Report
from reports.study_page import study_html
from reports.study_tables import credit_table, parquet, table_csv
from reports.summary import summary

__all__ = ["Report", "write_comparison", "write_exhibit", "write_report", "write_study"]


def write_report(
    folder: Path, report: Report, figures: Sequence[ReportFigure] | None = None
) -> list[Path]:
    """Write *report* into *folder*, which is made if missing, and return the files in order.

    figures: what may be drawn, in the order in which it is read; None for those of edgeproof and
    of installed packages. Raise ValueError if two have one name, and InputError if one has no
    headline or text.

    report.html, report.md, report.json, junit.xml and figures/NAME.svg and .png. Equal reports
    give equal bytes. A file appears whole or not at all.
    """
    drawn = draw(report, (*FIGURES, *installed_figures()) if figures is None else figures)
    svgs = {each.figure.name: style.svg(each.picture) for each in drawn}
    content = {
        "report.html": page.html(report, drawn, svgs).encode(),
        "report.md": page.markdown(report, drawn).encode(),
        "report.json": _json(report).encode(),
        "junit.xml": junit(report),
    }
    for each in drawn:
        name = each.figure.name
        content[f"figures/{name}.svg"] = svgs[name]
        content[f"figures/{name}.png"] = style.png(each.picture)
    return [_write(folder / name, data) for name, data in content.items()]


def write_study(folder: Path, study: Study, *, export: str = "csv") -> list[Path]:
    """Write *study* into *folder*, which is made if missing, and return the files in order.

    report.html; attribution.json, of which `Study.from_json` makes the same study again;
    attribution.csv with the rows of the account; a file of each table in tables/, as *export* says
    csv or parquet; and figures/NAME.svg and .png of what can be drawn. Equal studies give equal
    bytes. Raise InputError if parquet cannot be written.
    """
    account = study.account
    data = json.dumps(study.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    drawn = steps.figures(study)
    if is_drawable(account):
        drawn.insert(0, ("credit", "Credit", credit(account, study.intervals)))
    pictures = [(name, heading, figure, style.svg(figure)) for name, heading, figure in drawn]
    content = {
        "report.html": study_html(study, pictures).encode(),
        "attribution.json": data.encode(),
        "attribution.csv": _csv(account).encode(),
    }
    for table in (*study.tables, *((credit_table(account),) if export == "parquet" else ())):
        if export == "parquet":
            content[f"tables/{table.name}.parquet"] = parquet(table)
        else:
            content[f"tables/{table.name}.csv"] = table_csv(table).encode()
    for name, _, figure, svg in pictures:
        content[f"figures/{name}.svg"] = svg
        content[f"figures/{name}.png"] = style.png(figure)
    return [_write(folder / name, written) for name, written in content.items()]


def write_comparison(folder: Path, compared: Compared) -> list[Path]:
    """Write *compared* into *folder*, which is made if missing, and return the files in order.

    compare.html, compare.md, compare.json, and figures/change.svg and .png where there is a change
    to draw. Equal comparisons give equal bytes.
    """
    picture = change(compared) if drawn_rows(compared.found) else None
    data = json.dumps(comparing.data(compared), indent=2, ensure_ascii=False, allow_nan=False)
    content = {
        "compare.html": page.compared_html(compared, picture).encode(),
        "compare.md": comparing.markdown(compared).encode(),
        "compare.json": f"{data}\n".encode(),
    }
    if picture is not None:
        content["figures/change.svg"] = style.svg(picture)
        content["figures/change.png"] = style.png(picture)
    return [_write(folder / name, drawn) for name, drawn in content.items()]


def write_exhibit(
    folder: Path, exhibit: Exhibit, name: str, more: Mapping[str, bytes] | None = None
) -> list[Path]:
    """Write *exhibit* into *folder*, which is made if missing, and return the files in order.

    NAME.html, NAME.md, NAME.json, figures/PANEL.svg and .png, and *more* by path. Equal exhibits
    give equal bytes.
    """
    content = {**files(exhibit, name), **(more or {})}
    return [_write(folder / path, data) for path, data in content.items()]


def _csv(account: Account) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, [each.name for each in fields(ChannelRow)], lineterminator="\n")
    table.writeheader()
    table.writerows(
        {name: guarded(cell) for name, cell in row.to_json().items()} for row in account.rows
    )
    return text.getvalue()


def _json(report: Report) -> str:
    # The folder may be moved, and equal runs in two folders are equal: it calls itself ".".
    data = {
        **summary(
            report.rows,
            outcome=report.outcome,
            out=".",
            invalid=report.invalid_reasons,
            doubts=report.doubts,
        ),
        "title": report.title,
        "sentence": report.sentence,
        "basis": report.basis,
        "model_verdict": report.model_verdict,
        **failures.data(report.predicted, report.measured),
        **latencies.data(report.predicted, report.measured),
        **money.data(report.predicted, report.measured),
        **({} if report.plan is None else {"plan": report.plan.to_json()}),
        "facts": [{"label": label, "value": value} for label, value in report.facts],
        "notes": report.all_notes,
    }
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    return path
