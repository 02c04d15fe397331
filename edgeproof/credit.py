"""What a command says of an account of credit: tables, the finding, and the folder of its files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from core.attribution.account import Account
from core.attribution.bootstrap import Intervals
from core.attribution.models import DATA_DRIVEN
from core.attribution.study import Study
from core.texts import count_of
from edgeproof.finish import show_table
from edgeproof.runs import new_folder

STUDY = "attribution.json"
"""The file of a folder that holds a study."""
_DECIMALS = {"conversions": 1, "value": 2}


def show_study(
    study: Study, out: Path | None, *, plain: bool, as_json: bool, export: str = ""
) -> None:
    """Print the study, then write its files unless only JSON on standard output is wanted."""
    folder = None if as_json and out is None else new_folder(out, "attribution")
    redraw_study(study, folder, plain=plain, as_json=as_json, export=export)


def redraw_study(
    study: Study, folder: Path | None, *, plain: bool, as_json: bool, export: str = ""
) -> None:
    """Print the study, then write its files into *folder*, if there is one."""
    if as_json:
        print(json.dumps(study.to_json(), allow_nan=False))
    else:
        _print(study, plain=plain)
    sys.stdout.flush()  # whatever becomes of the files
    if folder is None:
        return
    from reports.document import write_study  # matplotlib is a third of a command's start

    write_study(folder, study, export=export or "csv")
    if not as_json:
        shown = folder / "figures" / "credit.png"
        if shown.exists():
            print(f"Plot: {shown}")
        print(f"Report: {folder / 'report.html'}")


def check_parquet() -> None:
    """Raise InputError if Parquet cannot be written."""
    from reports.study_tables import check_parquet as check

    check()


def _print(study: Study, *, plain: bool) -> None:
    from reports.credit import credit_finding, is_drawable, undrawn
    from reports.study_page import shown_table

    account, intervals = study.account, study.intervals
    for title, rows in tables(account, intervals):
        print(f"{title}:")
        show_table(rows, plain=plain)
        print()
    for name in ("holdout", "costs", "comparison"):
        table = study.table(name)
        if table is not None:
            title, rows = shown_table(table, account.models)
            print(f"{title}:")
            show_table(rows, plain=plain)
            print()
    if is_drawable(account):
        print(credit_finding(account))
    if account.fitted is not None:
        fitted = account.fitted
        print(
            f"data_driven: Markov chain of order {fitted.parameters.order} from "
            f"{count_of(fitted.paths, 'path')}, {fitted.conversions:,.6g} of them converting; "
            f"version {fitted.version}"
        )
    for notice in account.notices:
        print(f"Notice: {notice}")
    if is_drawable(account) and (boxes := undrawn(account)):
        more = f" and of {len(boxes) - 1} more" if len(boxes) > 1 else ""
        print(f"Notice: the plot's font lacks letters of {boxes[0]}{more}; it draws boxes for them")


def tables(
    account: Account, intervals: Intervals | None = None
) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Return the tables of conversions and of value, a row per channel and a column per model."""
    by_place = {(row.model, row.channel): row for row in account.rows}
    # Those of the last model first; data_driven may have one that stands for all rare ones.
    names = [row.channel for row in account.rows if row.model == account.models[-1]]
    channels = dict.fromkeys((*names, *(row.channel for row in account.rows)))
    has_removal = DATA_DRIVEN in account.models
    found = []
    for title, kind in (("Conversions", "conversions"), ("Value", "value")):
        if kind == "value" and not account.value:
            continue
        header = ["channel", *account.models]
        if has_removal:
            header.append("removal")
        if intervals is not None and kind == "conversions":
            header.append("data_driven 95 %")
        rows = [tuple(header)]
        for channel in channels:
            placed = [by_place.get((model, channel)) for model in account.models]
            cells = [channel]
            cells += ["" if row is None else _amount(getattr(row, kind), kind) for row in placed]
            if has_removal:
                row = by_place[DATA_DRIVEN, channel]
                part = getattr(row, f"removal_{kind}")
                cells.append("" if part is None else _amount(part, kind))
            if "data_driven 95 %" in header:
                cells.append(_range(account, intervals, channel))
            rows.append(tuple(cells))
        total = account.attributed if kind == "conversions" else account.value
        is_left_out = has_removal and rows[-1][len(account.models) + 1] == ""
        columns = len(account.models) + has_removal - is_left_out
        padding = ("",) * (len(header) - 1 - columns)
        rows.append(("total", *(_amount(total, kind),) * columns, *padding))
        found.append((title, rows))
    return found


def _range(account: Account, intervals: Intervals | None, channel: str) -> str:
    if intervals is None or channel not in intervals.channels:
        return ""
    shares = intervals.credit[intervals.channels.index(channel)].tolist()
    return " to ".join(_amount(share * account.attributed, "conversions") for share in shares)


def _amount(value: float, kind: str) -> str:
    """Return *value* with the decimals of its kind, or with the two digits that say most of it."""
    decimals = _DECIMALS[kind]
    if 0 < abs(value) < 10.0 ** (1 - decimals):
        return f"{value:.2g}"
    return f"{value:,.{decimals}f}"
