"""Log lines to standard error; one that repeats is counted instead of written again."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

WINDOW_SECONDS = 10.0
_MOST_KEPT = 256
_Key = tuple[object, ...]


class CountingHandler(logging.StreamHandler[IO[str]]):
    """Writes the first of equal lines to *stream*, and how many followed once a window is over.

    Equal are lines of one logger, level and text before its values are put in, and of an error
    with one type and place. *now*: seconds of a clock.
    """

    def __init__(
        self,
        stream: IO[str],
        *,
        window: float = WINDOW_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream)
        self.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        self._window, self._now = window, now
        self._seen: dict[_Key, _Line] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*, or count it."""
        self.tell()
        key = _key(record)
        if (line := self._seen.get(key)) is not None:
            line.repeats += 1
            return
        if len(self._seen) < _MOST_KEPT:
            # Not the record: its traceback holds all that the failed call did.
            self._seen[key] = _Line(record.name, record.levelno, _text(record), self._now())
        super().emit(record)

    def tell(self, *, at_once: bool = False) -> None:
        """Write how often lines were repeated whose window is over, or all of them at once."""
        now = self._now()
        with self._guarded():
            for key, line in [*self._seen.items()]:
                seconds = now - line.since
                if seconds < self._window and not at_once:
                    continue
                if not line.repeats:
                    del self._seen[key]
                    continue
                times = "once" if line.repeats == 1 else f"{line.repeats:,} times"
                said = f"repeated {times} in {seconds:.0f} s: {line.text}"
                super().emit(logging.LogRecord(line.name, line.level, "", 0, said, None, None))
                line.repeats, line.since = 0, now

    def close(self) -> None:
        """Write what was counted and not yet told."""
        self.tell(at_once=True)
        super().close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()


@dataclass(slots=True)
class _Line:
    name: str
    level: int
    text: str
    since: float
    repeats: int = 0


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage().strip().partition("\n")[0]
    kind = record.exc_info[0] if record.exc_info else None
    return text if kind is None else f"{text}: {kind.__name__}"


def _key(record: logging.LogRecord) -> _Key:
    # asyncio puts the addresses of objects into the lines after the first.
    line = str(record.msg).strip().partition("\n")[0]
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return record.name, record.levelno, line
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = None if trace is None else (trace.tb_frame.f_code, trace.tb_lineno)
    return record.name, record.levelno, line, type(error), place


def log_to_stderr() -> CountingHandler:
    """Let the root logger write warnings and worse to standard error; return its handler."""
    handler = CountingHandler(sys.stderr)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    return handler
