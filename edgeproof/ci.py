"""What a command tells the CI system that it runs in: GitHub's summary and annotations, GitLab's
Code Quality."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from core.errors import InputError
from core.scenario.kpi_lines import kpi_lines
from edgeproof.invocation import Invocation, current
from edgeproof.notices import notice
from reports.finding import Finding, code_quality, inert, workflow_commands
from reports.junit import Case, written

SUMMARY_ROWS = 200
"""Of a table in a job summary; the log has all."""
QUALITY, JUNIT = "--code-quality", "--junit"


def keep_file(
    context: typer.Context, option: typer.CallbackParam, path: Path | None
) -> Path | None:
    """Remember a file for CI systems before any other option can fail."""
    if path is not None:
        current().files[option.opts[0]] = path
    return path


GithubOption = Annotated[
    bool | None,
    typer.Option(
        "--github/--no-github",
        help="Write a job summary and annotations for GitHub Actions. Default: where "
        "GITHUB_ACTIONS is true.",
        rich_help_panel="CI",
    ),
]
QualityOption = Annotated[
    Path | None,
    typer.Option(
        QUALITY,
        metavar="FILE",
        help="Write what fails in GitLab's Code Quality format.",
        rich_help_panel="CI",
        callback=keep_file,
        is_eager=True,
    ),
]
JunitOption = Annotated[
    Path | None,
    typer.Option(
        JUNIT, metavar="FILE", help="Write a JUnit test case for each benchmark.",
        rich_help_panel="CI", callback=keep_file, is_eager=True,
    ),
]  # fmt: skip

MOST_BYTES = 1024 * 1024 - 1
"""Of all that a step writes into its summary; GitHub drops the whole beyond 1 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ci:
    """Where the verdict goes beside the terminal; nowhere by default."""

    is_github: bool = False
    quality: Path | None = None
    junit: Path | None = None

    def line(self, text: str) -> str:
        """Return a line of output that holds others' words so that no runner obeys it."""
        return inert(text) if self.is_github else text

    def tell(
        self, findings: Sequence[Finding], summary: str, *, otherwise: str, as_json: bool
    ) -> None:
        """Write *findings* and the Markdown *summary* where they were asked for.

        Workflow commands go to standard output, with --json to standard error, which GitHub's
        runner reads as well. otherwise: the file of what has none, for GitLab.
        """
        current().is_told = True
        if self.quality is not None:
            write(self.quality, code_quality(findings, otherwise=otherwise))
        if not self.is_github:
            return
        for line in workflow_commands(findings):
            print(line, file=sys.stderr if as_json else sys.stdout, flush=True)
        _summarise(summary)


def on_github() -> bool:
    """Return whether GitHub's runner reads what is printed."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def is_in_ci(environment: Mapping[str, str]) -> bool:
    """Return whether a CI system runs this, where what cannot be measured must not pass."""
    return environment.get("CI", "").lower() not in ("", "0", "false")


def tell_error(invocation: Invocation, text: str) -> str:
    """Annotate what ended a command before it had a verdict, on standard error.

    The files that options name for CI systems hold it, too: one of an earlier run would pass for
    this one's. Return *text* as it may be printed: so that GitHub's runner obeys none of it.
    """
    is_github = on_github() if invocation.is_github is None else invocation.is_github
    line = re.search(r"\(at line (\d+),", text)
    found = Finding(
        level="error", severity="blocker", check="error", subject="edgeproof", title="edgeproof",
        message=text, path=relative(Path(text.partition(": ")[0])),
        line=None if line is None else int(line[1]),
    )  # fmt: skip
    _answer(invocation, found)
    if not is_github:
        return text
    if not invocation.is_told:
        for command in workflow_commands([found]):
            print(command, file=sys.stderr)
    return inert(text)


def interrupted(invocation: Invocation, text: str) -> None:
    """Let the files for CI systems say that a command was interrupted before it had a verdict."""
    found = Finding(
        level="error", severity="blocker", check="interrupted", subject="edgeproof",
        title="interrupted", message=text,
    )  # fmt: skip
    _answer(invocation, found)


def _answer(invocation: Invocation, found: Finding) -> None:
    """Write *found* into each file for CI systems that does not hold this run's words yet."""
    case = Case(
        group="edgeproof", name=found.title, kind="error", type=found.check, message=found.message
    )
    data = {
        QUALITY: lambda: code_quality([found], otherwise="edgeproof"),
        JUNIT: lambda: written([case], name="edgeproof"),
    }
    places = [os.path.realpath(path) for path in invocation.files.values()]
    for option, path in invocation.files.items():
        if path in invocation.answered or places.count(os.path.realpath(path)) > 1:
            continue
        with suppress(InputError):  # the error itself is told; that this is not written is less
            write(path, data[option]())


