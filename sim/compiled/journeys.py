"""The events of users in the order of time, for the sizes of journeys and the touches of
conversions."""

from __future__ import annotations

from typing import Any

import numpy as np

import sim.compiled.slots as s
from sim.compiled.jit import jit, leaf, part
from sim.compiled.philox import uniform, words
from sim.compiled.state import Array, State

NEWEST = 100
"""Events that a journey shows."""

EARLIER = 7
"""The bits of an event below its user's event before: its channel, and whether it converts."""

MOST_EVENTS = 2 ** (32 - EARLIER) - 1
"""Events whose numbers there is room for above these bits, with 0 for none."""

_CHANNELS = 63


@leaf
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


@leaf
def time_of(a: State, node: Any) -> Any:
    """Return when an event happened, in milliseconds from the start of the run."""
    seeded = a.ci[s.I_SEEDED]
    return a.seed_times[node] if node < seeded else a.intended_ns[node - seeded] // 1_000_000


@part
def channel_at(happened: Array, node: Any) -> Any:
    """Return the channel of an event."""
    return happened[node] >> 1 & _CHANNELS


@leaf
def earlier_of(event: Any) -> Any:
    """Return the number of the event before of the same user, -1 if there is none."""
    return np.int64(event >> EARLIER) - 1


@part
def add(a: State, request: Any, user: Any, converts: Any, channel: Any) -> Any:
    """Put the event of *request* behind those of its time: the later one has the higher id.

    Nodes below I_SEEDED are events of before the run; request r is node I_SEEDED + r.
    """
    users, newest, events = a.users, a.newest, a.happened
    node = a.ci[s.I_SEEDED] + request
    what = channel << 1 | converts
    time = a.intended_ns[request] // 1_000_000
    if users[user, s.U_TIME] <= time or users[user, s.U_LAST] < 0:
        events[node] = (users[user, s.U_LAST] + 1) << EARLIER | what
        users[user, s.U_LAST] = node
        users[user, s.U_TIME] = time
        if users[user, s.U_KNOWN]:
            size = event_size(a, request, converts, channel)
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
        if time_of(a, place) <= time:
            break
        behind, place = place, earlier_of(events[place])
    events[node] = (place + 1) << EARLIER | what
    events[behind] = (node + 1) << EARLIER | (events[behind] & (2**EARLIER - 1))


@part
def journey_size(a: State, user: Any) -> Any:
    """Return the bytes of the document of *user*'s newest events.

    Their sizes are looked up once, and kept up to date as events are added.
    """
    users, newest, events = a.users, a.newest, a.happened
    seeded = a.ci[s.I_SEEDED]
    if not users[user, s.U_KNOWN]:
        node, count, total = users[user, s.U_LAST], 0, np.int64(0)
        while node >= 0 and count < NEWEST:
            event = events[node]
            if node < seeded:
                size = a.seed_lengths[node]
            else:
                size = event_size(a, node - seeded, event & 1, event >> 1 & _CHANNELS)
            newest[user, NEWEST - 1 - count] = size  # the oldest stands where the next one goes
            total += size
            count += 1
            node = earlier_of(event)
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
    log, events = a.log, a.happened
    converted = a.intended_ns[request] // 1_000_000
    oldest = converted - a.ci[s.I_LOOKBACK] - 1
    own = a.ci[s.I_SEEDED] + request if a.ci[s.I_OWN] else -1
    node, count = a.users[user, s.U_LAST], 0
    group_time, group = oldest, 0
    earlier = channels = np.int64(0)  # the set without the group, and with it
    while node >= 0:
        event, time = events[node], time_of(a, node)
        if time <= oldest:
            break
        if time <= converted:
            if event & 1 and node != own:  # another conversion
                if time < converted:
                    if group_time == time:
                        count -= group
                        channels = earlier
                    break
            else:
                if time != group_time:
                    group_time, group, earlier = time, 0, channels
                group += 1
                channels |= np.int64(1) << (event >> 1 & _CHANNELS)
                if at + count < log.size:
                    log[at + count] = node
                else:
                    a.si[s.S_WHY] = s.WHY_TOUCHES
                count += 1
        node = earlier_of(event)
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
