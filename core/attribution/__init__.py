"""Attribution models over paths of touches; none of it knows a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doors import front_door

if TYPE_CHECKING:
    from core.attribution.account import Account, ChannelRow, attribute
    from core.attribution.fitted import FittedModel, fit
    from core.attribution.journeys import Journey
    from core.attribution.model import Model, Touches
    from core.attribution.models import DATA_DRIVEN, HEURISTICS, MODELS, touch_credits
    from core.attribution.parameters import Parameters
    from core.attribution.path_file import read_paths
    from core.attribution.paths import Paths
else:  # mypy would take any name for one that this offers
    __getattr__, __dir__ = front_door(
        __name__,
        {
            "Account": "account",
            "ChannelRow": "account",
            "attribute": "account",
            "FittedModel": "fitted",
            "fit": "fitted",
            "Journey": "journeys",
            "Model": "model",
            "Touches": "model",
            "DATA_DRIVEN": "models",
            "HEURISTICS": "models",
            "MODELS": "models",
            "touch_credits": "models",
            "Parameters": "parameters",
            "read_paths": "path_file",
            "Paths": "paths",
        },
    )

__all__ = [
    "DATA_DRIVEN",
    "HEURISTICS",
    "MODELS",
    "Account",
    "ChannelRow",
    "FittedModel",
    "Journey",
    "Model",
    "Parameters",
    "Paths",
    "Touches",
    "attribute",
    "fit",
    "read_paths",
    "touch_credits",
]
