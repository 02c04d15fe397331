"""A warm state in the engine's arrays, as `core.application.warming` has it in the caches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import sim.compiled.slots as s
from core.application.cache_entries import CODECS
from core.clock import ManualClock
from core.errors import InputError
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState
from sim.compiled.address import address_of
from sim.compiled.facts import Facts
from sim.compiled.jit import jit
from sim.compiled.journeys import journey_size
from sim.compiled.memory import fill_with_expired, keep
from sim.compiled.rows import put
from sim.compiled.state import State
from sim.compiled.tiers import HOT_KEYS


def warm(
    arrays: State, scenario: Scenario, state: WarmState, bases: Mapping[str, int], facts: Facts,
    tags: Any,
) -> None:  # fmt: skip
    """Put *state* into L2 and into every L1, in its order; *tags*: the bytes of each key's tag."""
    if not state.l2 and not state.l1 and not state.expired:
        return
    tiers = scenario.tiers
    load_seconds = facts.seeded.load_seconds
    l2 = np.array([(bases[t], subject) for t, subject, _, _ in state.l2], dtype=np.int64)
    l2 = l2.reshape(-1, 2)
    l1 = np.array([(bases[t], subject) for _, t, subject, _ in state.l1], dtype=np.int64)
    l1 = l1.reshape(-1, 2)
    isolates = scenario.topology.isolate_count if state.expired else 0
    ended = [_ended(state, bases, isolate) for isolate in range(isolates)]
    asked = np.concatenate((l2.sum(axis=1), l1.sum(axis=1), *ended))
    sizes = _sizes(arrays, bases, facts, asked)
    keys = l2.sum(axis=1)
    residual = np.array([held.residual for held in state.l2], dtype=np.float64)
    hot = np.array([held.hot for held in state.l2], dtype=np.float64)
    bound = tiers.stale_bound
    kept = residual + bound > 0
    ends = residual + bound
    arrays.central[keys[kept], 0] = ends[kept]
    arrays.central[keys[kept], 1] = np.trunc(residual[kept] * 1000) / 1000
    arrays.central[keys[kept], 2] = int(load_seconds * 1e6) / 1e6
    arrays.central[keys[kept], 3] = sizes[keys[kept]]
    if len(arrays.ends) > 1:
        arrays.ends[keys[kept]] = ends[kept]
    if tiers.query_cache.ttl:
        _warm_rows(arrays, scenario, state, bases, facts, sizes)
    sizes = sizes - tags  # L1 is warmed with values, not with what L2 holds
    is_hot = hot > 0
    if int(is_hot.sum()) >= HOT_KEYS:
        raise InputError(f"more than {HOT_KEYS:,} keys are hot at the start")
    for process in range(scenario.topology.process_count):
        arrays.hot[process, keys[is_hot]] = hot[is_hot]
        arrays.hots[process] = int(np.unique(keys[is_hot]).size)
    most, most_bytes = tiers.l1.max_entries, tiers.l1.max_bytes
    for isolate, gone in enumerate(ended):
        fill_with_expired(
            arrays.places, arrays.held, arrays.lives, isolate, gone, int(arrays.ci[s.I_KEYS]),
            sizes, most, most_bytes,
        )  # fmt: skip
    if not len(l1):
        return
    keys = l1.sum(axis=1)
    places = np.array([held.isolate for held in state.l1], dtype=np.int64)
    until = np.array([held.residual for held in state.l1], dtype=np.float64)
    fresh = until.copy()
    keeps = int(arrays.ci[s.I_KEEPS])
    if keeps:
        at = np.full(int(arrays.ci[s.I_KEYS]), 0.0)
        at[l2.sum(axis=1)] = residual
        fresh = np.maximum(until, at[keys])
    _fill(  # what goes for them is not counted
        arrays.places, arrays.held, arrays.lives, arrays.ci, arrays.cf, places, keys, until,
        fresh, load_seconds, sizes,
    )  # fmt: skip


