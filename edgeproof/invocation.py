"""What the command line was given, and what the running command has written so far."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

_State = frozenset[tuple[str, int, int]]


@dataclass(slots=True)
class Invocation:
    """One run of the command line: its arguments, and the places that it may write to.

    is_github: whether its words go to GitHub's runner, None before that is known. is_told: whether
    CI systems have been told what it came to. files: what options name for CI systems, by option.
    answered: those of them that hold this run's words. goes_on: whether the same command goes on
    where an interrupted one stopped.
    """

    arguments: tuple[str, ...] = ()
    is_github: bool | None = None
    is_told: bool = False
    goes_on: bool = False
    files: dict[str, Path] = field(default_factory=dict)
    answered: set[Path] = field(default_factory=set)
    _ending: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _places: list[tuple[Path, _State, bool]] = field(default_factory=list)

    def on_end(self, close: Callable[[], None]) -> None:
        """Call *close* when the command is over, however it ends."""
        self._ending.callback(close)

    def close(self) -> None:
        """End what the command has left running."""
        self._ending.close()

    def watch(self, place: Path, *, is_new: bool = False) -> None:
        """Remember how *place* is now: a folder, or a database. is_new: made by this command."""
        self._places.append((place, _state(place), is_new))

    def written(self) -> list[Path]:
        """Return the places that hold something else than when they were first watched."""
        return [place for place, before, _ in self._places if _state(place) != before]

    def end_early(self) -> str:
        """Remove the new folders that are empty; return what of the command's work is kept."""
        kept = self.written()
        for place, _, is_new in self._places:
            if is_new and place not in kept:
                with contextlib.suppress(OSError):
                    place.rmdir()
        if not kept:
            return "nothing was written"
        told = f"what was written is kept in {', '.join(map(str, kept))}"
        return f"{told}; the same command goes on there" if self.goes_on else told


CURRENT: ContextVar[Invocation] = ContextVar("invocation")


def begin(arguments: Sequence[str]) -> Invocation:
    """Return the invocation of *arguments*, which is the running one from here on."""
    invocation = Invocation(tuple(arguments))
    CURRENT.set(invocation)
    return invocation


def current() -> Invocation:
    """Return the running invocation; one without arguments where a program calls a command."""
    return CURRENT.get(None) or begin(())


def _state(place: Path) -> _State:
    """Return the files of a folder, or a database with its write-ahead log, as they are now."""
    if place.is_dir():
        files = [path for path in place.rglob("*") if path.is_file()]
    else:
        # An empty log is made by whoever opens the database.
        files = [place, place.with_name(f"{place.name}-wal")]
    found = set()
    for path in files:
        with contextlib.suppress(OSError):
            facts = path.stat()
            if facts.st_size or path.suffix != ".sqlite-wal":
                found.add((str(path), facts.st_size, facts.st_mtime_ns))
    return frozenset(found)
