"""Claims about the log: a line is written once, and then how often it was repeated."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from types import TracebackType

import pytest

from core.clock import ManualClock
from core.service.repeats import CountingHandler


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that the tests move."""
    return ManualClock()


class Log:
    """A logger with a counting handler, and what was written."""

    def __init__(self, clock: ManualClock) -> None:
        self.stream = io.StringIO()
        self.handler = CountingHandler(self.stream, window=10.0, now=clock.now)
        self.logger = logging.Logger("a-test")
        self.logger.addHandler(self.handler)

    def taken(self) -> list[str]:
        """Return the lines that were written since this was asked last."""
        lines = self.stream.getvalue().splitlines()
        self.stream.seek(0)
        self.stream.truncate()
        return lines


@pytest.fixture
def log(clock: ManualClock) -> Log:
    """Return a log of its own."""
    return Log(clock)


def test_line_that_repeats_is_written_once_and_then_counted(log: Log, clock: ManualClock) -> None:
    for number in range(313):
        log.logger.warning("%d connections were refused", number)
    log.logger.warning("something else")
    assert log.taken() == ["WARNING: 0 connections were refused", "WARNING: something else"]
    clock.advance(9.9)
    log.handler.tell()
    assert log.taken() == []
    clock.advance(0.1)
    log.handler.tell()
    assert log.taken() == ["WARNING: repeated 312 times in 10 s: 0 connections were refused"]


def test_flood_goes_on_being_counted_and_a_line_after_silence_is_new(
    log: Log, clock: ManualClock
) -> None:
    log.logger.warning("again")
    for _ in range(3):
        log.logger.warning("again")
        log.logger.warning("again")
        clock.advance(10)
        log.handler.tell()
    repeated = "WARNING: repeated 2 times in 10 s: again"
    assert log.taken() == ["WARNING: again", repeated, repeated, repeated]
    clock.advance(10)
    log.handler.tell()
    log.logger.warning("again")
    assert log.taken() == ["WARNING: again"]


def test_next_line_tells_of_those_before_without_a_timer(log: Log, clock: ManualClock) -> None:
    log.logger.warning("again")
    log.logger.warning("again")
    clock.advance(11)
    log.logger.error("other")
    assert log.taken() == [
        "WARNING: again", "WARNING: repeated once in 11 s: again", "ERROR: other",
    ]  # fmt: skip


def failing(fault: Callable[[], object]) -> tuple[type[Exception], Exception, TracebackType | None]:
    try:
        fault()
    except Exception as error:
        return type(error), error, error.__traceback__
    raise AssertionError("nothing failed")


def test_errors_are_told_apart_by_their_type_and_place(log: Log, clock: ManualClock) -> None:
    empty: dict[str, int] = {}

    def here() -> object:
        return empty["absent"]

    def there() -> object:
        return empty["absent"]

    for fault in (here, there, here, lambda: 1 / 0, here):
        log.logger.error("it failed\n", exc_info=failing(fault))
    lines = log.taken()
    assert sum(line.startswith("Traceback") for line in lines) == 3
    clock.advance(10)
    log.handler.tell()
    assert log.taken() == ["ERROR: repeated 2 times in 10 s: it failed: KeyError"]


def test_lines_that_differ_without_end_are_all_written_and_few_are_kept(log: Log) -> None:
    for number in range(1_000):
        log.logger.warning(f"line {number}")
    assert len(log.taken()) == 1_000
    assert len(log.handler._seen) < 300


def test_end_tells_what_was_counted(log: Log) -> None:
    for _ in range(3):
        log.logger.warning("again")
    log.handler.close()
    assert log.taken()[-1] == "WARNING: repeated 2 times in 0 s: again"
