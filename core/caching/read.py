"""One read of a tiered cache: its key, its loader, and the span that notes its outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from core.caching.flights import Flight
from core.caching.policy import CacheType
from core.context import CURRENT, Operation, Span

MISSED: Any = object()
"""In place of a value: the tier has none that it may serve."""

Load = Callable[[], Awaitable[Any]] | Callable[[], Any]
"""Loads one value, as a coroutine function or a plain one; None: there is none."""


class CacheRead:
    """A whole key, its loader, and the span and name under which the read is noted.

    flight: what others join while this read leads; None if it does not.
    """

    __slots__ = ("flight", "key", "kind", "load", "name", "span", "tags")

    def __init__(
        self,
        kind: CacheType[Any],
        key: str,
        load: Load,
        span: Span | None,
        name: str,
        tags: tuple[str, ...],
    ) -> None:
        self.kind = kind
        self.key = key
        self.load = load
        self.span = span
        self.name = name
        self.tags = tags
        self.flight: Flight | None = None

    def begin(self) -> None:
        """Let the store operations that follow belong to this read."""
        if self.span is not None:
            CURRENT.set(Operation(self.span, self.span.slots[self.name]))

    def begin_apart(self) -> None:
        """Let them belong to this read's address, on a span outside of the request."""
        if self.span is not None:
            own = type(self.span)(self.span.row, is_batch=self.span.is_batch)
            CURRENT.set(Operation(own, own.slots[self.name]))

    def note_stage(self, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        if self.span is not None:
            self.span.stages.append((stage, seconds))
