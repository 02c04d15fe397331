"""The CDP, assembled from the other rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doors import front_door

if TYPE_CHECKING:
    from core.application.application import Application
    from core.application.behaviour import Behaviour
    from core.application.cdp import Cdp
    from core.application.entry import OwnEntry
    from core.application.seeding import seed_database
else:  # mypy would take any name for one that this offers
    __getattr__, __dir__ = front_door(
        __name__,
        {
            "Application": "application",
            "Behaviour": "behaviour",
            "Cdp": "cdp",
            "OwnEntry": "entry",
            "seed_database": "seeding",
        },
    )

__all__ = ["Application", "Behaviour", "Cdp", "OwnEntry", "seed_database"]
