"""Whoever takes finished conversions: behind a modelled latency, or without any network."""

from __future__ import annotations

from typing import Protocol

from core.distributions import Distribution
from core.emulation.database import FaultSchedule, Platform
from core.errors import EdgeproofError
from core.streams import Purpose

_DELIVERY = Purpose.DELIVERY
_DELIVERY_FATE = Purpose.DELIVERY_FATE


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


class DelayedReceiver:
    """A receiver behind the scenario's latency and faults.

    The real answer is waited for within the modelled time. latency: None where the receiver takes
    a time of its own, so that only faults are modelled.
    """

    def __init__(
        self,
        receiver: Receiver,
        latency: Distribution | None,
        timeout: float,
        faults: FaultSchedule,
        platform: Platform,
    ) -> None:
        self._receiver = receiver
        self._latency = latency
        self._timeout = timeout
        self._faults = faults
        self._platform = platform

    async def send(self, body: bytes) -> None:
        """Return once *body* was taken, after one latency."""
        platform = self._platform
        sent = platform.charge("destination")
        latency = (
            0.0 if self._latency is None else self._latency.sample(platform.uniform(_DELIVERY))
        )
        failed = False
        if self._faults.faults:
            latency, failed = self._faults.afflict(
                "destination", sent, latency, _DELIVERY_FATE, platform
            )
        if latency > self._timeout:
            await platform.until(sent + self._timeout)
            raise DeliveryError(f"no answer within {self._timeout:g} s")
        if not failed:
            await self._receiver.send(body)
        await platform.until(sent + latency)
        if failed:
            raise DeliveryError("the destination answered with an error")

    async def close(self) -> None:
        """Let go of the receiver's connections."""
        await self._receiver.close()
