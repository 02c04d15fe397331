"""Claims about figures of several processes: they are those of one that had done it all."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.metrics.histogram import LatencyHistogram
from core.metrics.profile import THRESHOLDS
from core.metrics.profiler import SLOW_KEPT as SLOW_REQUESTS_KEPT
from core.metrics.profiler import LatencyProfiler
from core.query.executor import SLOW_KEPT, StatementStatistics
from core.service.statistics import ProcessFigures, add_counts, merged

Sample = tuple[str, str, float | None]
SAMPLES = st.lists(
    st.tuples(
        st.sampled_from([*THRESHOLDS]),
        st.sampled_from(["a", "b"]),
        st.one_of(st.none(), st.floats(0, 10)),
    )
)


def profiled(samples: list[Sample]) -> LatencyProfiler:
    profiler = LatencyProfiler()
    for kind, name, seconds in samples:
        if seconds is None:
            profiler.profile(kind, name).fail()
        else:
            profiler.record(kind, name, seconds)
    return profiler


def figures(worker: int, samples: list[Sample], **changes: Any) -> ProcessFigures:
    parts: dict[str, Any] = {
        "profiler": profiled(samples),
        "counters": {"loads": worker},
        "processes": [{"worker": worker, "rss_bytes": 1}],
        "statements": {},
        "slow": [],
        "slow_requests": [],
        "caches": {},
    }
    return ProcessFigures(**parts | changes)


def over_the_wire(one: ProcessFigures) -> ProcessFigures:
    return ProcessFigures.from_json(json.loads(json.dumps(one.to_json())))


@given(st.lists(SAMPLES, min_size=1, max_size=4))
def test_latencies_of_several_processes_are_those_of_one_that_had_them_all(
    shares: list[list[Sample]],
) -> None:
    together = merged(over_the_wire(figures(n, share)) for n, share in enumerate(shares)).profiler
    alone = profiled([sample for share in shares for sample in share])
    for kind in THRESHOLDS:
        assert together.summary(kind) == alone.summary(kind)
        assert together.histogram(kind).to_json() == alone.histogram(kind).to_json()
        ours, theirs = together.summary_by_name(kind), alone.summary_by_name(kind)
        assert dict(sorted(ours.items())) == dict(sorted(theirs.items()))


COUNTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))
TREES = st.fixed_dictionaries(
    {"n": st.integers(0, 9), "l1": COUNTS, "types": st.dictionaries(st.sampled_from("xy"), COUNTS)}
)


def leaves(tree: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= leaves(value, (*path, name))
        else:
            found[*path, name] = value
    return found


@given(st.lists(TREES, max_size=4))
def test_counts_add_up_wherever_they_stand(trees: list[dict[str, Any]]) -> None:
    before = json.dumps(trees)
    total: dict[str, Any] = {}
    for tree in trees:
        add_counts(total, tree)
    assert json.dumps(trees) == before
    flat = [leaves(tree) for tree in trees]
    places = {path for one in flat for path in one}
    assert leaves(total) == {path: sum(one.get(path, 0) for one in flat) for path in places}


def test_statements_add_up_and_what_was_merged_stays_as_it_was() -> None:
    def cost(seconds: float, read: int) -> StatementStatistics:
        histogram = LatencyHistogram()
        histogram.record(seconds)
        return StatementStatistics(histogram, rows_read=read, rows_written=1, cache_hits=2)

    first = figures(0, [], statements={"user": cost(0.001, 5)})
    second = figures(1, [], statements={"user": cost(0.003, 7), "site": cost(0.002, 1)})
    both = merged([first, over_the_wire(second)])
    user = both.statements["user"]
    assert (user.rows_read, user.rows_written, user.cache_hits) == (12, 2, 4)
    assert (user.histogram.count, both.statements["site"].rows_read) == (2, 1)
    assert first.statements["user"].rows_read == 5
    assert first.statements["user"].histogram.count == 1
    assert both.counters == {"loads": 1}
    assert [process["worker"] for process in both.processes] == [0, 1]


def test_latest_slow_queries_of_all_processes_are_kept() -> None:
    def slow(worker: int) -> list[dict[str, Any]]:
        return [{"ended_ms": 2 * number + worker} for number in range(SLOW_KEPT)]

    both = merged(figures(worker, [], slow=slow(worker)) for worker in (1, 0))
    ended = [query["ended_ms"] for query in both.slow]
    assert ended == [*range(SLOW_KEPT, 2 * SLOW_KEPT)]


def test_latest_slow_requests_of_all_processes_are_kept() -> None:
    def slow(worker: int) -> list[dict[str, Any]]:
        return [{"ended": 2.0 * number + worker} for number in range(SLOW_REQUESTS_KEPT)]

    parts = [figures(worker, [], slow_requests=slow(worker)) for worker in (1, 0)]
    both = merged(map(over_the_wire, parts))
    ended = [request["ended"] for request in both.slow_requests]
    assert ended == [*range(SLOW_REQUESTS_KEPT, 2 * SLOW_REQUESTS_KEPT)]
