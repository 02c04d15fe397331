"""What the caches did: counts that add up over processes, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from core.application.application import Application
from core.caching.statistics import COLUMNS

_OUTCOMES = [column for column in COLUMNS if column != "none"]
_FLAGS = ("negative", "stale")  # they count some of the hits once more


def cache_counts(application: Application) -> dict[str, Any]:
    """Return what the caches of all isolates counted: a tree of whole numbers."""
    l1, behind = application.cache_statistics()
    bytes_by_prefix: dict[str, int] = {}
    for cache in application.caches:
        for name, size in cache.l1.bytes_by_kind().items():
            bytes_by_prefix[name] = bytes_by_prefix.get(name, 0) + size
    by_type = {
        name: dict(zip(COLUMNS, counts, strict=True)) for name, counts in behind.outcomes.items()
    }
    for counts in by_type.values():
        del counts["none"]
    l2 = {
        name.removeprefix("l2_"): count
        for name, count in asdict(behind).items()
        if name.startswith("l2_")
    }
    l2["deletes"] += application.invalidator.deletes
    l2["lists"] = application.invalidator.lists
    return {
        "by_type": by_type,
        "l1": {
            "entries": sum(len(cache.l1) for cache in application.caches),
            "bytes": sum(cache.l1.bytes for cache in application.caches),
            "bytes_by_prefix": bytes_by_prefix,
            **asdict(l1),
        },
        "l2": {
            **l2,
            "open_breakers": 0 if application.breaker.is_closed else 1,
            "breaker_openings": application.breaker.openings,
        },
        "loads": {
            "started": behind.loads,
            "failed": behind.load_errors,
            "in_background": behind.refreshes,
            "outlived": behind.outlived,
            "overtaken": behind.overtaken,
        },
        "invalidation": {
            "remembered": len(application.invalidator.log),
            "received": application.invalidator.received,
            "gaps": application.invalidator.gaps,
            "not_sent": application.invalidator.unsent,
        },
    }


def cache_report(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return *counts* with the shares of all reads; a share of no reads is None."""
    by_type: Mapping[str, Mapping[str, int]] = counts.get("by_type", {})
    totals = {name: sum(found[name] for found in by_type.values()) for name in _OUTCOMES}
    reads = sum(totals[name] for name in _OUTCOMES if name not in _FLAGS)

    def share(*names: str) -> float | None:
        return sum(totals[name] for name in names) / reads if reads else None

    l1, l2 = dict(counts["l1"]), dict(counts["l2"])
    l1["bytes_by_prefix"] = dict(sorted(l1["bytes_by_prefix"].items()))
    open_breakers = l2.pop("open_breakers")
    return {
        "reads": reads,
        "l1_ratio": share("l1"),
        "l2_ratio": share("l2"),
        "hit_ratio": share("l1", "l2"),
        "miss_ratio": share("miss", "collapsed", "bypass"),
        "by_type": dict(sorted(by_type.items())),
        "l1": l1,
        "l2": {**l2, "breaker": "open" if open_breakers else "closed"},
        "loads": {**counts["loads"], "coalesced": totals["collapsed"]},
        "invalidation": counts["invalidation"],
    }
