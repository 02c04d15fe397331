"""What one request did: its cache reads, its stages, and the address of its random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from enum import IntEnum
from typing import ClassVar


class _SlotsOfTheCdp(dict[str, int]):
    """Filled when first asked: a cache whose reads have no span starts sooner without."""

    def __missing__(self, name: str) -> int:
        from core.endpoints import CDP

        self.update(CDP.slots)
        return CDP.slots[name]


SLOTS: Mapping[str, int] = _SlotsOfTheCdp()
"""The slot of each named operation within a request of the CDP; ValueError for one of none."""

BATCH_SLOTS = {"batch-read": 0, "batch-write": 1, "fit-read": 2, "fit-write": 3, "model": 4}
"""The slot of each named operation within its batch, or within the fit of the same number."""
BATCH_SLOT_COUNT = 5


class Span:
    """One request or one batch while it runs.

    row: its number within the run, which addresses its random numbers; reads: (name, outcome
    code) in their order; stages: (name, seconds); cpu: seconds of CPU charged by a simulation;
    slots: of the named operations of a request. connections: to the database, in use.
    """

    __slots__ = ("connections", "cpu", "is_batch", "reads", "row", "stages")

    slots: ClassVar[Mapping[str, int]] = SLOTS

    def __init__(self, row: int = 0, *, is_batch: bool = False) -> None:
        self.row = row
        self.is_batch = is_batch
        self.reads: list[tuple[str, int]] = []
        self.stages: list[tuple[str, float]] = []
        self.cpu = 0.0
        self.connections = 0


def span_of(slots: Mapping[str, int]) -> type[Span]:
    """Return the type of the spans of one endpoint, by the slots of its operations.

    A type, because an argument of its own would cost every request.
    """
    return type("Span", (Span,), {"__slots__": (), "slots": slots})


class Operation:
    """One named operation of a span: what its store accesses draw and record under."""

    __slots__ = ("slot", "span")

    def __init__(self, span: Span, slot: int) -> None:
        self.span = span
        self.slot = slot


CURRENT: ContextVar[Operation] = ContextVar("operation")
"""The operation that is running; background work inherits the one that started it."""


def begin(span: Span, name: str) -> None:
    """Make *name* the current operation of *span*."""
    CURRENT.set(Operation(span, span.slots[name]))


class Purpose(IntEnum):
    """What a stream of random numbers is for; the number is part of its key, so never reuse one."""

    ARRIVALS = 1
    ENDPOINTS = 2
    SUBJECTS = 3
    ISOLATES = 4
    EVENTS = 5
    HOT_KEYS = 6
    RETRY_PAUSE = 7
    BURSTS = 8
    SESSION_LENGTHS = 9
    THINK_TIMES = 10
    L2_READ = 16
    L2_WRITE = 17
    L3_ROUND_TRIP = 18
    L3_EXECUTION = 19
    L2_READ_FATE = 20
    L2_WRITE_FATE = 21
    L3_FATE = 22
    TTL_JITTER = 112
    EARLY_REFRESH = 113
    BATCH_ROUND_TRIP = 24
    BATCH_EXECUTION = 25
    BATCH_FATE = 26
    DELIVERY = 27
    DELIVERY_FATE = 28
    ISOLATE_LIVES = 29
    COLD_START = 30
    LIVES_BEFORE = 31
    REPLICA_LAG = 33
    REPLICAS = 34
    INVALIDATIONS = 35
    INVALIDATED_BY_EVENTS = 36
    BROADCASTS = 37
    OVERHEAD = 32
    EMULATION = 48
    DATA = 64
    WARM_START = 80
    CALIBRATION = 96
    BOOTSTRAP = 128
    FOLDS = 129
    COALITIONS = 130
    SHUFFLES = 131
