"""Cells of CSV files that a spreadsheet must not take for formulas."""

from __future__ import annotations

import re

# What OWASP lists under "CSV Injection", the full-width forms included.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_GUARDED = re.compile("'+[=+\\-@\t\r\n＝＋－＠]")


def guarded(cell: object) -> object:
    """Return *cell* so that a spreadsheet shows it as text: an apostrophe stands before a formula.

    Numbers stay as they are. `unguarded` undoes it: text that begins so by itself gets one, too.
    """
    if isinstance(cell, str) and _FORMULA.match(cell):
        return f"'{cell}"
    return cell


def unguarded(cell: str) -> str:
    """Return what `guarded` was given."""
    return cell[1:] if _GUARDED.match(cell) else cell
