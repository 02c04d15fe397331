"""One load out of several processes: their rows, audits and progress as if one had sent them."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scenarios.figures import add_figures
from scenarios.result import AUDIT_FILE, POLLS_FILE, ROWS_FILE, LoadResult, Rows

_FILES = (ROWS_FILE, POLLS_FILE, AUDIT_FILE)
_SUMMED = ("planned", "sent", "done", "answered", "failed", "dropped", "in_flight")
_SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one worker did of a load; name: what a reader calls it."""

    name: str
    result: LoadResult


def packed(result: LoadResult) -> dict[str, bytes]:
    """Return *result* as files, small enough to send."""
    with tempfile.TemporaryDirectory(prefix="edgeproof-") as folder:
        result.write(Path(folder))
        return {name: (Path(folder) / name).read_bytes() for name in _FILES}


def unpacked(files: Mapping[str, bytes]) -> LoadResult:
    """Return what `packed` gave; ResultUnreadable or KeyError if it is none."""
    with tempfile.TemporaryDirectory(prefix="edgeproof-") as folder:
        for name in _FILES:
            (Path(folder) / name).write_bytes(files[name])
        return LoadResult.read(Path(folder))


def merged_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all *parts* in the order of sending, by each part's own clock."""
    first = parts[0]
    columns = {
        name: np.concatenate([getattr(rows, name) for rows in parts])
        for name in Rows.__dataclass_fields__
        if name not in ("samples", "retried_at", "dropped", "held")
    }
    order = np.argsort(columns["intended_ns"] + columns["lag"] * 1e9, kind="stable")
    place = np.empty(order.size, dtype=np.int64)
    place[order] = np.arange(order.size)
    starts = np.cumsum([0, *(len(rows) for rows in parts)]).tolist()
    samples = {}
    for stage in first.samples:
        told = [rows.samples[stage] for rows in parts]
        positions = [at + start for (at, _), start in zip(told, starts, strict=False)]
        samples[stage] = (
            place[np.concatenate(positions)],
            np.concatenate([seconds for _, seconds in told]),
        )
    unsent = {
        name: np.sort(np.concatenate([getattr(rows, name) for rows in parts]))
        for name in ("dropped", "held")
    }
    return Rows(
        **{n: column[order] for n, column in columns.items()},
        samples=samples,
        retried_at=np.sort(np.concatenate([rows.retried_at for rows in parts])),
        **unsent,
    )


def merged_result(own: LoadResult, parts: Sequence[Part], lost: Sequence[str]) -> LoadResult:
    """Return the load that *parts* carried out together.

    own: what their master knows: the plan's counts, and what the services told. lost: why requests
    of the plan have no known outcome; it makes the load INVALID. The CPU share is that of the
    busiest worker.
    """
    results = [part.result for part in parts]
    facts = [result.audit for result in results]
    audit = dict(own.audit)
    if facts:
        busiest = max(facts, key=_cpu_share)
        audit |= {name: busiest[name] for name in ("cpu_seconds", "wall_seconds")}
        for name in ("handed", "connections_used"):
            audit[name] = sum(each[name] for each in facts)
        audit["speed"] = _speed([each["speed"] for each in facts])
        audit["headers"] = _added([each["headers"] for each in facts])
        audit["examples"] = _first_examples([own.audit, *facts])
    early = [(part.name, part.result.audit["ended_early"]) for part in parts]
    audit["ended_early"] = next((f"{name} {why}" for name, why in early if why), "")
    audit["lost"] = list(lost)
    audit["workers"] = [
        {
            "name": part.name,
            "sent": len(part.result.rows),
            "cpu_share": _cpu_share(part.result.audit),
            "late": int(np.count_nonzero(part.result.rows.lag > audit["lag_limit"])),
        }
        for part in parts
    ]
    notes = [*own.notes, *(note for result in results for note in result.notes)]
    if parts:
        notes.append(_workers_note(audit["workers"]))
    is_cut = bool(lost) or own.interrupted or any(result.interrupted for result in results)
    return replace(
        own,
        rows=merged_rows([result.rows for result in results] or [own.rows]),
        audit=audit,
        notes=tuple(dict.fromkeys(notes)),
        interrupted=is_cut,
    )


def _workers_note(workers: Sequence[Mapping[str, Any]]) -> str:
    each = "; ".join(
        f"{worker['name']}: {worker['sent']:,} requests, {worker['late']:,} of them late, "
        f"{worker['cpu_share']:.0%} of its core"
        for worker in workers
    )
    processes = "process" if len(workers) == 1 else "processes"
    return f"{len(workers)} {processes} sent the requests ({each})"


def _cpu_share(facts: Mapping[str, Any]) -> float:
    wall = float(facts["wall_seconds"])
    return float(facts["cpu_seconds"]) / wall if wall else 0.0


def _speed(probes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    taken = [probe for probe in probes if probe["count"]]
    return {
        "count": sum(probe["count"] for probe in taken),
        "seconds": sum(probe["seconds"] for probe in taken),
        "median": float(np.median([probe["median"] for probe in taken])) if taken else 0.0,
    }


def _added(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of counts, and of counts by name."""
    found: dict[str, Any] = {}
    for name, value in facts[0].items():
        if isinstance(value, Mapping):
            counted: Counter[str] = Counter()
            for each in facts:
                counted.update(each[name])
            found[name] = dict(counted)
        else:
            found[name] = sum(each[name] for each in facts)
    return found


def _first_examples(facts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for each in facts:
        for example in each["examples"]:
            names = ("endpoint", "cause", "of_status", "check")
            key = tuple(example.get(name) for name in names)
            found.setdefault(key, example)
    return list(found.values())


def merged_progress(said: Sequence[Mapping[str, Any]], *, planned: int) -> dict[str, Any]:
    """Return where the load stands by what each worker last said.

    Counts and rates are sums; p50 and p95 are those of the slowest worker.
    """
    if not said:
        return {"t": 0.0, "planned": planned, "phase": "starting"}
    found: dict[str, Any] = {name: sum(each[name] for each in said) for name in _SUMMED}
    found["planned"] = planned
    found["t"] = max(each["t"] for each in said)
    going = [each for each in said if each["phase"] != "done"]
    # The master alone knows when all is done: results are still on their way.
    found["phase"] = going[0]["phase"] if going else "settling"
    for name in ("p50", "p95"):
        values = [each[name] for each in said]
        found[name] = None if None in values else max(values)
    for name in ("rate", "planned_rate"):
        rates = [each[name] for each in going if each[name] is not None]
        found[name] = round(sum(rates), 1) if rates else None
    hits = [each["hits"] for each in said if each["hits"]]
    found["hits"] = {
        tier: sum(each[tier] for each in hits) / len(hits) for tier in (hits[0] if hits else ())
    }
    figures: dict[str, Any] = {}
    for each in said:
        add_figures(figures, each.get("figures", {}))
    if figures:
        found["figures"] = figures
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for reason in (reason for each in said for reason in each["reasons"]):
        key = (reason["endpoint"], reason["reason"])
        counts[key] += reason["count"]
        examples.setdefault(key, reason["example"])
    found["reasons"] = [
        {"endpoint": key[0], "reason": key[1], "count": count, "example": examples[key]}
        for key, count in counts.most_common(_SHOWN_REASONS)
    ]
    return found
