"""Durable delivery: the conversions queue, the outbox, and forwarding to a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doors import front_door

if TYPE_CHECKING:
    from core.delivery.backlog import Backlog
    from core.delivery.forwarder import Forwarder
    from core.delivery.leases import BacklogStatus, DeadLetter
    from core.delivery.outbox import Outbox
    from core.delivery.poller import Poller
    from core.delivery.queue import ConversionQueue
else:  # mypy would take any name for one that this offers
    __getattr__, __dir__ = front_door(
        __name__,
        {
            "Backlog": "backlog",
            "BacklogStatus": "leases",
            "DeadLetter": "leases",
            "Forwarder": "forwarder",
            "Outbox": "outbox",
            "Poller": "poller",
            "ConversionQueue": "queue",
        },
    )

__all__ = [
    "Backlog",
    "BacklogStatus",
    "ConversionQueue",
    "DeadLetter",
    "Forwarder",
    "Outbox",
    "Poller",
]
