"""The common part of the command and the plugin: amounts as text, and the run itself."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from edgeproof.paired import table
from edgeproof.paired.comparison import compare
from edgeproof.paired.instructions import Counts, counted, require_valgrind
from edgeproof.paired.request import Prepared, Request, prepared
from edgeproof.paired.result import Comparison, Rules, as_json
from edgeproof.paired.versions import Unusable

_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_LINE_SECONDS = 5.0


def seconds(text: str, name: str) -> float:
    """Return the seconds of `90s`, `5m` or `1h`; Unusable names the option otherwise."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h)", text.strip(), re.ASCII)
    if found is None or float(found[1]) == 0:
        raise Unusable(f"{name} {text}: is no time above 0; write for example 90s or 5m")
    return float(found[1]) * _SECONDS[found[2]]


def share(text: str, name: str) -> float:
    """Return the share of `5%` or `0.05`; Unusable names the option otherwise."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip(), re.ASCII)
    value = float(found[1]) / (100 if found[2] else 1) if found else 0.0
    if not 0.001 <= value <= 10:
        raise Unusable(
            f"{name} {text}: is no share from 0.1% to 1000%; write for example 5% or 0.05"
        )
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The options for showing and judging the result."""

    as_json: bool = False
    strict: bool = False
    with_instructions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A comparison that has ended, with what was compared."""

    found: Comparison
    rules: Rules
    ready: Prepared
    is_strict: bool


def run(
    asked: Request,
    rules: Rules,
    shown: Shown,
    *,
    then: Callable[[Finished], None] | None = None,
    line: Callable[[str], str] = str,
) -> int:
    """Compare, print the result and return the exit code. Raise Unusable or Untrusted.

    Progress goes to standard error. *then* gets the findings after they were printed.
    *line* changes each printed line, for readers that execute some lines.
    """
    if shown.with_instructions:
        require_valgrind()  # fail before minutes are spent
    ready = prepared(asked, _note)
    head = f"base: {ready.base.label}   head: {ready.head.label}"
    for text in (head, f"mode: {ready.mode}", *ready.notes):
        _note(text, line)
    progress = _Progress(line)
    found = compare(ready.task, rules, say=progress.say)
    counts: Counts = {}
    if shown.with_instructions and not found.is_interrupted:
        names = [row.name for row in found.rows]
        deadline = monotonic() + rules.budget
        counts = counted(
            ready.task, names, deadline=deadline, say=lambda text: progress.say(text, 0.0)
        )
    code = found.code(rules, strict=shown.strict)
    if shown.as_json:
        facts = {
            "base": ready.base.label,
            "head": ready.head.label,
            "mode": "one process" if ready.task.is_together else "processes of their own",
            "max_regression": rules.limit,
        }
        print(json.dumps(as_json(found, facts, counts, code=code), allow_nan=False))
    else:
        told = [head, f"mode: {ready.mode}", *table.lines(found, rules, counts)]
        for text in _printable(told):
            print(line(text))
    sys.stdout.flush()
    for fault in found.faults:
        _note(f"edgeproof: {fault}")
    if then is not None:
        then(Finished(found=found, rules=rules, ready=ready, is_strict=shown.strict))
    return code


class _Progress:
    """A line on standard error if there is news, at most every few seconds."""

    def __init__(self, line: Callable[[str], str]) -> None:
        self._at = -_LINE_SECONDS
        self._line = line

    def say(self, text: str, share: float) -> None:
        now = monotonic()
        if now - self._at >= _LINE_SECONDS or share >= 1:
            self._at = now
            _note(text, self._line)


def _note(text: str, line: Callable[[str], str] = str) -> None:
    for printed in _printable([text]):
        print(line(printed), file=sys.stderr, flush=True)


def _printable(lines: Sequence[str]) -> list[str]:
    """Return lines without terminal control characters: the compared project chooses names."""
    return ["".join(c if c.isprintable() else "\ufffd" for c in line) for line in lines]
