"""Claims about the search for a size, on responses that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from core.metrics.sweep import COST, SweepCell
from sim.sizing import RESOLUTION, Knob, Point, find_size

ENTRIES = Knob(name="entries", low=1, high=4096, is_whole=True)


class World:
    """Cells that pass where *is_met* says so, at *cost*; counts what was looked at."""

    def __init__(
        self, is_met: Callable[[Point], bool], cost: Callable[[Point], float] | None = None
    ) -> None:
        self._is_met, self._cost = is_met, cost
        self.seen: list[Point] = []

    def __call__(self, points: Sequence[Point]) -> list[SweepCell]:
        self.seen += points
        return [
            SweepCell(
                values=tuple(map(str, point)), scenario_hash="", runs=1,
                figures={} if self._cost is None else {COST: self._cost(point)}, intervals={},
                outcomes={"hit_ratio": "PASS" if self._is_met(point) else "WARN"},
            )
            for point in points
        ]  # fmt: skip


@pytest.mark.parametrize("edge", [1, 2, 3, 17, 100, 1000, 4095, 4096])
def test_smallest_value_is_found_to_its_resolution(edge: int) -> None:
    world = World(lambda point: point[0] >= edge)
    found = find_size([ENTRIES], world)
    assert found.point is not None
    assert edge <= found.point[0] <= max(edge, edge * (1 + RESOLUTION))
    assert len(world.seen) == len({*world.seen}) <= 13 + 7
    (smaller,) = found.smaller
    if edge == 1:
        assert smaller is None
    else:
        assert smaller is not None
        assert smaller < edge
        assert found.point[0] - smaller <= max(1, RESOLUTION * smaller)


def test_response_that_worsens_again_is_scanned_and_its_holes_are_told() -> None:
    found = find_size([ENTRIES], World(lambda point: 40 <= point[0] < 200 or point[0] >= 1000))
    assert found.point is not None
    assert 40 <= found.point[0] <= 42
    assert found.holes == (256.0, 512.0)


def test_durations_are_found_and_no_value_is_said() -> None:
    ttl = Knob(name="ttl", low=0.5, high=300.0)
    found = find_size([ttl], World(lambda point: point[0] >= 12.34))
    assert found.point is not None
    assert 12.34 <= found.point[0] <= 12.34 * (1 + RESOLUTION)
    assert find_size([ttl], World(lambda _: False)).point is None


def test_of_several_fields_the_cheapest_is_found_and_equal_prices_give_the_smallest() -> None:
    ttl = Knob(name="ttl", low=1.0, high=1024.0)
    # Either may be large: a long life is twice as cheap as many entries.
    world = World(
        lambda point: point[0] * point[1] >= 4096,
        lambda point: 2.0 + point[0] / 4096 + point[1] / 2048,
    )
    found = find_size([ENTRIES, ttl], world)
    assert found.point is not None
    entries, seconds = found.point
    cheapest = min(
        2.0 + a / 4096 + b / 2048
        for a in range(1, 4097) for b in range(1, 1025) if a * b >= 4096
    )  # fmt: skip
    assert entries * seconds >= 4096
    assert 2.0 + entries / 4096 + seconds / 2048 <= cheapest * 1.03
    for place, value in enumerate(found.smaller):
        assert value is not None
        point = (*found.point[:place], value, *found.point[place + 1 :])
        assert not world([point])[0].is_met
    free = find_size([ENTRIES, ttl], World(lambda point: point[0] * point[1] >= 4096))
    assert free.point is not None
