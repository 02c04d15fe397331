"""A destination behind the scenario's latency and faults."""

from __future__ import annotations

from core.context import Purpose
from core.delivery.receiver import DeliveryError, Receiver
from core.distributions import Distribution
from core.emulation.faults import FaultSchedule
from core.emulation.platform import Platform
from core.scenario.destination import Destination

_DELIVERY = Purpose.DELIVERY
_DELIVERY_FATE = Purpose.DELIVERY_FATE


class DelayedReceiver:
    """A receiver behind the scenario's latency and faults.

    The modelled time includes the wait for the real answer. latency: None if the receiver takes
    time of its own, so that only faults are modelled.
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
            latency, failed = self._faults.apply(
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
        """Close the receiver's connections."""
        await self._receiver.close()


def receiver_of(
    destination: Destination, url: str | None, faults: FaultSchedule, platform: Platform | None
) -> Receiver | None:
    """Return a receiver that sends to *url*, None if that is None.

    platform: adds the scenario's latency to the local destination, and faults to any; None adds
    neither. Raise InputError if the token is missing.
    """
    if url is None:
        return None
    from core.delivery.http import HttpReceiver, token_of  # httpx is slow to import

    receiver = HttpReceiver(
        url,
        timeout=destination.timeout,
        connections=destination.max_parallel,
        token=token_of(destination.token_variable),
    )
    if platform is None:
        return receiver
    latency = destination.latency if destination.is_local else None
    return DelayedReceiver(receiver, latency, destination.timeout, faults, platform)
