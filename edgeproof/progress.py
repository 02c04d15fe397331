"""Progress on standard error: a live display on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from reports.words import printable

_LINE_SECONDS = 5.0


class _WithReasons(Progress):
    """A progress bar with lines of text under it."""

    reasons: Sequence[str] = ()

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bars, then the lines, each cut at the terminal's width."""
        yield from super().get_renderables()
        for reason in self.reasons:
            yield Text(printable(reason), overflow="ellipsis", no_wrap=True)


class Display:
    """What a long command tells of itself: one phase at a time, each with a share done."""

    def __init__(self, *, plain: bool, quiet: bool) -> None:
        self._quiet = quiet
        self._is_live = not plain and not quiet and sys.stderr.isatty()
        self._console = Console(stderr=True, highlight=False)
        self._progress = _WithReasons(
            SpinnerColumn(),
            TextColumn("{task.description:<12}", markup=False),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._tasks: dict[str, int] = {}
        self._shown: dict[str, tuple[float, float]] = {}

    @contextmanager
    def open(self) -> Iterator[Display]:
        """Show the display while the context lasts."""
        if self._is_live:
            with self._progress:
                yield self
        else:
            yield self

    def update(
        self, phase: str, share: float, detail: str = "", reasons: Sequence[str] = ()
    ) -> None:
        """Say that *phase* is done to the *share* between 0 and 1, and why requests failed."""
        if self._quiet:
            return
        share = min(max(share, 0.0), 1.0)
        if self._is_live:
            self._progress.reasons = reasons
            if phase not in self._tasks:
                self._tasks[phase] = self._progress.add_task(phase, total=1.0, detail=detail)
            self._progress.update(self._tasks[phase], completed=share, detail=detail)  # type: ignore[arg-type]  # an int is a TaskID
            return
        now = monotonic()
        at, before = self._shown.get(phase, (-_LINE_SECONDS, -1.0))
        is_new = phase not in self._shown
        is_due = now - at >= _LINE_SECONDS and share > before
        if is_new or is_due or (share >= 1.0 and before < 1.0):
            self._shown[phase] = (now, share)
            print(f"{phase}: {100 * share:.0f} %{'  ' + detail if detail else ''}", file=sys.stderr)
            for reason in reasons:
                print(printable(reason), file=sys.stderr)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        if not self._quiet:
            if self._is_live:
                self._console.print(text, markup=False, emoji=False)
            else:
                print(text, file=sys.stderr)
