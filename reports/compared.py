"""Two runs compared, in words, as a table, as Markdown and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.metrics.difference import Change, Difference, Differences
from core.metrics.estimate import Estimate
from core.metrics.kpi import Metric
from core.texts import count_of
from reports import tables, words

SCHEMA_VERSION = 1
HEADER = ("figure", "A", "B", "change", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two runs and how far they lie apart.

    names: of the runs, as the command line named them. sides: what each run is, in a phrase. notes:
    what a reader has to know, such as where the scenarios differ. facts: each side as plain data.
    """

    names: tuple[str, str]
    sides: tuple[str, str]
    found: Differences
    notes: tuple[str, ...] = ()
    facts: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})

    @property
    def outcome(self) -> str:
        """INVALID, WORSE, UNDECIDED, BETTER where a figure is and none is worse, SAME, or
        NOT_COMPARED where no figure could be judged.
        """
        if self.found.invalid:
            return "INVALID"
        if self.found.worse:
            return Change.WORSE.value
        if self.found.undecided:
            return Change.UNDECIDED.value
        if self._better:
            return Change.BETTER.value
        return (Change.SAME if self.found.compared else Change.NOT_COMPARED).value

    @property
    def sentence(self) -> str:
        """What it came to, in one sentence."""
        if self.found.invalid:
            told = [row for row in self.found.rows if row.outcome is Change.INVALID and row.at_ends]
            if told:
                doubtful = words.listed(_names(told))
                return f"A run is invalid: its flaws could change the verdict on {doubtful}."
            return "A run is invalid: its figures prove nothing."
        limit = f"{100 * self.found.limit:g} %"
        number = count_of(len(self.found.compared), "figure")
        if not self.found.compared:
            return "The runs have no figure in common that could be judged."
        if self.found.worse:
            worse = _names(self.found.worse)
            verb = "is" if len(worse) == 1 else "are"
            return (
                f"{words.listed(worse)} {verb} worse in B by more than {limit} (points for ratios)."
            )
        if self.found.undecided:
            names = _names(self.found.undecided)
            whose = "whose interval reaches" if len(names) == 1 else "whose intervals reach"
            return (
                f"No figure is surely worse in B by more than {limit}; undecided: "
                f"{words.listed(names)}, {whose} beyond it."
            )
        text = f"None of {number} is worse in B by more than {limit} (points for ratios)"
        if better := len(self._better):
            return f"{text}, and {better} {'is' if better == 1 else 'are'} better."
        return f"{text}."

    @property
    def _better(self) -> list[Difference]:
        return [row for row in self.found.compared if row.outcome is Change.BETTER]

    @property
    def doubts(self) -> list[str]:
        """The flaws of the runs that change nothing, and that they do not; empty without any."""
        if not self.found.doubts:
            return []
        return [
            *(f"In doubt: {flaw}." for flaw in self.found.doubts),
            f"{self.outcome} holds in spite of this: it is the outcome with the requests in doubt "
            "at their best and at their worst.",
        ]


def _names(rows: Sequence[Difference]) -> list[str]:
    """Return what *rows* are about, a KPI once though it is an endpoint's or a tier's, too."""
    found: dict[str, str] = {}
    for row in rows:
        of_all = row.name.startswith("failed(")
        found.setdefault(row.name if of_all else row.metric.general, row.name)
    return list(found.values())


def figure_of(metric: Metric, estimate: Estimate | None) -> str:
    """Return a figure with its unit and its interval ("24.1 ms (23.4-24.9)"), a dash for None."""
    if estimate is None:
        return words.DASH
    text = words.number(metric, estimate.value)
    ends = (
        words.interval(metric, estimate.value, estimate.interval, text) if estimate.interval else ""
    )
    return f"{text} ({ends})" if ends else text


def change_of(row: Difference) -> str:
    """Return the change of *row* with its interval ("+4.2 % (+1.1 to +7.3)"), a dash for none."""
    if row.change is None:
        return words.DASH
    text = words.signed(row.change, row.metric)
    if row.interval is None:
        return text
    low, high = (words.signed(end, row.metric) for end in row.interval)
    return f"{text} ({low.rpartition(' ')[0]} to {high.rpartition(' ')[0]})"


