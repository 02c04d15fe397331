"""Claims about what a consumer's process tells the others: when it is taken to be silent."""

from __future__ import annotations

from pathlib import Path

from core.clock import ManualClock
from core.consumed import Consumed
from core.profiling import LatencyProfiler


def test_consumer_is_silent_before_its_first_word_and_some_seconds_after_its_last(
    tmp_path: Path,
) -> None:
    clock, consumed = ManualClock(100.0), Consumed(tmp_path)
    assert consumed.fault(clock.now()) == "it has not started yet"
    consumed.write({"queue_batches": 1}, LatencyProfiler(clock), clock.now())
    assert consumed.counters() == {"queue_batches": 1}
    clock.advance(5.0)
    assert consumed.fault(clock.now()) == ""
    clock.advance(0.5)
    assert consumed.fault(clock.now()) == "no sign of life for 6 s"
    consumed.write({"queue_batches": 1}, LatencyProfiler(clock), clock.now())
    assert consumed.fault(clock.now()) == ""
    consumed.forget()
    assert consumed.fault(clock.now()) == "it has not started yet"
