"""Stores and destinations with the latencies and faults of a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doors import front_door

if TYPE_CHECKING:
    from core.emulation.database import DelayedDatabase
    from core.emulation.kv import DelayedKV
else:  # mypy would take any name for one that this offers
    __getattr__, __dir__ = front_door(
        __name__,
        {
            "DelayedDatabase": "database",
            "DelayedKV": "kv",
        },
    )

__all__ = ["DelayedDatabase", "DelayedKV"]
