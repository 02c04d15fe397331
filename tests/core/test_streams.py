"""Claims about random numbers by address: the same address always gives the same number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from core.context import Purpose
from core.distributions import constant, exponential
from core.streams import Stream

ROWS = st.sampled_from([0, 1, 1_022, 1_023, 1_024, 1_025, 5_000, 10**9, 2**40]) | st.integers(
    0, 10_000
)


@given(
    width=st.integers(1, 7),
    asked=st.lists(st.tuples(ROWS, st.integers(0, 6), st.booleans()), min_size=1, max_size=20),
)
def test_an_address_has_its_number_whatever_was_asked_before(
    width: int, asked: list[tuple[int, int, bool]]
) -> None:
    used = Stream(7, Purpose.L2_READ, width=width)
    latency = exponential(0.25)
    sample, same = used.sampler(latency), used.sampler(constant(0.5))
    for row, slot, samples in asked:
        slot %= width
        fresh = Stream(7, Purpose.L2_READ, width=width).rows(row, 1)[0].tolist()[slot]
        assert same(row, slot) == 0.5
        if samples:
            assert sample(row, slot) == latency.sample(fresh)
        else:
            assert used.at(row, slot) == fresh


def test_requests_on_both_sides_of_a_border_draw_each_block_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[int] = []
    draw = Stream.rows

    def counted(self: Stream, first: int, count: int) -> NDArray[np.float64]:
        drawn.append(first)
        return draw(self, first, count)

    monkeypatch.setattr(Stream, "rows", counted)
    stream = Stream(7, Purpose.L2_READ)
    for border in (1_024, 2_048):
        for row in range(border - 5, border + 5):
            for near in (row, row - 3, row + 2):
                stream.at(near)
    assert drawn == [0, 1_024, 2_048]


@given(first=ROWS, count=st.integers(0, 50), split=st.integers(0, 50), width=st.integers(1, 5))
def test_rows_may_be_fetched_in_pieces(first: int, count: int, split: int, width: int) -> None:
    stream = Stream(3, Purpose.ARRIVALS, width=width)
    split = min(split, count)
    pieces = [stream.rows(first, split), stream.rows(first + split, count - split)]
    whole = stream.rows(first, count)
    assert whole.shape == (count, width)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_a_number_is_the_top_53_bits_of_numpys_philox() -> None:
    raw = np.random.Philox(key=np.array([11, 4 << 32 | 5], dtype=np.uint64)).random_raw(4_000)
    expected = [(int(bits) >> 11) / 2**53 for bits in raw]
    stream = Stream(11, Purpose.EVENTS, width=4, replication=4)
    assert stream.rows(0, 1_000).ravel().tolist() == expected


def test_purposes_replications_and_seeds_have_numbers_of_their_own() -> None:
    streams = [Stream(seed, Purpose.DATA) for seed in (0, 1, 2**63 - 1)]
    streams += [Stream(1, purpose) for purpose in Purpose if purpose is not Purpose.DATA]
    streams += [Stream(1, Purpose.DATA, replication=r) for r in (1, 2, 2**31)]
    drawn = [stream.rows(0, 500)[:, 0] for stream in streams]
    # Any two streams: no number in common, and no correlation beyond chance (5 sigma).
    assert np.unique(np.concatenate(drawn)).size == 500 * len(streams)
    correlation = np.asarray(np.corrcoef(drawn))[np.triu_indices(len(drawn), 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(500)


def test_purposes_are_numbered_apart() -> None:
    assert len({purpose.value for purpose in Purpose}) == len(Purpose.__members__)


@pytest.mark.parametrize("width", [1, 3])
def test_numbers_are_uniform_and_independent_of_their_neighbours(width: int) -> None:
    u = Stream(2026, Purpose.SUBJECTS, width=width).rows(0, 60_000)
    assert 0 <= u.min() <= u.max() < 1
    flat = u.ravel()
    assert stats.kstest(flat, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(flat[:-1], flat[1:])[0, 1]) < 5 / np.sqrt(flat.size)
    for slot in range(width):
        assert abs(u[:, slot].mean() - 0.5) < 5 / np.sqrt(12 * len(u))
