"""What the exact gate says to CI systems where a figure differs from its golden file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeproof.ci import Ci, relative
from reports import tables, words
from reports.finding import Finding

_MOST_ROWS = 200


def tell_golden(ci: Ci, differences: Sequence[str], folder: Path) -> None:
    """Tell *differences*, lines of `bench.golden.check`, at their lines of the golden files."""
    ci.tell([*_findings(differences, folder)], _summary(differences), otherwise=folder.name,
            as_json=False)  # fmt: skip


def _findings(differences: Sequence[str], folder: Path) -> Iterator[Finding]:
    texts: dict[str, list[str]] = {}
    for text in differences:
        scenario, figure = _parts(text)
        file = folder / f"{scenario}.json"
        path = relative(file)
        if path is not None and scenario not in texts:
            texts[scenario] = file.read_text(encoding="utf-8", errors="replace").splitlines()
        mark = f"{json.dumps(figure)}:"
        numbers = (n for n, line in enumerate(texts.get(scenario, ()), 1) if mark in line)
        yield Finding(
            level="error", severity="major", check="golden", subject=f"{scenario}: {figure}",
            title=f"{scenario}: {figure} differs", message=text, path=path,
            line=next(numbers, None),
        )  # fmt: skip


def _parts(difference: str) -> tuple[str, str]:
    """Return the scenario and the figure of a line such as "NAME: FIGURE was 1, is 2"."""
    scenario, _, rest = difference.partition(": ")
    return scenario, rest.partition(" was ")[0]


def _summary(differences: Sequence[str]) -> str:
    if not differences:
        return "# ✓ PASS: bench check\n\nEvery simulated figure equals its golden file.\n"
    rows = [("scenario", "figure", "was, is")]
    for text in differences[:_MOST_ROWS]:
        scenario, figure = _parts(text)
        rows.append((scenario, figure, text.partition(" was ")[2]))
    parts = [
        f"# ✗ FAIL: bench check\n\n{words.count_of(len(differences), 'figure')} not as in the "
        "golden files. If that is meant: `edgeproof bench accept --reason TEXT`\n",
        tables.markdown(rows, left=2),
    ]
    if left := len(differences) - len(rows) + 1:
        parts.append(f"{words.count_of(left, 'more figure')} left out; the log has all of them.\n")
    return "\n".join(parts)
