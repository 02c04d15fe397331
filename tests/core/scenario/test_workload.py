"""Claims about drawn workloads: Poisson arrivals, fair draws, and common random numbers."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from core.endpoints import CDP
from core.scenario.scenario import Scenario
from core.scenario.workload import (
    MAX_REQUESTS,
    MODEL_COUNT,
    choose,
    generate_workload,
    popularity,
    rows_hash,
    subject_weights,
)


def scenario(*stages: dict[str, Any], **fields: Any) -> Scenario:
    traffic = {"stages": list(stages) or [{"rate": 200.0}]} | fields.pop("traffic", {})
    data = {"name": "w", "warm_up": "5s", "duration": "45s", "traffic": traffic} | fields
    return Scenario.model_validate(data)


def packed_hash(times: list[int], endpoints: list[int], subjects: list[int]) -> str:
    digest = hashlib.sha256()
    for row in zip(times, endpoints, subjects, strict=True):
        digest.update(struct.pack("<qBI", *row))
    return digest.hexdigest()


ROWS = st.lists(
    st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 255), st.integers(0, 2**32 - 1))
)


@given(rows=ROWS)
def test_the_identity_is_sha256_over_packed_rows(rows: list[tuple[int, int, int]]) -> None:
    times, endpoints, subjects = ([row[i] for row in rows] for i in range(3))
    found = rows_hash(
        np.array(times, np.int64), np.array(endpoints, np.uint8), np.array(subjects, np.uint32)
    )
    assert found == packed_hash(times, endpoints, subjects)


def test_a_workload_is_known_by_its_rows_alone() -> None:
    drawn = generate_workload(scenario())
    columns = (drawn.intended_ns.tolist(), drawn.endpoint.tolist(), drawn.subject.tolist())
    assert drawn.identity() == packed_hash(*columns)
    assert generate_workload(scenario()).identity() == drawn.identity()
    assert generate_workload(scenario(topology={"isolates": 9})).identity() == drawn.identity()
    assert generate_workload(scenario(seed=2)).identity() != drawn.identity()
    assert generate_workload(scenario(), replication=1).identity() != drawn.identity()


def test_arrivals_are_in_order_and_within_the_run() -> None:
    times = generate_workload(scenario()).intended_ns
    assert times.dtype == np.int64
    assert np.all(np.diff(times) >= 0)
    assert 0 <= times[0] <= times[-1] <= 50 * 10**9


def test_gaps_are_exponential_with_the_mean_of_the_rate() -> None:
    rate = 200.0
    means = []
    for replication in range(20):
        drawn = generate_workload(scenario({"rate": rate}), replication=replication)
        gaps = np.diff(drawn.intended)
        means.append(float(gaps.mean()))
        assert stats.kstest(gaps, "expon", args=(0, 1 / rate)).pvalue > 1e-4
    statistic = stats.ttest_1samp(means, 1 / rate)
    assert abs(float(statistic.statistic)) < stats.t.ppf(0.9995, len(means) - 1)


RAMPS: list[tuple[list[dict[str, Any]], float]] = [
    ([{"rate": 200.0}], 200.0 * 50),
    ([{"rate": 0.0, "ramp_to": 400.0, "duration": "50s"}], 200.0 * 50),
    ([{"rate": 400.0, "ramp_to": 0.0, "duration": "50s"}], 200.0 * 50),
    ([{"rate": 100.0, "ramp_to": 300.0, "duration": "20s"}, {"rate": 300.0}], 4_000 + 9_000),
    ([{"rate": 0.0, "duration": "30s"}, {"rate": 300.0}], 6_000),
    ([{"rate": 300.0, "duration": "10s"}, {"rate": 0.0}], 3_000),
]


@pytest.mark.parametrize(("stages", "expected"), RAMPS)
def test_stages_integrate_to_the_expected_number(
    stages: list[dict[str, Any]], expected: float
) -> None:
    counts = [len(generate_workload(scenario(*stages), replication=r)) for r in range(10)]
    # A sum of Poisson variables: five standard deviations.
    assert abs(sum(counts) - 10 * expected) < 5 * np.sqrt(10 * expected)
    assert len(set(counts)) > 1


@pytest.mark.parametrize(("stages", "_"), RAMPS)
def test_arrivals_follow_the_rate_over_time(stages: list[dict[str, Any]], _: float) -> None:
    seconds = generate_workload(scenario(*stages)).intended

    def cumulative(t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integrate the rate by a fine sum, apart from the code's own formula."""
        grid = (np.arange(50_000) + 0.5) / 1_000
        rate, start = np.zeros_like(grid), 0.0
        for stage in stages:
            length = float(stage.get("duration", f"{50 - start}s").removesuffix("s"))
            here = (grid >= start) & (grid < start + length)
            slope = (stage.get("ramp_to", stage["rate"]) - stage["rate"]) / length
            rate[here] = stage["rate"] + slope * (grid[here] - start)
            start += length
        total = np.concatenate(([0.0], np.cumsum(rate)))
        return np.asarray(np.interp(t, np.linspace(0, 50, total.size), total / total[-1]))

    assert stats.kstest(seconds, cumulative).pvalue > 1e-4


