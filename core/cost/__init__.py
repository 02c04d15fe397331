"""What a run costs on the platform: use, rows of D1, bill, savings, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doors import front_door

if TYPE_CHECKING:
    from core.cost.cost import Cost, Line, cost_of, cost_of_record
    from core.cost.refusals import Refusal
    from core.cost.savings import Saving
    from core.cost.tally import Tally, tally_of
    from core.cost.usage import Usage, usage_of
else:  # mypy would take any name for one that this offers
    __getattr__, __dir__ = front_door(
        __name__,
        {
            "Cost": "cost",
            "Line": "cost",
            "cost_of": "cost",
            "cost_of_record": "cost",
            "Refusal": "refusals",
            "Saving": "savings",
            "Tally": "tally",
            "tally_of": "tally",
            "Usage": "usage",
            "usage_of": "usage",
        },
    )

__all__ = [
    "Cost",
    "Line",
    "Refusal",
    "Saving",
    "Tally",
    "Usage",
    "cost_of",
    "cost_of_record",
    "tally_of",
    "usage_of",
]
