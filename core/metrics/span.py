"""A span of the profiler: one timed piece of work, and the request that it is part of."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

from core.metrics.profile import Profile

MAX_STAGES = 256
"""Stages that a request keeps; further ones are counted only."""

MAX_DEPTH = 64
"""Deeper than that a span hangs on the request around it, or on nothing."""


class SpanStage(NamedTuple):
    """A piece of work that ended within a request.

    began: seconds after the request, None where only its length was noted; depth: 1 right under
    the request, 2 within such a stage.
    """

    kind: str
    name: str
    began: float | None
    seconds: float
    depth: int
    is_failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowRequest:
    """A request that crossed its warning line or failed.

    ended: seconds of the profiler's clock; stages: in the order in which they ended; left_out:
    how many more there were.
    """

    name: str
    ended: float
    seconds: float
    is_failed: bool
    stages: tuple[SpanStage, ...]
    left_out: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data; durations in milliseconds, `ended` in seconds."""
        return {
            "name": self.name,
            "ended": self.ended,
            "duration": 1e3 * self.seconds,
            "failed": self.is_failed,
            "stages": [
                {
                    "kind": stage.kind,
                    "name": stage.name,
                    "began": None if stage.began is None else 1e3 * stage.began,
                    "duration": 1e3 * stage.seconds,
                    "depth": stage.depth,
                    "failed": stage.is_failed,
                }
                for stage in self.stages
            ],
            "left_out": self.left_out,
        }


class ProfiledSpan:
    """One timed piece of work: a context manager for one use, sync and async code alike.

    parent: the span around it. seconds: how long it took, None while it is open. Nobody keeps a
    list of open spans: one that is never closed goes with its task, and leaves nothing behind.
    notes: of a request, a list of (name, seconds) that its own code keeps; they are stages too.
    """

    __slots__ = (
        "_around", "_dropped", "_profile", "_stages",
        "depth", "is_failed", "notes", "parent", "seconds", "started",
    )  # fmt: skip

    depth: int
    notes: Sequence[tuple[str, float]]
    parent: ProfiledSpan | None
    # The request around this span. Of a request it is not that request itself: a cycle of
    # references would leave each to the garbage collector, which costs more than the span.
    _around: ProfiledSpan | None
    _dropped: int
    _stages: list[tuple[int, Profile, float, float, int, bool]]

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.started: float | None = None
        self.seconds: float | None = None
        self.is_failed = False

    def __enter__(self) -> Self:
        if self.started is not None:
            raise RuntimeError("a span is used once; ask the profiler for another")
        # What was set before is what `get` would have looked up.
        parent = _ENCLOSING.set(self).old_value
        if parent is _MISSING:
            parent = None
        elif parent is not None:
            if parent.seconds is not None:  # what was nested last, and stayed in its place
                parent = parent.parent
            if parent is not None and (parent.seconds is not None or parent.depth >= MAX_DEPTH):
                parent = _reachable(parent)
        self.parent = parent
        if parent is None:
            self.depth = 0
            self._around = None
        else:
            self.depth = parent.depth + 1
            self._around = parent if parent._profile.is_request else parent._around
        profile = self._profile
        if profile.is_request:
            self._stages = []
            self._dropped = 0
            self.notes = ()
        self.started = profile.now()
        return self

    def fail(self) -> None:
        """Let what is timed count as failed, though no exception ends it."""
        self.is_failed = True

    @property
    def request(self) -> ProfiledSpan | None:
        """The request that this is part of: itself for a request, None outside of any."""
        return self if self._profile.is_request else self._around

    def __exit__(
        self,
        _: type[BaseException] | None,
        error: BaseException | None,
        __: TracebackType | None,
    ) -> None:
        if self.started is None or self.seconds is not None:
            return
        profile = self._profile
        self.seconds = seconds = profile.now() - self.started
        if error is not None or self.is_failed:
            self.is_failed = is_slow = True
            profile.fail()
        else:
            profile.histogram.record(seconds)  # `profile.record` would be one call more
            is_slow = seconds > profile.warning
            if is_slow:
                profile.cross(seconds)
        # What is nested in another stays in its place: the next one sees that it is closed, and
        # hangs on its parent, which costs less than to set that again.
        parent = self.parent
        if parent is None or _ENCLOSING.get() is not self:
            inner = _ENCLOSING.set(parent).old_value
            if inner is not self and not self._encloses(inner):
                # Closed out of order, or where it was not opened.
                _ENCLOSING.set(None if inner is _MISSING else inner)
        if is_slow and profile.is_request:
            profile.slow.append(self._summary())
        request = self._around
        if request is not None and request.seconds is None:
            stages = request._stages
            if len(stages) < MAX_STAGES:
                notes = len(request.notes)
                stages.append((notes, profile, self.started, seconds, self.depth, self.is_failed))
            else:
                request._dropped += 1

    def _encloses(self, inner: object) -> bool:
        while isinstance(inner, ProfiledSpan) and inner is not self:
            inner = inner.parent
        return inner is self

    def _keep(
        self, profile: Profile, started: float, seconds: float, depth: int, is_failed: bool
    ) -> None:
        stages = self._stages
        if len(stages) < MAX_STAGES:
            stages.append((len(self.notes), profile, started, seconds, depth, is_failed))
        else:
            self._dropped += 1

    @property
    def stages(self) -> tuple[SpanStage, ...]:
        """What ended within this request so far, the first MAX_STAGES; empty if it is none."""
        return tuple(self._woven()[:MAX_STAGES]) if self._profile.is_request else ()

    def _woven(self) -> list[SpanStage]:
        assert self.started is not None
        woven: list[SpanStage] = []
        begun, noted = self.started, 0
        for notes_before, profile, started, seconds, depth, is_failed in self._stages:
            woven += map(_noted, self.notes[noted:notes_before])
            began, under = started - begun, depth - self.depth
            woven.append(SpanStage(profile.kind, profile.name, began, seconds, under, is_failed))
            noted = notes_before
        woven += map(_noted, self.notes[noted:])
        return woven

    def _summary(self) -> SlowRequest:
        assert self.started is not None
        assert self.seconds is not None
        woven = self._woven()
        return SlowRequest(
            name=self._profile.name,
            ended=self.started + self.seconds,
            seconds=self.seconds,
            is_failed=self.is_failed,
            stages=tuple(woven[:MAX_STAGES]),
            left_out=self._dropped + max(0, len(woven) - MAX_STAGES),
        )


def _noted(note: tuple[str, float]) -> SpanStage:
    return SpanStage("tier", note[0], None, note[1], 1, False)


_MISSING = Token.MISSING
_ENCLOSING: ContextVar[ProfiledSpan | None] = ContextVar("enclosing_span", default=None)


def _reachable(span: ProfiledSpan | None) -> ProfiledSpan | None:
    """Return the innermost span that is open, or its request where that lies too deep.

    So chains stay short, whatever was never closed or closed out of order.
    """
    while span is not None and span.seconds is not None:
        span = span.parent
    if span is None or span.depth < MAX_DEPTH:
        return span
    request = span.request
    return request if request is not None and request.depth < MAX_DEPTH else None


def land(profile: Profile, seconds: float, *, is_failed: bool = False) -> None:
    """Note a stage of *seconds* that has just ended on the request around, while it is open."""
    span = _ENCLOSING.get()
    while span is not None and span.seconds is not None:
        span = span.parent
    request = None if span is None else span.request
    if span is not None and request is not None and request.seconds is None:
        started = request._profile.now() - seconds
        request._keep(profile, started, seconds, span.depth + 1, is_failed)
