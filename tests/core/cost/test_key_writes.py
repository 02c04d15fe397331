"""Claims about the most writes of one key within a second."""

from __future__ import annotations

import numpy as np
import pytest

from core.cost.key_writes import most_key_writes
from core.endpoints import CDP
from core.metrics.record import Requests
from core.wire import L1_HIT, L2_HIT, MISS, NEGATIVE

JOURNEY, TRACK = CDP.index("journey"), CDP.index("track")


def requests(
    rows: list[tuple[float, int, int, float, int, int]],
) -> Requests:
    """Return requests of (intended, endpoint, subject, latency, first read, second read)."""
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Requests(
        intended=columns[0].astype(float),
        endpoint=columns[1].astype(np.uint8),
        subject=columns[2].astype(np.uint32),
        isolate=np.zeros(len(rows), dtype=np.uint16),
        latency=columns[3].astype(float),
        reads=np.stack([columns[4], columns[5]], axis=1).astype(np.uint8),
    )


def most(rows: list[tuple[float, int, int, float, int, int]], *, after: float = 0.0) -> int:
    return most_key_writes(requests(rows), after=after, endpoints=CDP, sites=20)


def test_two_misses_of_one_key_within_a_second_are_two_writes() -> None:
    assert most([(0.0, JOURNEY, 7, 0.1, MISS, 0), (0.9, JOURNEY, 7, 0.1, MISS, 0)]) == 2


def test_a_second_apart_they_are_one_each() -> None:
    assert most([(0.0, JOURNEY, 7, 0.1, MISS, 0), (1.0, JOURNEY, 7, 0.1, MISS, 0)]) == 1


def test_a_write_takes_place_as_the_request_ends() -> None:
    assert most([(0.0, JOURNEY, 7, 0.9, MISS, 0), (1.5, JOURNEY, 7, 0.1, MISS, 0)]) == 2


def test_other_keys_types_and_hits_do_not_count() -> None:
    rows = [
        (0.0, JOURNEY, 7, 0.1, MISS, 0),
        (0.1, JOURNEY, 8, 0.1, MISS, 0),
        (0.2, JOURNEY, 7, 0.1, L1_HIT, 0),
        (0.3, JOURNEY, 7, 0.1, L2_HIT, 0),
        (0.4, TRACK, 7, 0.1, L1_HIT, MISS),
    ]
    assert most(rows) == 1


def test_users_of_one_site_write_one_key() -> None:
    rows = [(0.0, TRACK, 3, 0.1, MISS, L1_HIT), (0.1, TRACK, 23, 0.1, MISS, L1_HIT)]
    assert most(rows) == 2


def test_an_absence_is_written_too_and_the_warm_up_is_left_out() -> None:
    rows = [(0.0, JOURNEY, 7, 0.1, MISS, 0), (0.5, JOURNEY, 7, 0.1, MISS | NEGATIVE, 0)]
    assert most(rows) == 2
    assert most(rows, after=0.2) == 1


def test_no_miss_is_no_write() -> None:
    assert most([(0.0, JOURNEY, 7, 0.1, L1_HIT, 0)]) == 0


@pytest.mark.parametrize("seed", range(5))
def test_it_counts_as_one_pass_over_every_key_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        (float(at), JOURNEY, int(subject), float(taken), MISS, 0)
        for at, subject, taken in zip(
            np.sort(rng.uniform(0, 30, 300)), rng.integers(0, 9, 300), rng.uniform(0, 2, 300),
            strict=True,
        )
    ]  # fmt: skip
    written: dict[int, list[float]] = {}
    for at, _, subject, taken, *_ in rows:
        written.setdefault(subject, []).append(at + taken)
    slow = max(
        sum(end - 1.0 < other <= end for other in times)
        for times in written.values()
        for end in times
    )
    assert most(rows) == slow