def test_another_rate_keeps_endpoints_subjects_and_isolates_of_the_first_rows() -> None:
    slow, fast = generate_workload(scenario({"rate": 100.0})), generate_workload(scenario())
    n = len(slow)
    assert 0 < n < len(fast)
    np.testing.assert_array_equal(slow.endpoint, fast.endpoint[:n])
    np.testing.assert_array_equal(slow.subject, fast.subject[:n])
    np.testing.assert_array_equal(slow.isolate, fast.isolate[:n])
    # Twice the rate moves every arrival to half its time.
    np.testing.assert_allclose(fast.intended_ns[:n] * 2, slow.intended_ns, atol=2)


def test_what_traffic_does_not_ask_for_leaves_every_row_as_it_was() -> None:
    base = generate_workload(scenario())
    other = generate_workload(
        scenario(
            tiers={"l2": {"ttl": {"lookup_data": "1s"}}}, start="cold", queue={"batch_size": 1}
        )
    )
    for column in ("intended_ns", "endpoint", "subject", "isolate"):
        np.testing.assert_array_equal(getattr(base, column), getattr(other, column))


@pytest.mark.parametrize("topology", [(1, 1, 1), (1, 1, 4), (3, 2, 5)])
def test_isolates_are_in_range_and_equally_likely(topology: tuple[int, int, int]) -> None:
    pops, processes, isolates = topology
    fields = {"points_of_presence": pops, "processes": processes, "isolates": isolates}
    drawn = generate_workload(scenario(topology=fields)).isolate
    counts = np.bincount(drawn, minlength=pops * processes * isolates)
    assert counts.size == pops * processes * isolates
    if counts.size > 1:
        assert stats.chisquare(counts).pvalue > 1e-4


def test_endpoints_and_subjects_are_as_likely_as_the_scenario_says() -> None:
    asked = scenario({"rate": 2_000.0}, traffic={"users": 50, "conversions": 20})
    drawn = generate_workload(asked)
    mix = np.array(asked.traffic.mix.weights())
    counts = np.bincount(drawn.endpoint, minlength=4)
    assert stats.chisquare(counts, mix / mix.sum() * len(drawn)).pvalue > 1e-4
    for code, sizes in enumerate((50, 20, 50, MODEL_COUNT)):
        subjects = np.bincount(drawn.subject[drawn.endpoint == code], minlength=sizes)
        assert subjects.size == sizes
        expected = subject_weights(asked)[code] * subjects.sum()
        assert stats.chisquare(subjects, expected).pvalue > 1e-4


def test_an_endpoint_without_weight_is_never_asked() -> None:
    mix = {"track": 0, "attribution": 1, "journey": 0, "channels": 0}
    assert set(generate_workload(scenario(traffic={"mix": mix})).endpoint.tolist()) == {
        CDP.names.index("attribution")
    }


@pytest.mark.parametrize("exponent", [0.0, 0.9, 2.0])
def test_zipf_falls_with_the_power_of_the_rank(exponent: float) -> None:
    law = {"popularity": {"law": "zipf", "exponent": exponent}}
    shares = popularity(scenario(traffic=law).traffic.popularity, 100)
    assert shares.sum() == pytest.approx(1)
    ranks = np.arange(1, 101)
    np.testing.assert_allclose(shares / shares[0], ranks**-exponent, rtol=1e-6)


def test_a_uniform_law_ignores_the_exponent() -> None:
    law = {"popularity": {"law": "uniform", "exponent": 2.0}}
    assert set(popularity(scenario(traffic=law).traffic.popularity, 7).tolist()) == {1 / 7}


@given(
    weights=st.lists(st.integers(0, 10), min_size=1, max_size=10).filter(lambda w: sum(w) > 0),
    # Eighths fall on the edges between subjects.
    u=st.lists(st.floats(0, 1, exclude_max=True) | st.integers(0, 7).map(lambda i: i / 8)),
)
@example(weights=[0, 4, 0, 4], u=[0.0, 0.5])
def test_choosing_inverts_the_cumulative_weights(weights: list[int], u: list[float]) -> None:
    found = choose(tuple(weights), np.array([*u, 1 - 2**-53]))
    for value, position in zip([*u, 1 - 2**-53], found.tolist(), strict=True):
        scaled = value * sum(weights)
        assert sum(weights[:position]) <= scaled < sum(weights[: position + 1])
        assert weights[position] > 0


@pytest.mark.parametrize("number", [1, 4, 3_000])
def test_many_uniforms_choose_as_few_do(number: int) -> None:
    weights = popularity(scenario().traffic.popularity, number)
    edges = np.arange(1, 1 << 16) / (1 << 16)  # of the cells that many are looked up by
    drawn = np.random.default_rng(7).random(200_000)
    many = np.concatenate((edges, np.nextafter(edges, 0), np.nextafter(edges, 1), drawn))
    few = [choose(weights, many[start : start + 1_000]) for start in range(0, many.size, 1_000)]
    assert np.array_equal(choose(weights, many), np.concatenate(few))


def test_more_requests_than_a_run_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="a run holds at most 20,000,000"):
        generate_workload(scenario({"rate": MAX_REQUESTS / 49.0}))


def test_a_run_without_arrivals_is_empty() -> None:
    empty = generate_workload(scenario({"rate": 0.0}))
    assert len(empty) == 0
    assert empty.identity() == hashlib.sha256().hexdigest()
