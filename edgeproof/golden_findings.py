"""What the exact gate says to CI systems where a figure differs from its golden file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.golden import Checked, Difference
from core.texts import count_of
from edgeproof.ci import SUMMARY_ROWS, relative
from reports import tables
from reports.finding import Finding


def findings(checked: Sequence[Checked], gone: Sequence[Path]) -> Iterator[Finding]:
    """Yield what fails, at its line of the golden file where that is in the checkout."""
    for one in checked:
        path = relative(one.subject.golden)
        if one.error:
            yield Finding(
                level="error", severity="critical", check="golden", subject=one.subject.name,
                title=f"{one.subject.name}: no usable golden file", message=one.error, path=path,
            )  # fmt: skip
        lines = _lines(one.subject.golden) if path is not None and one.differences else ()
        for found in one.differences:
            subject = f"{found.scenario}: {found.figure}"
            yield Finding(
                level="error", severity="major", check="golden", subject=subject,
                title=f"{subject} differs", message=str(found), path=path,
                line=_line(found, lines),
            )  # fmt: skip
    for path_of_gone in gone:
        yield Finding(
            level="error", severity="major", check="golden", subject=path_of_gone.stem,
            title=f"{path_of_gone.stem}: its scenario is gone",
            message=f"none of the scenarios checked belongs to {path_of_gone}",
            path=relative(path_of_gone),
        )  # fmt: skip


def summary(checked: Sequence[Checked], gone: Sequence[Path], remedy: str) -> str:
    """Return Markdown for a job summary; *remedy* is the command that accepts the figures."""
    differences = [found for one in checked for found in one.differences]
    errors = [one.error for one in checked if one.error]
    if not (differences or errors or gone):
        return "# ✓ PASS: bench check\n\nEvery simulated figure equals its golden file.\n"
    parts = ["# ✗ FAIL: bench check\n"]
    if differences:
        count = count_of(len(differences), "figure")
        parts.append(f"{count} not as in the golden files. If that is meant: `{remedy}`\n")
        rows = [("scenario", "figure", "was", "is")]
        rows += [
            (found.scenario, found.figure, _value(found, found.before), _value(found, found.after))
            for found in differences[:SUMMARY_ROWS]
        ]
        parts.append(tables.markdown(rows, left=2))
        if left := len(differences) - len(rows) + 1:
            more = count_of(left, "more figure")
            parts.append(f"{more} left out; the log has all of them.\n")
    others = [*errors, *(f"{path.stem}: its scenario is gone" for path in gone)]
    if others:
        parts.append(tables.markdown([("also",), *((text,) for text in others)], left=1))
    return "\n".join(parts)


def _value(found: Difference, value: object) -> str:
    text = "-" if value is None else str(value)
    # Two whole hashes make the table wider than the page, with a column out of sight.
    return f"{text[:12]}…" if found.figure.endswith("_hash") and len(text) > 12 else text


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _line(found: Difference, lines: Sequence[str]) -> int | None:
    mark = f"{json.dumps(found.figure)}:"
    return next((number for number, line in enumerate(lines, 1) if mark in line), None)
