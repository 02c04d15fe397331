"""Loads that others join: the first request for a key begins one, and those behind it follow."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.agenda import make_ready
from sim.compiled.jit import part
from sim.compiled.state import State


@part
def begin_flight(a: State, place: Any) -> Any:
    """Begin a load that reads of the key at *place* of L1 join from now on; return its number."""
    flights, si = a.flights, a.si
    flight = si[s.S_FREE_F]
    si[s.S_FREE_F] = flights[flight, 2]
    si[s.S_USED_F] += 1
    flights[flight, 0] = -1
    flights[flight, 1] = -1
    a.places[place]["flight"] = flight
    return flight


@part
def follow(a: State, flight: Any, slot: Any) -> Any:
    """Let the request at *slot* wait for a flight, behind those that wait already."""
    flights, reqi = a.flights, a.reqi
    reqi[slot, s.RI_NEXT] = -1
    reqi[slot, s.RI_FAILURE] = s.SUCCEEDED
    if flights[flight, 0] < 0:
        flights[flight, 0] = slot
    else:
        reqi[flights[flight, 1], s.RI_NEXT] = slot
    flights[flight, 1] = slot


@part
def fail_flight(a: State, place: Any, flight: Any, failure: Any) -> Any:
    """End a flight that failed; those that wait for it go on with the failure."""
    if flight >= 0:
        follower = a.flights[flight, 0]
        while follower >= 0:
            a.reqi[follower, s.RI_FAILURE] = failure
            follower = a.reqi[follower, s.RI_NEXT]
        answer(a, place, flight)


@part
def answer(a: State, place: Any, flight: Any) -> Any:
    """End a flight, and make those that wait for it ready, in their order."""
    if flight < 0:
        return
    flights, si = a.flights, a.si
    if a.places[place]["flight"] == flight:
        a.places[place]["flight"] = -1
    follower = flights[flight, 0]
    while follower >= 0:
        make_ready(a, follower << 5 | s.R_REQUEST)
        follower = a.reqi[follower, s.RI_NEXT]
    flights[flight, 2] = si[s.S_FREE_F]
    si[s.S_FREE_F] = flight
    si[s.S_USED_F] -= 1
