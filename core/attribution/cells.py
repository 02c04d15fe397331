"""Cells of CSV files that a spreadsheet must not take for formulas."""

from __future__ import annotations

import re

# What OWASP lists under "CSV Injection", the full-width forms included.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_GUARDED = re.compile("'+[=+\\-@\t\r\n＝＋－＠]")


def guarded(cell: object) -> object:
    """Return *cell* as a spreadsheet shows it as text: with an apostrophe before a formula.

    Numbers stay as they are. Text that begins with such an apostrophe itself gets another one, so
    `unguarded` can undo this.
    """
    if isinstance(cell, str) and _FORMULA.match(cell):
        return f"'{cell}"
    return cell


def unguarded(cell: str) -> str:
    """Return the cell that `guarded` was given."""
    return cell[1:] if _GUARDED.match(cell) else cell
