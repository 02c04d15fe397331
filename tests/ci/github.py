"""A player of what GitHub's runner does: steps, expressions, files, commands and its limits."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.edgeproof.commands import LIMIT_SECONDS, environment

SUMMARY_LIMIT = 1024 * 1024
MOST_ISSUES = 10
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Command:
    """A workflow command, as the runner reads it."""

    name: str
    properties: dict[str, str]
    message: str


def commands(text: str) -> list[Command]:
    """Return the commands that the runner obeys in *text*, both of its notations."""
    lines = re.split(r"\r\n|\r|\n", text)
    return [found for line in lines if (found := _command(line)) is not None]


def _command(line: str) -> Command | None:
    stripped = line.lstrip()
    if stripped.startswith("::") and (end := stripped.find("::", 2)) >= 0:
        name, _, rest = stripped[2:end].partition(" ")
        pairs = (part.split("=", 1) for part in rest.strip().split(",") if part)
        properties = {pair[0]: _unescaped(pair[1], ":,") for pair in pairs if len(pair) == 2}
        return Command(name, properties, _unescaped(stripped[end + 2 :], ""))
    if (start := line.find("##[")) >= 0 and (end := line.find("]", start)) >= 0:
        return Command(line[start + 3 : end].partition(" ")[0], {}, line[end + 1 :])
    return None


def _unescaped(text: str, more: str) -> str:
    for mark in f"\r\n{more}%":
        text = text.replace(f"%{ord(mark):02X}", mark)
    return text


@dataclass(slots=True)
class Played:
    """What a job came to."""

    code: int = 0
    out: str = ""
    err: str = ""
    summaries: list[str] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, list[Path]] = field(default_factory=dict)

    @property
    def issues(self) -> list[Command]:
        """The annotations that GitHub shows: ten a level."""
        kept: list[Command] = []
        for found in commands(self.out) + commands(self.err):
            if [one.name for one in kept].count(found.name) < MOST_ISSUES:
                kept.append(found)
        return kept


class Job:
    """One job: its workspace, its contexts, and the steps that were played."""

    def __init__(
        self, workspace: Path, temp: Path, *, path: str = "", contexts: Mapping[str, Any]
    ) -> None:
        self.workspace, self.temp = workspace, temp
        self.temp.mkdir(exist_ok=True)
        self.path = [*path.split(os.pathsep), *os.environ["PATH"].split(os.pathsep)]
        self.contexts: dict[str, Any] = {"steps": {}, **contexts}
        self.played = Played()
        self._number = 0

    def action(self, file: Path, given: Mapping[str, str]) -> None:
        """Play the composite action of *file*; fail for an input that it does not have."""
        action = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert action["runs"]["using"] == "composite"
        assert given.keys() <= action["inputs"].keys()
        inputs = {}
        for name, told in action["inputs"].items():
            assert told["description"]
            assert name in given or not told.get("required"), f"{name} is required"
            inputs[name] = str(given.get(name, told.get("default", "")))
        outer = self.contexts
        self.contexts = {
            "inputs": inputs, "steps": {},
            "github": {**outer.get("github", {}), "action_path": str(file.parent)},
        }  # fmt: skip
        try:
            for step in action["runs"]["steps"]:
                assert step["shell"] == "bash"
                self.step(step)
            self.played.outputs = {
                name: self.resolved(told["value"]) for name, told in action["outputs"].items()
            }
        finally:
            self.contexts = outer

    def step(self, step: Mapping[str, Any]) -> None:
        """Play a step with a script, unless its condition or a failure before it forbids."""
        if not self.is_due(step):
            return
        script = step["run"]
        assert "${{" not in script, "what others write would become a part of the script"
        self._number += 1
        files = {
            f"GITHUB_{name}": self.temp / f"{name.lower()}_{self._number}"
            for name in ("OUTPUT", "PATH", "STEP_SUMMARY", "ENV")
        }
        for file in files.values():
            file.touch()
        place = self.temp / f"script_{self._number}.sh"
        place.write_text(script, encoding="utf-8")
        folder = self.workspace / self.resolved(step.get("working-directory", "."))
        own = {name: self.resolved(str(text)) for name, text in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(place)],
            cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=LIMIT_SECONDS,
            env=environment(
                **own, CI="true", GITHUB_ACTIONS="true", GITHUB_WORKSPACE=str(self.workspace),
                RUNNER_TEMP=str(self.temp), PATH=os.pathsep.join(filter(None, self.path)),
                **{name: str(file) for name, file in files.items()},
            ),
        )  # fmt: skip
        self.played.out += done.stdout
        self.played.err += done.stderr
        self.played.code = self.played.code or done.returncode
        self.path = [*files["GITHUB_PATH"].read_text().split("\n"), *self.path]
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        if "id" in step:
            self.contexts["steps"][step["id"]] = {
                "outputs": dict(line.split("=", 1) for line in lines)
            }
        summary = files["GITHUB_STEP_SUMMARY"].read_bytes()
        assert len(summary) < SUMMARY_LIMIT, "GitHub drops such a summary"
        if summary:
            self.played.summaries.append(summary.decode())

    def is_due(self, step: Mapping[str, Any]) -> bool:
        """Return whether a step runs after what was played."""
        condition = str(step.get("if", "success()"))
        if condition == "always()":
            return True
        return not self.played.code and (condition == "success()" or self.holds(condition))

    def holds(self, condition: str) -> bool:
        """Return what a condition of comparisons with `&&` or `||` comes to."""
        if "||" in condition:
            return any(map(self.holds, condition.split("||")))
        if "&&" in condition:
            return all(map(self.holds, condition.split("&&")))
        match = re.fullmatch(r"\s*(\S+) (==|!=) (\S+)\s*", condition)
        assert match is not None, condition
        left, right = self._value(match[1]), self._value(match[3])
        return (left == right) == (match[2] == "==")

    def resolved(self, text: str) -> str:
        """Return *text* with its expressions replaced."""
        return _EXPRESSION.sub(lambda match: self._value(match[1]), text)

    def _value(self, text: str) -> str:
        if text.startswith("'"):
            return text.strip("'")
        found: Any = self.contexts
        for name in text.split("."):
            if name not in found and text.startswith("steps."):
                return ""  # of a step that set no such output
            found = found[name]
        return str(found)
