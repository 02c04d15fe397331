"""Entries of L1 and L2 and their lives: what the shipped cache and the simulated stores do."""

from __future__ import annotations

import math
from typing import Any

import sim.compiled.slots as s
from sim.compiled.jit import leaf, part
from sim.compiled.memory import ABSENT, keep, remove, touch
from sim.compiled.philox import at
from sim.compiled.state import State

HOT_KEYS = 200_000
"""As `core.emulation.kv` bounds them."""


@part
def promote(a: State, isolate: Any, key: Any, now: Any, fresh: Any, load: Any, size: Any) -> Any:
    """Put an entry into L1 for its TTL there, within its life."""
    ci, cf = a.ci, a.cf
    if ci[s.I_REQUEST_SCOPE]:
        return
    l1_until = now + cf[s.F_L1_TTL]
    if fresh < l1_until:
        l1_until = fresh
    expires = l1_until
    end = ci[s.I_KEYS]
    base = isolate * (end + 1)
    if ci[s.I_KEEPS]:
        early = fresh - cf[s.F_EARLY] * load
        if early < expires:
            expires = early
        lives = a.lives
        lives[base + key, 0] = fresh + cf[s.F_BOUND]
        lives[base + key, 1] = fresh
        lives[base + key, 2] = l1_until
        lives[base + key, 3] = load
        lives[base + key, 4] = 0.0
    a.cnt[s.C_EVICTED] += keep(
        a.places, a.held, isolate, base, key, end, expires, size, ci[s.I_CAP], ci[s.I_CAP_BYTES]
    )


@part
def drop(a: State, isolate: Any, key: Any) -> Any:
    """Take *key* out of L1, if it is there."""
    base = isolate * (a.ci[s.I_KEYS] + 1)
    if not a.ci[s.I_REQUEST_SCOPE] and a.places[base + key]["expires"] > ABSENT:
        remove(a.places, a.held, isolate, base, key)


@part
def is_retained(a: State, place: Any, now: Any) -> Any:
    """Return whether L1 has, at *place*, what has expired and may be fallen back on still."""
    if not a.ci[s.I_KEEPS] or a.ci[s.I_REQUEST_SCOPE]:
        return False
    return ABSENT < a.places[place]["expires"] <= now < a.lives[place, 0]


@part
def fall_back(a: State, place: Any, now: Any) -> Any:
    """Return the code of a read that is answered at *place* because its load failed, else 0.

    The key is not loaded again for a while.
    """
    if a.cf[s.F_SIE] == 0.0 or not is_retained(a, place, now):
        return 0
    fresh = a.lives[place, 1]
    if now >= fresh + a.cf[s.F_SIE]:
        return 0
    width = a.ci[s.I_KEYS] + 1
    touch(a.places, place - place % width, place % width, width - 1)
    pause(a, place, now)
    if now >= fresh:
        a.cnt[s.C_STALE] += 1
        return s.L1 | s.STALE
    return s.L1


@part
def pause(a: State, place: Any, now: Any) -> Any:
    """Let the key at *place* of L1 not be loaded again for a while: its load has failed."""
    if is_retained(a, place, now):
        a.lives[place, 4] = now + a.cf[s.F_RETRY_PAUSE]


@part
def renews_early(a: State, place: Any, now: Any, fresh: Any, load: Any) -> Any:
    """Return whether a read renews a fresh value."""
    if now + a.cf[s.F_EARLY] * load < fresh:
        return False
    u = at(a.seed, a.stream | s.P_EARLY, place)
    return now - a.cf[s.F_BETA] * load * math.log(1 - u) >= fresh


@part
def lifetime(a: State, place: Any, ttl: Any) -> Any:
    """Return the TTL of a loaded value, its jitter drawn."""
    jitter = a.cf[s.F_JITTER]
    if jitter != 0.0:
        ttl *= 1 - jitter * at(a.seed, a.stream | s.P_JITTER, place)
    return ttl


@part
def heat(a: State, process: Any, key: Any, until: Any, now: Any) -> Any:
    """Make *key* hot in a process, whose table is bounded as the reference's is."""
    hot, hots = a.hot, a.hots
    if hots[process] >= HOT_KEYS:
        for other in range(hot.shape[1]):
            if hot[process, other] >= 0.0 and not hot[process, other] > now:
                hot[process, other] = -1.0
                hots[process] -= 1
        if hots[process] >= HOT_KEYS:
            for other in range(hot.shape[1]):
                hot[process, other] = -1.0
            hots[process] = 0
    if hot[process, key] < 0.0:
        hots[process] += 1
    hot[process, key] = until


@leaf
def look_up(a: State, process: Any, key: Any, now: Any) -> Any:
    """Return whether L2 has *key* as the process sees it, its end, its load's time, its size."""
    central = a.central
    if not a.ci[s.I_EVENTUAL]:
        if central[key, 0] > now:
            return True, central[key, 1], central[key, 2], int(central[key, 3])
        return False, 0.0, 0.0, 0
    edge, edge_sizes, pop = a.edge, a.edge_sizes, process // a.ci[s.I_PER_POP]
    if not edge[pop, key, 0] > now:
        edge[pop, key, 0] = now + a.cf[s.F_CACHE_TTL]
        if central[key, 0] > now:
            edge[pop, key, 1] = a.ends[key]
            edge[pop, key, 2] = central[key, 1]
            edge[pop, key, 3] = central[key, 2]
            edge_sizes[pop, key] = int(central[key, 3])
        else:
            edge[pop, key, 1] = 0.0
    if edge[pop, key, 1] > now:
        return True, edge[pop, key, 2], edge[pop, key, 3], edge_sizes[pop, key]
    return False, 0.0, 0.0, 0


@part
def forget_l2(a: State, process: Any, key: Any, now: Any) -> Any:
    """Delete *key* from L2 at once."""
    a.cnt[s.C_L2_OPERATIONS] += 1
    a.cnt[s.C_DELETES] += 1
    if a.hot[process, key] >= 0.0:
        a.hot[process, key] = -1.0
        a.hots[process] -= 1
    a.central[key, 0] = -1.0
    if a.ci[s.I_EVENTUAL]:
        pop = process // a.ci[s.I_PER_POP]
        a.edge[pop, key, 0] = now + a.cf[s.F_CACHE_TTL]
        a.edge[pop, key, 1] = 0.0
