"""The reader of lines that numba compiles: loaded only for logs that are worth it."""

from __future__ import annotations

import numpy as np
from numba import njit

from scenarios.intake.compiled_values import (
    FNV,
    PRIME,
    decimal,
    digits,
    fnv_hash,
    listed,
    lower_hash,
    rotated,
    siphash,
    time_at,
)
from scenarios.intake.tables import Bytes, Integers, Tables, Words

_MOST_SEGMENTS = 24


@njit(cache=True, nogil=True)
def _has(data: Bytes, start: int, stop: int, words: Bytes, first: int, last: int) -> bool:
    """Return whether the bytes hold a word of small letters, in whatever case."""
    length = last - first
    for at in range(start, stop - length + 1):
        place = 0
        while place < length:
            byte = data[at + place]
            if 65 <= byte <= 90:
                byte += 32
            if byte != words[first + place]:
                break
            place += 1
        if place == length:
            return True
    return False


@njit(cache=True, nogil=True)
def _among(value: np.uint64, hashes: Words) -> bool:
    found = False
    for place in range(len(hashes)):
        found |= hashes[place] == value
    return found


@njit(cache=True, nogil=True)
def _goes_on(data: Bytes, begin: int, place: int, stop: int) -> bool:
    """Return whether the space at *place* stands within a list: "a, b" or "a : b"."""
    if place > begin and (data[place - 1] == 44 or data[place - 1] == 58):
        return True
    return place + 2 < stop and data[place + 1] == 58 and data[place + 2] == 32


@njit(cache=True, nogil=True, inline="always")
def _parsed(
    data: Bytes,
    start: int,
    stop: int,
    head: Bytes,
    part_field: Integers,
    part_after: Integers,
    after: Bytes,
    part_quoting: Integers,
    part_per_second: Integers,
    is_open: bool,
    spans: Integers,
) -> int:
    """Fill *spans* with where each field of the line stands; return its latency, or -2: no line.

    The latency is in microseconds, -1 where the line does not tell it.
    """
    spans[:] = -1
    for place in range(len(head)):
        if start + place >= stop or data[start + place] != head[place]:
            return -2
    at = start + len(head)
    latency, known, parts = 0, False, len(part_field)
    for part in range(parts):
        quoting, first, last = part_quoting[part], part_after[part], part_after[part + 1]
        begin = at
        is_last = part == parts - 1
        end = -1
        quotes = quoting == 2 and at < stop and data[at] == 34
        if quotes:
            begin = at + 1
            place = begin
            while place < stop and data[place] != 34:
                place += 2 if data[place] == 92 else 1
            if place >= stop:
                return -2
            end = place
            at = place + 1
            if first < last:
                if at + last - first > stop:
                    return -2
                for each in range(first, last):
                    if data[at + each - first] != after[each]:
                        return -2
                at += last - first
            elif at != stop:
                return -2
        elif first == last:
            end = stop
            if is_open and is_last:
                end = begin
                while end < stop and data[end] != 32:
                    end += 1
            at = end
        else:
            place, length, mark = begin, last - first, after[first]
            while place + length <= stop:
                byte = data[place]
                if byte == 92 and quoting == 1:
                    place += 2
                    continue
                if byte == mark:
                    each = 1
                    while each < length and data[place + each] == after[first + each]:
                        each += 1
                    if each == length and not (quoting == 3 and _goes_on(data, begin, place, stop)):
                        end = place
                        break
                place += 1
            if end < 0:
                return -2
            at = end + length
        field = part_field[part]
        if field == 9:
            value = decimal(data, begin, end)
            if value < 0:
                value = listed(data, begin, end)
            if value < 0:
                latency, known = -1, True
            elif latency >= 0:
                latency += value // part_per_second[part]
                known = True
        elif field > 0:
            spans[field, 0], spans[field, 1] = begin, end
    if at != stop and not is_open:
        return -2
    return latency if known else -1


