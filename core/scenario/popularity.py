"""How requests spread over subjects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.scenario.table import Table


class Popularity(Table):
    """How requests spread over subjects."""

    law: Literal["zipf", "uniform"] = "zipf"
    exponent: Annotated[float, Field(ge=0, le=5)] = 0.9
