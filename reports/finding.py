"""What fails or warns in a verdict, at its place in a user's file, for CI systems to show."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.texts import count_of
from reports import words

Level = Literal["error", "warning"]
Severity = Literal["info", "minor", "major", "critical", "blocker"]
MOST_SHOWN = 10
"""Annotations of a level that GitHub keeps of one step."""
_MOST_OF_MESSAGE = 2_000
_MOST_OF_TITLE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that fails (error) or that a reader should see (warning).

    check: the kind ("kpi"), subject: what it is about ("p95_track"); both are the same in the next
    run of the same thing. path: a file of the user's, relative to the checkout, None if there is
    none; line counts from 1.
    """

    level: Level
    severity: Severity
    check: str
    subject: str
    title: str
    message: str
    path: str | None = None
    line: int | None = None


def workflow_commands(findings: Sequence[Finding]) -> list[str]:
    """Return the lines that make GitHub's runner annotate *findings*.

    It keeps 10 errors and 10 warnings of a step: the last one says how many more there are.
    """
    lines = []
    for level in ("error", "warning"):
        of_level = [finding for finding in findings if finding.level == level]
        kept = of_level if len(of_level) <= MOST_SHOWN else of_level[: MOST_SHOWN - 1]
        lines += [_command(finding) for finding in kept]
        if left := of_level[len(kept) :]:
            names = ", ".join(dict.fromkeys(finding.subject for finding in left))
            title = count_of(len(left), f"more {level}")
            lines.append(f"::{level} title={_property(title)}::{_data(names)}")
    return lines


def _command(finding: Finding) -> str:
    properties = []
    if finding.path is not None:
        properties.append(f"file={_property(finding.path)}")
        if finding.line is not None:
            properties.append(f"line={finding.line}")
    properties.append(f"title={_property(finding.title[:_MOST_OF_TITLE])}")
    return f"::{finding.level} {','.join(properties)}::{_data(finding.message)}"


def _data(text: str) -> str:
    """Return *text* as the message of a command: the runner takes back %25, %0D and %0A."""
    if len(text) > _MOST_OF_MESSAGE:
        text = f"{text[:_MOST_OF_MESSAGE]}…"
    lines = "\n".join(map(words.printable, text.split("\n")))
    return lines.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(words.printable(text)).replace(":", "%3A").replace(",", "%2C")


def inert(text: str) -> str:
    """Return *text* so that GitHub's runner takes none of its lines for a command.

    It obeys a line that begins with `::`, and `##[` anywhere in one.
    """
    return re.sub(r"((?:^|[\r\n])\s*:)(?=:)", r"\1 ", re.sub(r"##(?=\[)", "## ", text))


def code_quality(findings: Sequence[Finding], *, otherwise: str) -> bytes:
    """Return *findings* in the Code Quality format of GitLab.

    otherwise: the path of what has no file of the user's. Fingerprints are those of the next run,
    unless what is found is another check, subject or file: GitLab tells by them what is new.
    """
    taken: set[str] = set()
    entries = []
    for finding in findings:
        path = finding.path or otherwise
        parts = [finding.check, finding.subject, path]
        fingerprint = _fingerprint(parts)
        while fingerprint in taken:
            parts.append("again")
            fingerprint = _fingerprint(parts)
        taken.add(fingerprint)
        told = " ".join(map(words.printable, finding.message.split("\n")))
        entries.append(
            {
                "description": told[:_MOST_OF_MESSAGE],
                "check_name": f"edgeproof/{finding.check}",
                "fingerprint": fingerprint,
                "severity": finding.severity,
                "location": {
                    "path": words.printable(path),
                    "lines": {"begin": finding.line if finding.path and finding.line else 1},
                },
            }
        )
    return json.dumps(entries, indent=2, ensure_ascii=False).encode() + b"\n"


def _fingerprint(parts: Sequence[str]) -> str:
    text = "\0".join(parts).encode("utf-8", "backslashreplace")
    return hashlib.sha256(text).hexdigest()[:32]