@njit(cache=True, nogil=True)
def _request(data: Bytes, spans: Integers) -> bool:
    """Fill the spans of method, target and query; return whether there is such a request."""
    if spans[4, 0] >= 0:
        start, stop = spans[4, 0], spans[4, 1]
        gap = start
        while gap < stop and data[gap] != 32:
            gap += 1
        if gap == stop:
            return False
        spans[5, 0], spans[5, 1] = start, gap
        end = stop
        place = stop - 1
        while place > gap and data[place] != 32:
            place -= 1
        if (
            place > gap
            and place + 5 < stop
            and data[place + 1] == 72
            and data[place + 2] == 84
            and data[place + 3] == 84
            and data[place + 4] == 80
            and data[place + 5] == 47
        ):
            end = place  # HTTP/
        spans[6, 0], spans[6, 1] = gap + 1, end
    if spans[5, 0] >= 0:
        if spans[5, 0] == spans[5, 1] or spans[5, 1] - spans[5, 0] > 32:
            return False
        for place in range(spans[5, 0], spans[5, 1]):
            if not (65 <= data[place] <= 90 or data[place] == 45 or data[place] == 95):
                return False
    start, stop = spans[6, 0], spans[6, 1]
    if start < 0 or start >= stop:
        return False
    if data[start] != 47:
        place = start
        while place + 2 < stop and not (
            data[place] == 58 and data[place + 1] == 47 and data[place + 2] == 47
        ):
            place += 1
        if place + 2 >= stop or place == start:
            return False
        place += 3
        while place < stop and data[place] != 47 and data[place] != 63:
            place += 1
        start = place
    place = start
    while place < stop and data[place] != 63 and data[place] != 35:
        place += 1
    if place < stop and data[place] == 63:
        spans[7, 0], spans[7, 1] = place + 1, stop
    spans[6, 0], spans[6, 1] = start, place
    return True


@njit(cache=True, nogil=True, inline="always")
def _key(
    data: Bytes,
    spans: Integers,
    rule_segments: Integers,
    segment: Words,
    rule_key: Integers,
    rule_parameter: Integers,
    parameter: Bytes,
    salt: Words,
    rule: int,
    bounds: Integers,
    at: Integers,
    row: int,
) -> np.uint64:
    """Return the hashed key of a request of *rule*, and note where it stands in *at*."""
    kind = rule_key[rule]
    begin, end = -1, -1
    if kind == 0:
        found = np.uint64(0)
        first = rule_segments[rule]
        for place in range(rule_segments[rule + 1] - first):
            if segment[first + place] == np.uint64(1):
                start, stop = bounds[place, 0], bounds[place, 1]
                part = siphash(data, start, stop, salt[0], salt[1])
                found = part if begin < 0 else rotated(found, 23) * PRIME ^ part
                begin = start if begin < 0 else begin
                end = stop
        at[row, 0], at[row, 1] = begin, end
        return found
    if kind == 1:
        return np.uint64(1)
    if kind == 2:
        first, last = rule_parameter[rule], rule_parameter[rule + 1]
        place = spans[7, 0]
        while 0 <= place < spans[7, 1]:
            stop = place
            while stop < spans[7, 1] and data[stop] != 38 and data[stop] != 35:
                stop += 1
            same = stop - place > last - first and data[place + last - first] == 61
            if same:
                for each in range(last - first):
                    if data[place + each] != parameter[first + each]:
                        same = False
                        break
            if same:
                begin, end = place + last - first + 1, stop
                break
            if stop < spans[7, 1] and data[stop] == 35:
                break
            place = stop + 1
    else:
        field = 11 if kind == 3 else 12
        begin, end = spans[field, 0], spans[field, 1]
    if begin < 0 or begin >= end or (end - begin == 1 and data[begin] == 45):
        return np.uint64(1)
    at[row, 0], at[row, 1] = begin, end
    return siphash(data, begin, end, salt[0], salt[1])


@njit(cache=True, nogil=True, inline="always")
def _rule(
    data: Bytes,
    spans: Integers,
    rule_method: Words,
    rule_segments: Integers,
    segment: Words,
    get: np.uint64,
    head_method: np.uint64,
    static: Words,
    bounds: Integers,
    hashes: Words,
) -> int:
    """Return the rule of a request, -1 or -2 (see Left) if there is none; fill *bounds*."""
    place, stop, count = spans[6, 0], spans[6, 1], 0
    while place < stop:
        while place < stop and data[place] == 47:
            place += 1
        if place == stop:
            break
        begin = place
        found = FNV
        while place < stop and data[place] != 47:
            found = (found ^ np.uint64(data[place])) * PRIME
            place += 1
        if count == _MOST_SEGMENTS:
            return -1
        bounds[count, 0], bounds[count, 1] = begin, place
        hashes[count] = found
        count += 1
    method = np.uint64(0)
    if spans[5, 0] >= 0:
        method = fnv_hash(data, spans[5, 0], spans[5, 1])
    for rule in range(len(rule_method)):
        first = rule_segments[rule]
        if rule_segments[rule + 1] - first != count:
            continue
        if rule_method[rule] != np.uint64(0) and rule_method[rule] != method:
            continue
        each = 0
        while each < count:
            wanted = segment[first + each]
            if wanted > np.uint64(1) and wanted != hashes[each]:
                break
            each += 1
        if each == count:
            return rule
    if count and (method == np.uint64(0) or method in (get, head_method)):
        last = bounds[count - 1, 1]
        dot = last - 1
        while dot > bounds[count - 1, 0] and data[dot] != 46:
            dot -= 1
        if data[dot] == 46 and _among(lower_hash(data, dot, last), static):
            return -2
    return -1


