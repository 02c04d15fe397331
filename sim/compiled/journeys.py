"""The events of users in the order of time, for the sizes of journeys and the touches of
conversions."""

from __future__ import annotations

from typing import Any

import numpy as np

import sim.compiled.slots as s
from sim.compiled.jit import jit, part
from sim.compiled.philox import uniform, words
from sim.compiled.state import State

NEWEST = 100
"""Events that a journey shows."""


@part
def event_of(a: State, request: Any) -> Any:
    """Return whether the event of *request* is a conversion, and its channel."""
    first, second, _, _ = words(a.seed, a.stream | s.P_EVENTS, request)
    return uniform(first) < a.cf[s.F_SHARE], int(uniform(second) * a.ci[s.I_CHANNELS])


@part
def digits(number: Any) -> Any:
    """Return how many decimal digits *number* has."""
    count = 1
    while number >= 10:
        number //= 10
        count += 1
    return count


@part
def event_size(a: State, request: Any, converts: Any, channel: Any) -> Any:
    """Return the bytes of the event of *request* in a journey."""
    size = digits(request)
    if converts:
        return a.ci[s.I_CONVERSION_TEXT] + 2 * size + a.channel_lengths[channel]
    return a.ci[s.I_EVENT_TEXT] + size + a.channel_lengths[channel]


@part
def add(a: State, request: Any, user: Any, size: Any) -> Any:
    """Put the event of *request* behind those of its time: the later one has the higher id.

    Nodes below I_SEEDED are events of before the run; request r is node I_SEEDED + r. Times are
    milliseconds from the start of the run.
    """
    users, newest, before, intended = a.users, a.newest, a.before, a.intended_ns
    seeded = a.ci[s.I_SEEDED]
    node = seeded + request
    time = intended[request] // 1_000_000
    if users[user, s.U_TIME] <= time or users[user, s.U_LAST] < 0:
        before[node] = users[user, s.U_LAST]
        users[user, s.U_LAST] = node
        users[user, s.U_TIME] = time
        if users[user, s.U_KNOWN]:
            at = users[user, s.U_AT]
            users[user, s.U_BYTES] += size
            if users[user, s.U_COUNT_NEWEST] < NEWEST:
                users[user, s.U_COUNT_NEWEST] += 1
            else:
                users[user, s.U_BYTES] -= newest[user, at]
            newest[user, at] = size
            users[user, s.U_AT] = at + 1 if at + 1 < NEWEST else 0
        return
    users[user, s.U_KNOWN] = 0
    place, behind = users[user, s.U_LAST], np.int64(-1)
    while place >= 0:
        at = a.seed_times[place] if place < seeded else intended[place - seeded] // 1_000_000
        if at <= time:
            break
        behind, place = place, np.int64(before[place])
    before[node] = place
    before[behind] = node


@part
def journey_size(a: State, user: Any) -> Any:
    """Return the bytes of the document of *user*'s newest events.

    Their sizes are looked up once, and kept up to date as events are added.
    """
    users, newest = a.users, a.newest
    seeded = a.ci[s.I_SEEDED]
    if not users[user, s.U_KNOWN]:
        node, count, total = users[user, s.U_LAST], 0, np.int64(0)
        while node >= 0 and count < NEWEST:
            if node < seeded:
                size = a.seed_lengths[node]
            else:
                converts, channel = event_of(a, node - seeded)
                size = event_size(a, node - seeded, converts, channel)
            newest[user, NEWEST - 1 - count] = size  # the oldest stands where the next one goes
            total += size
            count += 1
            node = np.int64(a.before[node])
        if count < NEWEST:
            for place in range(count):
                newest[user, place] = newest[user, NEWEST - count + place]
        users[user, s.U_KNOWN] = 1
        users[user, s.U_BYTES] = total
        users[user, s.U_COUNT_NEWEST] = count
        users[user, s.U_AT] = count if count < NEWEST else 0
    count = users[user, s.U_COUNT_NEWEST]
    commas = count - 1 if count > 0 else 0
    return a.ci[s.I_JOURNEY_HEAD] + digits(user) + users[user, s.U_BYTES] + commas


@part
def touches_of(a: State, request: Any, user: Any, at: Any) -> Any:
    """Return how many touches the conversion of *request* has now, and the set of their channels.

    They are written to the log from *at* on, the newest first.
    """
    intended, log = a.intended_ns, a.log
    seeded = a.ci[s.I_SEEDED]
    converted = intended[request] // 1_000_000
    oldest = converted - a.ci[s.I_LOOKBACK] - 1
    node, count = a.users[user, s.U_LAST], 0
    group_time, group = oldest, 0
    earlier = channels = np.int64(0)  # the set without the group, and with it
    while node >= 0:
        if node < seeded:
            time, is_conversion = a.seed_times[node], a.seed_kinds[node] > 0
            channel = int(a.seed_channels[node])
        else:
            time = intended[node - seeded] // 1_000_000
            is_conversion, channel = event_of(a, node - seeded)
        if time <= oldest:
            break
        if time <= converted:
            is_own = a.ci[s.I_OWN] and node == seeded + request
            if is_conversion and not is_own:
                if time < converted:
                    if group_time == time:
                        count -= group
                        channels = earlier
                    break
            else:
                if time != group_time:
                    group_time, group, earlier = time, 0, channels
                group += 1
                channels |= np.int64(1) << channel
                if at + count < log.size:
                    log[at + count] = node
                else:
                    a.si[s.S_WHY] = s.WHY_TOUCHES
                count += 1
        node = np.int64(a.before[node])
    return count, channels


@part
def text_order(number: Any) -> Any:
    """Return a number by which whole numbers are in the order of their texts."""
    length = digits(number)
    key = np.int64(number) * 16 + length
    for _ in range(10 - length):
        key = (key - length) * 10 + length
    return key


@part
def in_order(converted: Any, first: Any, end: Any, order: Any, keys: Any) -> Any:
    """Write the places *first* to *end* of conversions to *order*, by their ids as texts."""
    for place in range(first, end):
        key = text_order(converted[place])
        at = place - first
        while at > 0 and keys[at - 1] > key:
            keys[at] = keys[at - 1]
            order[at] = order[at - 1]
            at -= 1
        keys[at] = key
        order[at] = place


@jit
def drawn_events(ci: Any, seed: Any, stream: Any, requests: Any, channels: Any, cents: Any) -> Any:
    """Write the channel and the value in cents of the events of *requests*."""
    for place in range(requests.size):
        _, b, c, _ = words(seed, stream | s.P_EVENTS, requests[place])
        channels[place] = int(uniform(b) * ci[s.I_CHANNELS])
        cents[place] = int(1_000 + uniform(c) * 19_000)
