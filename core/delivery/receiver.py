"""Receivers of finished conversions: their protocol, and one without a network."""

from __future__ import annotations

from typing import Protocol

from core.errors import EdgeproofError


class DeliveryError(EdgeproofError):
    """The destination did not confirm a delivery."""


class Receiver(Protocol):
    """A receiver of deliveries."""

    async def send(self, body: bytes) -> None:
        """Return once the receiver confirms *body*; DeliveryError if it does not."""
        ...

    async def close(self) -> None:
        """Close the connections."""
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
