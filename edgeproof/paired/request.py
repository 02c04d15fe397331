"""The way from a command line to the request to workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgeproof.paired.environments import environment
from edgeproof.paired.processes import Task
from edgeproof.paired.requirements import distribution, needs
from edgeproof.paired.versions import Unusable, Version, cache_folder, find_version, mark_used, tidy

OWN_SUITE = "bench/benchmarks"
"""Of this project, compared where no suite is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The versions and selections to compare, as texts from a command line."""

    base: str
    head: str | None
    project: Path
    suite: tuple[str, ...]
    paths: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    same_suite: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The request to workers, and its description for the reader."""

    task: Task
    base: Version
    head: Version
    mode: str
    notes: tuple[str, ...]


def prepared(asked: Request, say: Callable[[str], None]) -> Prepared:
    """Find both versions and the environments that they need. Raise Unusable with the remedy."""
    if any(find_spec(name) is None for name in ("pytest", "pytest_benchmark")):
        raise Unusable("pytest-benchmark is not installed; install edgeproof[bench]")
    cache = cache_folder()
    try:
        base = find_version(asked.base, asked.project, cache)
        head = find_version(asked.head, asked.project, cache)
        for version in (base, head):
            mark_used(cache / "compiled" / version.identity)
        tidy(cache)
    except OSError as error:
        raise Unusable(
            f"{error.filename or cache}: {error.strerror}; set XDG_CACHE_HOME to a folder with room"
        ) from None
    if base.root == head.root:
        raise Unusable(f"{asked.base}: both versions are {base.root}; name two")
    suites = [_suite(asked, version) for version in (base, head)]
    if asked.same_suite:
        suites[0] = suites[1]
    for version, suite in ((head, suites[1]), (base, suites[0])):
        if not suite:
            raise Unusable(
                f"{version.label}: has no {' or '.join(asked.suite)}; name the benchmarks with "
                "--suite"
                + ", or run the head's on both versions with --same-suite"
                * bool(suites[1])
            )
    needed = needs(base, head)
    task = Task(
        project=asked.project,
        worlds=(
            _world("base", base, suites[0], asked, cache),
            _world("head", head, suites[1], asked, cache),
        ),
        pythons=(environment(needed.base, cache, say), environment(needed.head, cache, say)),
        paths=asked.paths,
        options=asked.options,
        shared_suites=tuple(str(path.resolve()) for path in _shared(asked, suites, base, head)),
        distributions=tuple(
            name for version in (base, head) if (name := distribution(version)) is not None
        ),
        is_together=not needed and not asked.apart,
    )
    return Prepared(
        task=task, base=base, head=head, mode=_mode(asked, needed.base, needed.head),
        notes=(*base.notes, *head.notes),
    )  # fmt: skip


def _mode(asked: Request, of_base: Sequence[str], of_head: Sequence[str]) -> str:
    if of_base or of_head:
        told = "; ".join(
            f"{side} with {', '.join(needed)}"
            for side, needed in (("base", of_base), ("head", of_head))
            if needed
        )
        return f"in processes of their own, in turns: their dependencies differ ({told})"
    if asked.apart:
        return "in processes of their own, in turns, as --apart asks"
    return "both in one process, in turns: the installed packages suit both"


def _suite(asked: Request, version: Version) -> tuple[str, ...]:
    """Return the paths of the benchmarks of *version*: its own, or the ones outside of it."""
    found = []
    for text in asked.suite:
        name, separator, test = text.partition("::")
        place = Path(os.path.abspath(asked.project / Path(name).expanduser()))
        if place.is_relative_to(asked.project):
            own = version.root / place.relative_to(asked.project)
            if not own.exists() and version.kind != "wheel":
                continue
            place = own if own.exists() else place
        if not place.exists():
            raise Unusable(f"--suite {text}: there is no such file or folder")
        found.append(f"{place}{separator}{test}")
    return tuple(found)


def _shared(
    asked: Request, suites: Sequence[Sequence[str]], base: Version, head: Version
) -> list[Path]:
    """Return the folders of benchmarks that both versions may load from outside of themselves."""
    found = []
    for version, suite in ((base, suites[0]), (head, suites[1])):
        for text in suite:
            path = Path(text.partition("::")[0])
            if not path.resolve().is_relative_to(version.root):
                found.append(path if path.is_dir() else path.parent)
    return found


def _world(
    name: str, version: Version, suite: Sequence[str], asked: Request, cache: Path
) -> dict[str, object]:
    first = Path(suite[0].partition("::")[0])
    inside = next(
        (root for root in (version.root, asked.project) if first.is_relative_to(root)), None
    )
    return {
        "name": name,
        "root": str(version.root.resolve()),
        "suite": list(suite),
        # Same names for the same benchmarks, whatever the settings of each version.
        "rootdir": str(inside or (first if first.is_dir() else first.parent)),
        "compiled": str(cache / "compiled" / version.identity),
    }
