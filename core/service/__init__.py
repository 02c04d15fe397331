"""The HTTP face of the application, and its processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doors import front_door

if TYPE_CHECKING:
    from core.service.app import create_app
    from core.service.crew import ServiceProcess
    from core.service.launcher import running_service
    from core.service.limits import ConnectionLimits
else:  # mypy would take any name for one that this offers
    __getattr__, __dir__ = front_door(
        __name__,
        {
            "create_app": "app",
            "ServiceProcess": "crew",
            "running_service": "launcher",
            "ConnectionLimits": "limits",
        },
    )

__all__ = ["ConnectionLimits", "ServiceProcess", "create_app", "running_service"]
