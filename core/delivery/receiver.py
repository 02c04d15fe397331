"""Whoever takes finished conversions: behind a modelled latency, or without any network."""

from __future__ import annotations

from typing import Protocol

from core.errors import EdgeproofError


class DeliveryError(EdgeproofError):
    """The destination did not say that it took what it was sent."""


class Receiver(Protocol):
    """What deliveries are sent to."""

    async def send(self, body: bytes) -> None:
        """Return once *body* was taken; DeliveryError unless the receiver said so."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class AcceptingReceiver:
    """A receiver that takes everything at once, as a simulated destination does."""

    def __init__(self) -> None:
        self.taken = 0

    async def send(self, body: bytes) -> None:
        """Take *body*."""
        self.taken += 1

    async def close(self) -> None:
        """Do nothing."""
