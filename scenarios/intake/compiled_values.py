"""Values of a line that numba reads: numbers, times, hashes."""

from __future__ import annotations

import numpy as np
from numba import njit

from scenarios.intake.tables import Bytes, Integers

FNV = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x100000001B3)


@njit(cache=True, nogil=True)
def fnv_hash(data: Bytes, start: int, stop: int) -> np.uint64:
    """Return the FNV-1a hash of bytes: it tells texts of a table apart, and hides nothing."""
    found = FNV
    for at in range(start, stop):
        found = (found ^ np.uint64(data[at])) * PRIME
    return found


@njit(cache=True, nogil=True)
def lower_hash(data: Bytes, start: int, stop: int) -> np.uint64:
    found = FNV
    for at in range(start, stop):
        byte = data[at]
        if 65 <= byte <= 90:
            byte += 32
        found = (found ^ np.uint64(byte)) * PRIME
    return found


@njit(cache=True, nogil=True)
def rotated(value: np.uint64, by: int) -> np.uint64:
    return (value << np.uint64(by)) | (value >> np.uint64(64 - by))


@njit(cache=True, nogil=True)
def siphash(data: Bytes, start: int, stop: int, k0: np.uint64, k1: np.uint64) -> np.uint64:
    """Return SipHash-2-4 (Aumasson and Bernstein, 2012) of bytes under the key k0, k1."""
    v0 = k0 ^ np.uint64(0x736F6D6570736575)
    v1 = k1 ^ np.uint64(0x646F72616E646F6D)
    v2 = k0 ^ np.uint64(0x6C7967656E657261)
    v3 = k1 ^ np.uint64(0x7465646279746573)
    length = stop - start
    at = start
    last = np.uint64(length & 0xFF) << np.uint64(56)
    for block in range(length // 8 + 1):
        word = np.uint64(0)
        if block < length // 8:
            for place in range(8):
                word |= np.uint64(data[at + place]) << np.uint64(8 * place)
            at += 8
        else:
            for place in range(length % 8):
                word |= np.uint64(data[at + place]) << np.uint64(8 * place)
            word |= last
        v3 ^= word
        for _ in range(2):
            v0 += v1
            v2 += v3
            v1 = rotated(v1, 13) ^ v0
            v3 = rotated(v3, 16) ^ v2
            v0 = rotated(v0, 32)
            v2 += v1
            v0 += v3
            v1 = rotated(v1, 17) ^ v2
            v3 = rotated(v3, 21) ^ v0
            v2 = rotated(v2, 32)
        v0 ^= word
    v2 ^= np.uint64(0xFF)
    for _ in range(4):
        v0 += v1
        v2 += v3
        v1 = rotated(v1, 13) ^ v0
        v3 = rotated(v3, 16) ^ v2
        v0 = rotated(v0, 32)
        v2 += v1
        v0 += v3
        v1 = rotated(v1, 17) ^ v2
        v3 = rotated(v3, 21) ^ v0
        v2 = rotated(v2, 32)
    return v0 ^ v1 ^ v2 ^ v3


@njit(cache=True, nogil=True)
def digits(data: Bytes, at: int, count: int, stop: int) -> int:
    """Return the number of *count* digits at *at*, -1 if they are none."""
    if at + count > stop:
        return -1
    value = 0
    for place in range(at, at + count):
        digit = data[place] - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value


@njit(cache=True, nogil=True)
def day_of(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01; -(2**40) for no date."""
    if year < 1970 or year > 9999 or month < 1 or month > 12 or day < 1:
        return -(2**40)
    longest = 31
    if month in (4, 6, 9, 11):
        longest = 30
    elif month == 2:
        longest = 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    if day > longest:
        return -(2**40)
    shifted = year - (1 if month <= 2 else 0)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


@njit(cache=True, nogil=True)
def clock_at(data: Bytes, at: int, stop: int) -> int:
    """Return the seconds of the day of HH:MM:SS at *at*, -1 if it is none."""
    hour, minute = digits(data, at, 2, stop), digits(data, at + 3, 2, stop)
    second = digits(data, at + 6, 2, stop)
    if hour < 0 or minute < 0 or second < 0 or hour > 23 or minute > 59 or second > 59:
        return -1
    if data[at + 2] != 58 or data[at + 5] != 58:
        return -1
    return hour * 3600 + minute * 60 + second


@njit(cache=True, nogil=True)
def zone_at(data: Bytes, at: int, stop: int) -> int:
    """Return the seconds of +HHMM or +HH:MM, which fill the rest; 10**6 if there are none."""
    if stop - at < 5 or (data[at] != 43 and data[at] != 45):
        return 10**6
    hour = digits(data, at + 1, 2, stop)
    place = at + 4 if data[at + 3] == 58 else at + 3
    minute = digits(data, place, 2, stop)
    if hour < 0 or minute < 0 or hour > 23 or minute > 59 or place + 2 != stop:
        return 10**6
    seconds = hour * 3600 + minute * 60
    return -seconds if data[at] == 45 else seconds


@njit(cache=True, nogil=True)
def decimal(data: Bytes, start: int, stop: int) -> int:
    """Return a number of at least 0 in millionths, rounded down; -1 if it is none."""
    value, fraction, digits, place = 0, 0, 0, start
    while place < stop and 48 <= data[place] <= 57:
        if value > 9 * 10**17:
            return -1
        value = value * 10 + (data[place] - 48)
        place += 1
        digits += 1
    if digits == 0:
        return -1
    if place < stop and data[place] == 46:
        place += 1
        count = 0
        while place < stop and 48 <= data[place] <= 57:
            if count < 6:
                fraction = fraction * 10 + (data[place] - 48)
                count += 1
            place += 1
        while count < 6:
            fraction *= 10
            count += 1
    if place != stop:
        return -1
    if value > 9 * 10**12:
        return -2 - value  # too large for millionths, as nanoseconds since 1970 are
    return value * 1_000_000 + fraction


@njit(cache=True, nogil=True)
def listed(data: Bytes, start: int, stop: int) -> int:
    """Return the sum of a list of times in millionths, as `plain.sum_of` does; -1: it has none."""
    total, known, begin, place = 0, False, start, start
    while place <= stop:
        width = 0
        if place == stop:
            width = 1
        elif place + 1 < stop and data[place] == 44 and data[place + 1] == 32:
            width = 2
        elif (
            place + 2 < stop
            and data[place] == 32
            and data[place + 1] == 58
            and data[place + 2] == 32
        ):
            width = 3
        if width == 0:
            place += 1
            continue
        if not (place - begin == 1 and data[begin] == 45):
            value = decimal(data, begin, place)
            if value < 0:
                return -1
            total, known = total + value, True
        place += width
        begin = place
    return total if known else -1


@njit(cache=True, nogil=True)
def month_at(data: Bytes, at: int) -> int:
    names = b"JanFebMarAprMayJunJulAugSepOctNovDec"
    for month in range(12):
        if (
            data[at] == names[3 * month]
            and data[at + 1] == names[3 * month + 1]
            and data[at + 2] == names[3 * month + 2]
        ):
            return month + 1
    return 0


@njit(cache=True, nogil=True)
def clf(data: Bytes, start: int, stop: int) -> int:
    """Return the microseconds since 1970 of 20/Nov/2026:18:00:00 +0000, -1 if it is none."""
    if stop - start != 26 or data[start + 2] != 47 or data[start + 6] != 47:
        return -1
    if data[start + 11] != 58 or data[start + 20] != 32:
        return -1
    day = day_of(digits(data, start + 7, 4, stop), month_at(data, start + 3),
               digits(data, start, 2, stop))  # fmt: skip
    clock, zone = clock_at(data, start + 12, stop), zone_at(data, start + 21, stop)
    if day < 0 or clock < 0 or zone == 10**6:
        return -1
    return (day * 86_400 + clock - zone) * 1_000_000


@njit(cache=True, nogil=True)
def iso(data: Bytes, start: int, stop: int, zones: Integers) -> int:
    """Return the microseconds since 1970 of 2026-11-20T18:00:00.123456Z, -1 if it is none.

    zones[0] counts times without a zone, which are taken as UTC.
    """
    if stop - start < 19 or data[start + 4] != 45 or data[start + 7] != 45:
        return -1
    if data[start + 10] != 84 and data[start + 10] != 32:
        return -1
    day = day_of(digits(data, start, 4, stop), digits(data, start + 5, 2, stop),
               digits(data, start + 8, 2, stop))  # fmt: skip
    clock = clock_at(data, start + 11, stop)
    if day < 0 or clock < 0:
        return -1
    place, fraction = start + 19, 0
    if place < stop and (data[place] == 46 or data[place] == 44):
        place += 1
        count = 0
        first = place
        while place < stop and 48 <= data[place] <= 57:
            if count < 6:
                fraction = fraction * 10 + (data[place] - 48)
                count += 1
            place += 1
        if place == first:
            return -1
        while count < 6:
            fraction *= 10
            count += 1
    zone = 0
    if place == stop:
        zones[0] += 1
    elif data[place] == 90 and place + 1 == stop:
        zone = 0
    else:
        zone = zone_at(data, place, stop)
        if zone == 10**6:
            return -1
    return (day * 86_400 + clock - zone) * 1_000_000 + fraction


@njit(cache=True, nogil=True)
def time_at(data: Bytes, spans: Integers, form: int, zones: Integers) -> int:
    if form == 6:
        start, stop = spans[2, 0], spans[2, 1]
        if stop - start != 10 or data[start + 4] != 45 or data[start + 7] != 45:
            return -1
        day = day_of(digits(data, start, 4, stop), digits(data, start + 5, 2, stop),
                   digits(data, start + 8, 2, stop))  # fmt: skip
        begin, end = spans[3, 0], spans[3, 1]
        clock = clock_at(data, begin, end)
        if day < 0 or clock < 0:
            return -1
        fraction = 0
        if end - begin > 8:
            if data[begin + 8] != 46:
                return -1
            fraction = decimal(data, begin + 9, end)
            if fraction < 0 or end - begin - 9 > 6:
                return -1
            fraction //= 10 ** (end - begin - 9)
        return (day * 86_400 + clock) * 1_000_000 + fraction
    start, stop = spans[1, 0], spans[1, 1]
    if form == 0:
        return clf(data, start, stop)
    if form == 1:
        return iso(data, start, stop, zones)
    value = decimal(data, start, stop)
    if value < -1:
        value = -2 - value
        return value if form == 4 else value // 1000 if form == 5 else -1
    if value < 0 or form == 2:
        return value
    return value // 1000 if form == 3 else value // 10**6 if form == 4 else value // 10**9
