"""The arrays of a run, which are all of its state."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


class State(NamedTuple):
    """The arrays of a run, in the order in which the loop takes them.

    central: by key what L2 has of it: its end, how long it is fresh, its load's time, its bytes.
    ends: where edges see it end. happened: by event (of before the run, then by request) its user's
    event before, its channel and whether it converts (`sim.compiled.journeys`).
    """

    cf: Array
    ci: Array
    si: Array
    cnt: Array
    seed: Any
    stream: Any
    counted: Array
    arrivals: Array
    intended_ns: Array
    endpoint: Array
    subject: Array
    isolate: Array
    total: Array
    codes: Array
    failure: Array
    epf: Array
    epi: Array
    reads: Array
    tyf: Array
    tyi: Array
    kbase: Array
    ksize: Array
    krows: Array
    faults: Array
    parts: Array
    t_read: Array
    t_cold: Array
    t_write: Array
    t_trip: Array
    t_rx: Array
    t_wx: Array
    t_sent: Array
    times: Array
    sequences: Array
    events: Array
    ready: Array
    reqf: Array
    reqi: Array
    flights: Array
    putf: Array
    puts: Array
    aparts: Array
    newf: Array
    news: Array
    askf: Array
    asks: Array
    batf: Array
    bats: Array
    delf: Array
    dels: Array
    places: Array
    held: Array
    lives: Array
    rows: Array
    rows_held: Array
    rows_value: Array
    central: Array
    edge: Array
    ends: Array
    edge_sizes: Array
    written: Array
    hot: Array
    hots: Array
    cpu_free: Array
    servers: Array
    breaker: Array
    due: Array
    background: Array
    in_flight: Array
    hist: Array
    sums: Array
    seen: Array
    phist: Array
    psums: Array
    growth: Array
    seed_times: Array
    seed_lengths: Array
    channel_lengths: Array
    users: Array
    newest: Array
    happened: Array
    converted: Array
    touch_from: Array
    begun: Array
    waiting: Array
    touch_count: Array
    log: Array
    outbox: Array
    taken: Array
    bodies: Array
    order: Array
    order_keys: Array
