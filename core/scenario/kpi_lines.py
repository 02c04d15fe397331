"""At which line of a scenario file each KPI stands."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from core.metrics.kpi import parse_metric
from core.metrics.life import with_life
from core.metrics.metric_table import BUILT_IN, MetricTable
from core.texts import parse_toml

_STAND_IN = "a metric that no file names"
_MOST_TRIED = 100


def kpi_lines(text: str) -> dict[str, int]:
    """Return the line (from 1) of the metric of each KPI that the TOML *text* lists, by name.

    A place counts if another word there changes that very KPI for TOML's own reader, so that no
    comment, other table or text is taken for it. What cannot be found is left out.
    """
    found: dict[str, int] = {}
    tried = 0
    table = _table(text)
    for position, name in enumerate(_metrics(text, table)):
        if name is None:
            continue
        for match in re.finditer(re.escape(name), text):
            tried += 1
            if tried > _MOST_TRIED:
                return found
            changed = _metrics(f"{text[: match.start()]}{_STAND_IN}{text[match.end() :]}", table)
            if changed[position : position + 1] == [_STAND_IN]:
                found[parse_metric(name, table).name] = text.count("\n", 0, match.start()) + 1
                break
    return found


def _table(text: str) -> MetricTable:
    """Return what the metrics of *text* may name: its own stages and ratios, too."""
    from core.scenario.own_metrics import OwnMetrics  # pydantic takes its time to load

    try:
        data = parse_toml(text)
        table = OwnMetrics.model_validate(data.get("metrics", {})).table
        regions = [str(each["name"]) for each in data.get("regions", ())]
        return with_life(
            table,
            starts="eviction" in data.get("topology", {}),
            regions=regions,
            invalidates="invalidation" in data,
            has_replicas="replicas" in data.get("tiers", {}).get("l3", {}),
        )
    except (tomllib.TOMLDecodeError, ValueError, KeyError, TypeError):
        return BUILT_IN


def _metrics(text: str, table: MetricTable) -> list[str | None]:
    """Return the metrics of the KPIs in *text*, None for what is none."""
    try:
        kpis: Any = parse_toml(text).get("kpis")
    except (tomllib.TOMLDecodeError, ValueError):
        return []
    entries = kpis if isinstance(kpis, list) else []
    names = [entry.get("metric") if isinstance(entry, dict) else None for entry in entries]
    return [name if _is_metric(name, table) else None for name in names]


def _is_metric(name: object, table: MetricTable) -> bool:
    if name == _STAND_IN:
        return True
    try:
        return isinstance(name, str) and bool(parse_metric(name, table))
    except ValueError:
        return False