def _warm_rows(
    arrays: State, scenario: Scenario, state: WarmState, bases: Mapping[str, int], facts: Facts,
    sizes: Any,
) -> None:  # fmt: skip
    """Put rows into the query caches as `Warmer` does, with its arithmetic."""
    cache = scenario.tiers.query_cache
    ttls = facts.seeded.warmer.ttls
    processes = scenario.topology.process_count
    for process in range(processes):
        young = sorted(
            (residual - ttls[cache_type], cache_type, subject)
            for cache_type, subject, residual, _ in state.l2
            if ttls[cache_type] - residual < cache.ttl
            and subject % processes == process % processes
        )
        clock = ManualClock(0.0 - cache.ttl)
        for loaded, cache_type, subject in young:
            clock.advance(max(0.0, loaded - clock.now()))
            if cache_type not in CODECS:
                continue
            key = bases[cache_type] + subject
            _put(
                arrays.rows, arrays.rows_held, process, key, int(arrays.ci[s.I_KEYS]),
                clock.now() + cache.ttl, _rows_of(arrays, facts, cache_type, subject, key),
                cache.max_entries, cache.max_bytes,
            )  # fmt: skip
            arrays.rows_value[process, key] = sizes[key]


def _rows_of(arrays: State, facts: Facts, cache_type: str, subject: int, key: int) -> int:
    """Return the bytes that a query cache counts for the rows behind a warm entry."""
    if cache_type == "channel_metrics":
        return facts.channels_size(subject)[1]
    size = int(arrays.krows[key])
    if cache_type == "user_journeys":
        user = arrays.users[subject]
        size += int(user[s.U_BYTES] + arrays.ci[s.I_ROWS_OF_EVENT] * user[s.U_COUNT_NEWEST])
    return size


def _ended(state: WarmState, bases: Mapping[str, int], isolate: int) -> Any:
    """Return the keys that have ended in the L1 of *isolate*, the coldest first."""
    found = [
        bases[cache_type] + np.array(subjects, dtype=np.int64)
        for cache_type, subjects in state.expired_of(isolate)
    ]
    return np.concatenate([*found, np.empty(0, dtype=np.int64)])


def _sizes(arrays: State, bases: Mapping[str, int], facts: Facts, keys: Any) -> Any:
    """Return the bytes of every key's entry that is among *keys*, as it is at the start."""
    sizes = arrays.ksize.copy()
    unknown = np.unique(keys[sizes[keys] < 0])
    if "user_journeys" in bases:
        first = bases["user_journeys"]
        mine = _within(unknown, first, arrays, bases)
        _journeys(mine, first, sizes, *arrays)
    if "channel_metrics" in bases:
        first = bases["channel_metrics"]
        for key in _within(unknown, first, arrays, bases).tolist():
            sizes[key] = arrays.kbase[key] + facts.channels_size(key - first)[0]
    if "attribution" in bases:
        first = bases["attribution"]
        for key in _within(unknown, first, arrays, bases).tolist():
            size, arrays.krows[key] = facts.credits_size(key - first)
            arrays.ksize[key] = sizes[key] = arrays.kbase[key] + size
    return sizes


def _within(keys: Any, first: int, arrays: State, bases: Mapping[str, int]) -> Any:
    ends = [base for base in bases.values() if base > first]
    end = min(ends) if ends else int(arrays.ci[s.I_KEYS])
    return keys[(keys >= first) & (keys < end)]


@jit
def _put(*arguments: Any) -> Any:
    put(*arguments)


@jit
def _journeys(keys: Any, first: Any, sizes: Any, *arrays: Any) -> Any:
    a = address_of(State(*arrays))
    for key in keys:
        sizes[key] = a.kbase[key] + journey_size(a, key - first)


@jit
def _fill(
    places: Any, held: Any, lives: Any, ci: Any, cf: Any, isolates: Any, keys: Any, until: Any,
    fresh: Any, load: Any, sizes: Any,
) -> Any:  # fmt: skip
    end = ci[s.I_KEYS]
    for place in range(keys.size):
        isolate, key = isolates[place], keys[place]
        base = isolate * (end + 1)
        expires = until[place]
        if ci[s.I_KEEPS]:
            if fresh[place] < expires:
                expires = fresh[place]
            lives[base + key, 0] = fresh[place] + cf[s.F_BOUND]
            lives[base + key, 1] = fresh[place]
            lives[base + key, 2] = expires
            lives[base + key, 3] = load
            early = fresh[place] - cf[s.F_EARLY] * load
            if early < expires:
                expires = early
        keep(
            places, held, isolate, base, key, end, expires, sizes[key], ci[s.I_CAP],
            ci[s.I_CAP_BYTES],
        )  # fmt: skip
