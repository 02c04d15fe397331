"""Which tier each cache that a service names in Cache-Status is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

CacheTier = Literal["l1", "l2", "none"]
"""none: the cache is known and is no tier of the scenario's, such as a CDN in front."""

_OURS: dict[str, CacheTier] = {"L1": "l1", "L2": "l2"}
_NAME = Annotated[str, Field(min_length=1, max_length=100)]


def _with_ours(given: Any) -> Any:
    return {**_OURS, **given} if isinstance(given, dict) else given


Caches = Annotated[dict[_NAME, CacheTier], BeforeValidator(_with_ours)]
"""The tier of each cache by its name; L1 and L2 are there unless they are given another one."""


def default_caches() -> dict[str, CacheTier]:
    """Return the tiers of the caches that our own service names."""
    return dict(_OURS)
