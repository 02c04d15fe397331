"""Channels that carry invalidations to the other caches, in this process or elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class InvalidationChannel(Protocol):
    """Messages to the current listeners; a cache that does not listen misses them."""

    async def publish(self, message: bytes) -> int:
        """Send *message*; return how many others it was handed to. StoreError if it failed."""
        ...

    async def listen(self, on_message: Callable[[bytes], None], on_gap: Callable[[], None]) -> None:
        """Return once messages arrive, which are passed to *on_message* until `close`.

        *on_gap* is called when messages may have been missed: after every reconnection. The cache's
        own messages may arrive, too. Raise StoreError if there is no connection to begin with, and
        ValueError if this channel listens already.
        """
        ...

    async def close(self) -> None:
        """Stop listening and let go of connections."""
        ...


class LocalBus:
    """The bus between the `LocalChannel`s of one process.

    deliver: runs a delivery now or later; without it, before `publish` returns.
    """

    def __init__(self, deliver: Callable[[Callable[[], None]], object] | None = None) -> None:
        self._deliver = deliver or (lambda delivery: delivery())
        self._listeners: dict[LocalChannel, Callable[[bytes], None]] = {}
        self._gaps: dict[LocalChannel, Callable[[], None]] = {}

    def join(
        self,
        listener: LocalChannel,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
    ) -> None:
        """Deliver messages to *listener*; ValueError if it listens already."""
        if listener in self._listeners:
            raise ValueError("this channel listens already")
        self._listeners[listener] = on_message
        self._gaps[listener] = on_gap

    def leave(self, listener: LocalChannel) -> None:
        """Deliver nothing more to *listener*, not even messages that are on their way."""
        self._listeners.pop(listener, None)
        self._gaps.pop(listener, None)

    def send(self, sender: LocalChannel, message: bytes) -> int:
        """Pass *message* to all listeners but *sender*; return their number."""
        others = [listener for listener in self._listeners if listener is not sender]

        def delivery() -> None:
            for listener in others:
                if listener in self._listeners:
                    self._listeners[listener](message)

        self._deliver(delivery)
        return len(others)

    def interrupt(self) -> None:
        """Tell every listener that it may have missed messages."""
        for on_gap in list(self._gaps.values()):
            on_gap()


class LocalChannel:
    """One cache's connection to the bus of its process; it receives no messages of its own."""

    def __init__(self, bus: LocalBus) -> None:
        self._bus = bus

    async def publish(self, message: bytes) -> int:
        """Send *message*; return how many others it was handed to."""
        return self._bus.send(self, message)

    async def listen(self, on_message: Callable[[bytes], None], on_gap: Callable[[], None]) -> None:
        """Listen until `close`; ValueError if this channel listens already."""
        self._bus.join(self, on_message, on_gap)

    async def close(self) -> None:
        """Stop listening."""
        self._bus.leave(self)