def verdict_of(row: Difference) -> str:
    """Return the verdict on *row* in words, with its reason where there is one."""
    word, why = row.outcome.value.replace("_", " "), row.why
    if row.outcome is Change.INVALID and row.possible is not None:
        low, high = (words.signed(end, row.metric) for end in row.possible)
        why += f", {low} to {high}"
    return f"{word} ({why})" if why else word


def table(rows: Sequence[Difference]) -> tables.Table:
    """Return the header and a line for each of *rows*."""
    return [
        HEADER,
        *(
            (
                row.name,
                figure_of(row.metric, row.before),
                figure_of(row.metric, row.after),
                change_of(row),
                verdict_of(row),
            )
            for row in rows
        ),
    ]


def basis(found: Differences) -> str:
    """Return what the intervals are, or why there are none."""
    with_interval = [row for row in found.rows if row.interval is not None]
    if not with_interval:
        return (
            "No intervals: at least one side is a single run, so chance is not told from change. "
            "Simulate with replications, or load with --repeat."
        )
    how = (
        "paired, run by run on common random numbers"
        if all(row.is_paired for row in with_interval)
        else "of the difference of two independent means"
    )
    return f"Intervals: 95 %, {how}."


def data(compared: Compared) -> dict[str, Any]:
    """Return what `--json` prints: seconds, bytes and fractions; infinity is written as text."""
    found = compared.found
    return {
        "schema": "edgeproof/comparison",
        "schema_version": SCHEMA_VERSION,
        "outcome": compared.outcome,
        "sentence": compared.sentence,
        "max_regression": found.limit,
        "invalid": list(found.invalid),
        "doubts": compared.doubts,
        "a": {"run": compared.names[0], **compared.facts[0]},
        "b": {"run": compared.names[1], **compared.facts[1]},
        "notes": list(compared.notes),
        "rows": [
            {
                "figure": row.name,
                "kind": row.kind,
                **_side("a", row.before),
                **_side("b", row.after),
                "change": row.change,
                "change_unit": "points" if row.metric.unit == "ratio" else "relative",
                "change_interval": None if row.interval is None else list(row.interval),
                "change_possible": None if row.possible is None else list(row.possible),
                "paired": row.is_paired,
                "outcome": row.outcome.value,
                "why": row.why or None,
            }
            for row in found.rows
        ],
    }


def _side(name: str, estimate: Estimate | None) -> dict[str, Any]:
    if estimate is None:
        return {name: None, f"{name}_interval": None, f"{name}_runs": None}
    ends = estimate.interval
    return {
        name: _number(estimate.value),
        f"{name}_interval": None if ends is None else [_number(end) for end in ends],
        f"{name}_runs": estimate.runs,
    }


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else "Infinity"


SECTIONS = (
    ("kpi", "KPIs"),
    ("endpoint", "Endpoints"),
    ("tier", "Cache reads by tier"),
    ("cost", "Cost on the platform"),
)
"""The kinds of figures in the order in which they are read, with their headings."""


def markdown(compared: Compared) -> str:
    """Return the comparison as Markdown without images, for the summary of a CI job."""
    say = tables.escape
    parts = [
        f"# {compared.outcome.replace('_', ' ')}: A and B compared\n",
        f"{say(compared.sentence)}\n",
        f"A: {say(compared.names[0])} ({say(compared.sides[0])})  \n"
        f"B: {say(compared.names[1])} ({say(compared.sides[1])})\n",
    ]
    if compared.found.invalid:
        parts.append("".join(f"- {say(reason)}\n" for reason in compared.found.invalid))
    if compared.doubts:
        parts.append("".join(f"- {say(line)}\n" for line in compared.doubts))
    for kind, title in SECTIONS:
        rows = [row for row in compared.found.rows if row.kind == kind]
        if rows:
            parts += [f"## {title}\n", tables.markdown(table(rows))]
    parts.append(f"{say(basis(compared.found))}\n")
    if compared.notes:
        parts += ["## Notes\n", "".join(f"- {say(note)}\n" for note in compared.notes)]
    return "\n".join(parts)
