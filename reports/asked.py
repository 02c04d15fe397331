"""What a run was asked for, as the facts of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import words

Facts = list[tuple[str, str]]


def asked_rows(asked: Mapping[str, Any]) -> Facts:
    """Return label and text of what run.json keeps under "asked"; KeyError or TypeError if none."""
    rows = [
        ("Command", str(asked["command"])),
        ("Scenario", f"{asked['scenario']} (hash {asked['scenario_hash']})"),
    ]
    if asked["changes"]:
        rows.append(("Changes", ", ".join(map(str, asked["changes"]))))
    rows.append(("Seed", str(asked["seed"])))
    rows.append(("Rate", _rate(asked)))
    if asked["hosts"]:
        rows.append(("Service", ", ".join(map(str, asked["hosts"]))))
    if asked["trace"] is not None:
        rows.append(("Trace", _trace(asked["trace"])))
    return rows


def _rate(asked: Mapping[str, Any]) -> str:
    highest = asked["highest_stage_rate"]
    source = (
        "the trace's own times"
        if highest is None
        else f"the stages' highest is {words.rate_text(float(highest))}"
    )
    if asked["requests"] is None:
        return source
    number, seconds = int(asked["requests"]), float(asked["seconds"])
    mean = words.rate_text(number / seconds)
    return f"{mean} on average ({number:,} in {seconds:g} s); {source}"


def _trace(trace: Mapping[str, Any]) -> str:
    text = f"{trace['file']} (SHA-256 {trace['sha256']})"
    for name in ("offset", "limit"):
        if trace[name] is not None:
            text += f", {name} {int(trace[name]):,}"
    return text
