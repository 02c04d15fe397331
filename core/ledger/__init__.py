"""Attribution's database side: conversions in, stored credits out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doors import front_door

if TYPE_CHECKING:
    from core.ledger.fitter import Fitter
    from core.ledger.processor import BatchAttributionProcessor
else:  # mypy would take any name for one that this offers
    __getattr__, __dir__ = front_door(
        __name__,
        {
            "Fitter": "fitter",
            "BatchAttributionProcessor": "processor",
        },
    )

__all__ = ["BatchAttributionProcessor", "Fitter"]