@njit(cache=True, nogil=True)
def scan(
    data: Bytes,
    ends: Integers,
    t: Tables,
    codes: Integers,
    times: Integers,
    keys: Words,
    at: Integers,
    statuses: Integers,
    latencies: Integers,
    caches: Integers,
    zones: Integers,
) -> None:
    """Read the lines of *data* that end at *ends*, and fill a row of the other arrays for each."""
    # Attributes of a tuple are counted references, so the loop has them as names of its own.
    head = t.head
    part_field = t.part_field
    part_after = t.part_after
    after = t.after
    part_quoting = t.part_quoting
    part_per_second = t.part_per_second
    is_open = t.is_open
    is_end = t.is_end
    time_form = t.time_form
    rule_method = t.rule_method
    rule_segments = t.rule_segments
    segment = t.segment
    rule_key = t.rule_key
    rule_parameter = t.rule_parameter
    parameter = t.parameter
    rule_code = t.rule_code
    get = t.get
    head_method = t.head_method
    static = t.static
    hits = t.hits
    misses = t.misses
    agent = t.agent
    agents = t.agents
    salt = t.salt
    spans = np.empty((14, 2), np.int64)
    bounds = np.empty((_MOST_SEGMENTS, 2), np.int64)
    hashes = np.empty(_MOST_SEGMENTS, np.uint64)
    start = 0
    for row in range(len(ends)):
        begin, stop = start, ends[row]
        start = stop + 1
        if stop > begin and data[stop - 1] == 13:
            stop -= 1
        keys[row], at[row, 0], at[row, 1] = np.uint64(0), -1, -1
        times[row], statuses[row], latencies[row], caches[row] = 0, -1, -1, -1
        if begin == stop or data[begin] == 35:
            codes[row] = -9
            continue
        latency = _parsed(
            data,
            begin,
            stop,
            head,
            part_field,
            part_after,
            after,
            part_quoting,
            part_per_second,
            is_open,
            spans,
        )
        if latency == -2:
            codes[row] = -3
            continue
        time = time_at(data, spans, time_form, zones)
        if time < 0:
            codes[row] = -5
            continue
        if spans[8, 0] >= 0:
            status = digits(data, spans[8, 0], 3, spans[8, 1])
            if spans[8, 1] - spans[8, 0] != 3 or status < 0:
                codes[row] = -6
                continue
            statuses[row] = status
        times[row] = time - latency if is_end and latency > 0 else time
        if not _request(data, spans):
            codes[row] = -4
            continue
        is_left = False
        if spans[13, 0] >= 0:
            for word in range(len(agent) - 1):
                if _has(data, spans[13, 0], spans[13, 1], agents, agent[word], agent[word + 1]):
                    is_left = True
                    break
        if is_left:
            codes[row] = -7
            continue
        rule = _rule(
            data,
            spans,
            rule_method,
            rule_segments,
            segment,
            get,
            head_method,
            static,
            bounds,
            hashes,
        )
        if rule < 0:
            codes[row] = rule
            continue
        latencies[row] = latency
        if spans[10, 0] >= 0:
            found = lower_hash(data, spans[10, 0], spans[10, 1])
            caches[row] = 1 if _among(found, hits) else 0 if _among(found, misses) else 2
        keys[row] = _key(
            data,
            spans,
            rule_segments,
            segment,
            rule_key,
            rule_parameter,
            parameter,
            salt,
            rule,
            bounds,
            at,
            row,
        )
        codes[row] = rule_code[rule]
