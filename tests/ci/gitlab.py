"""A player of what GitLab's runner does with a job: extends, variables, rules, script, reports."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.edgeproof.commands import LIMIT_SECONDS, environment


@dataclass(frozen=True, slots=True)
class Played:
    """How a job ended, and the files of its reports by kind."""

    code: int
    out: str
    err: str
    reports: dict[str, list[Path]]


def job(pipeline: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the job of that name with what it extends; tables are merged, lists replaced."""
    own = dict(pipeline[name])
    parent = own.pop("extends", None)
    return own if parent is None else _merged(job(pipeline, parent), own)


def _merged(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    names = dict.fromkeys([*below, *above])
    return {
        n: _merged(below[n], above[n]) if n in below and n in above else {**below, **above}[n]
        for n in names
    }


def started(pipeline: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    """Return the jobs that the rules start where CI has *variables*."""
    known = {**pipeline.get("variables", {}), **variables}
    names = [n for n in pipeline if not n.startswith(".") and "script" in pipeline[n]]
    return [name for name in names if _is_started(job(pipeline, name), known)]


def _is_started(told: Mapping[str, Any], variables: Mapping[str, str]) -> bool:
    for rule in told["rules"]:
        if all(_holds(part.strip(), variables) for part in rule["if"].split("&&")):
            return bool(rule.get("when", "on_success") != "never")
    return False


def _holds(condition: str, variables: Mapping[str, str]) -> bool:
    def value(text: str) -> str:
        return text.strip('"') if text[0] == '"' else variables.get(text.removeprefix("$"), "")

    match = re.fullmatch(r"(\S+)(?: == (\S+))?", condition)
    assert match is not None, condition
    return bool(value(match[1])) if match[2] is None else value(match[1]) == value(match[2])


def play(
    pipeline: Mapping[str, Any],
    name: str,
    workspace: Path,
    *,
    path: str = "",
    variables: Mapping[str, str],
) -> Played:
    """Run the job's script as one shell, and find the files of its reports."""
    told = job(pipeline, name)
    known = {**pipeline.get("variables", {}), **told.get("variables", {}), **variables}
    lines = [*told.get("before_script", ()), *told["script"]]
    done = subprocess.run(
        ["bash", "-c", "set -eo pipefail\n" + "\n".join(lines)],
        cwd=workspace, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=LIMIT_SECONDS,
        env=environment(
            **{key: str(value) for key, value in known.items()}, GITLAB_CI="true", CI="true",
            CI_PROJECT_DIR=str(workspace),
            PATH=os.pathsep.join(filter(None, [path, os.environ["PATH"]])),
        ),
    )  # fmt: skip
    reports = told["artifacts"]["reports"]
    found = {kind: sorted(workspace.glob(pattern)) for kind, pattern in reports.items()}
    return Played(done.returncode, done.stdout, done.stderr, found)