def chosen_ci(github: bool | None, quality: Path | None = None, junit: Path | None = None) -> Ci:
    """Return what the options and the environment ask for; InputError for a file in no folder."""
    for name, path in ((QUALITY, quality), (JUNIT, junit)):
        if path is None:
            continue
        if path.is_dir():
            raise InputError(f"{name} {path}: is a folder; name a file")
        if not path.parent.is_dir():
            raise InputError(f"{name} {path}: there is no folder {path.parent}; make it first")
    if (
        quality is not None
        and junit is not None
        and os.path.realpath(quality) == os.path.realpath(junit)
    ):
        raise InputError(f"--junit {junit}: is the file of --code-quality, too; name two")
    is_github = on_github() if github is None else github
    current().is_github = is_github
    if is_github and not os.environ.get("GITHUB_STEP_SUMMARY"):
        notice("no job summary is written: GITHUB_STEP_SUMMARY, which names its file, is not set")
    return Ci(is_github=is_github, quality=quality, junit=junit)


def write(path: Path, data: bytes) -> None:
    """Write *data* to a file that an option names; InputError if that cannot be done."""
    try:
        path.write_bytes(data)
        current().answered.add(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name another") from None


def _summarise(text: str) -> None:
    """Append *text* to the step's summary, as much as there is room for."""
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    path = Path(name)
    try:
        # The steps' texts run on; a table or heading needs a line of its own.
        before = path.stat().st_size if path.exists() else 0
        data = fitting(f"\n{text}" if before else text, MOST_BYTES - before)
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        notice(f"GITHUB_STEP_SUMMARY {name}: cannot be written ({error.strerror}); no summary")
        return
    if not data:
        notice("no job summary is written: this step's has no room left (1 MiB)")


def fitting(text: str, room: int) -> bytes:
    """Return *text* in UTF-8, without its last sections where it has more bytes than *room*.

    Empty if not even the first one fits.
    """
    note = "\nThe rest is left out: a step's summary holds at most 1 MiB.\n"
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= room:
        return data
    sections = text.split("\n## ")
    while sections:
        data = ("\n## ".join(sections) + "\n" + note).encode("utf-8", "backslashreplace")
        if len(data) <= room:
            return data
        sections.pop()
    return b""


def place(source: str) -> tuple[str | None, dict[str, int]]:
    """Return the path of a user's scenario within the checkout, and the lines of its KPIs.

    None, and no line, for one that comes with edgeproof, lies elsewhere or cannot be read.
    """
    file = Path(source)
    path = relative(file)
    if path is None:
        return None, {}
    try:
        return path, kpi_lines(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return path, {}


def relative(file: Path) -> str | None:
    """Return *file* as CI systems name it, within the checkout; None if it is no file of it."""
    root = os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR") or "."
    try:
        found = file.resolve(strict=True)
        inside = found.relative_to(Path(root).resolve())
        if found.is_file() and "site-packages" not in inside.parts:
            return inside.as_posix()
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle
        return None
    return None
