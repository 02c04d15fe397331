"""Paths that are written as lists: by Python, as JSON, or as a database's array."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence

_BRACKETS = {"[": "]", "(": ")", "{": "}"}


def listed(texts: Sequence[str]) -> Mapping[str, list[str]] | None:
    """Return the channels of each of *texts*, None unless every text is a list of names or numbers.

    Lists are "['a', 'b']" and "('a',)" of Python, JSON's '["a", "b"]' and "{a,b}" of PostgreSQL.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        stripped = text.strip()
        if _BRACKETS.get(stripped[:1]) != stripped[-1:]:
            return None
        steps = _steps(stripped)
        if steps is None:
            return None
        found[text] = steps
    return found or None


def _steps(text: str) -> list[str] | None:
    if text.startswith("{"):
        inner = text[1:-1]
        if not inner or any(mark in inner for mark in "{}:\\"):
            return None
        return [step.strip().strip('"') for step in inner.split(",")]
    try:
        steps: object = json.loads(text)
    except ValueError:
        try:
            steps = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(steps, list | tuple) or not steps:
        return None
    is_plain = all(isinstance(step, str | int) and not isinstance(step, bool) for step in steps)
    return [str(step) for step in steps] if is_plain else None
