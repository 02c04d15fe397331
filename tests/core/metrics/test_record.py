"""Claims about the record of a run: it reads back, and its figures are those of its requests."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.endpoints import CDP
from core.errors import InputError
from core.metrics.estimate import Estimate, estimate_of
from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import Metric, parse_metric
from core.metrics.record import (
    MAX_WINDOWS,
    Audit,
    Requests,
    RunRecord,
    count_reads,
    endpoint_latencies,
    read_record,
    window_columns,
    without_reads,
    write_record,
)
from core.metrics.seconds import Seconds
from core.texts import read_json
from core.wire import NEGATIVE, READ_OUTCOMES, STALE

FLAGS = (0, NEGATIVE, STALE, NEGATIVE | STALE)
CODES = (0, 3, 4, 5, *(code | flags for code in (1, 2) for flags in FLAGS))
FLAGGED = ("negative", "stale")
"""Columns that count some of the hits once more."""


def draw_requests(seed: int, count: int, *, duration: float = 10.0) -> Requests:
    rng = np.random.default_rng(seed)
    latency = rng.exponential(0.05, count)
    latency[rng.random(count) < 0.1] = np.inf
    endpoint = rng.integers(0, 4, count).astype(np.uint8)
    reads = rng.choice(CODES, (count, 2)).astype(np.uint8)
    reads[endpoint != 0, 1] = 0  # only tracking reads twice
    # On a coarse grid, so that requests fall on the edges of windows.
    intended = np.sort(rng.integers(0, 41, count) / 40 * duration)
    is_kept_whole = bool(rng.integers(2))
    return Requests(
        intended=Seconds(np.round(1e9 * intended).astype(np.int64)) if is_kept_whole else intended,
        endpoint=endpoint,
        subject=rng.integers(0, 100, count).astype(np.uint32),
        isolate=rng.integers(0, 4, count).astype(np.uint16),
        latency=latency,
        reads=reads,
    )


REQUESTS = st.builds(draw_requests, st.integers(0, 2**32), st.sampled_from([0, 1, 5, 40, 400]))

AUDIT = Audit(
    lag_p50=1e-4,
    lag_p99=math.inf,
    lag_limit=0.005,
    cpu_share=0.5,
    planned=100,
    sent=98,
    dropped=(3, 7),
    rendered_hash="ab",
    inversions=1,
    largest_displacement=2,
    delay_error_mean=None,
    generator_speed=1e-3,
    service_speed=None,
    invalid=("too slow",),
)


def draw_record(seed: int = 1, **changes: Any) -> RunRecord:
    requests = draw_requests(seed, 300)
    rng = np.random.default_rng(seed)
    base = RunRecord(
        engine="load",
        scenario={"name": "drawn", "seed": seed},
        scenario_hash="cd",
        seed=seed,
        workload_hash="ef",
        planned=300,
        duration=8.0,
        latencies=endpoint_latencies(requests, after=2.0),
        stages={
            name: LatencyHistogram.of(rng.exponential(0.01, 50)) for name in ("query", "queue")
        },
        reads=count_reads(requests, after=2.0),
        memory_peak=61.5e6,
        windows=window_columns(requests, after=2.0, duration=8.0),
        replications=({"p95_track": math.inf, "hit_ratio": 0.5}, {"p95_track": 0.1}),
        counters={"conversions": 5, "events": 10},
        notes=("first", "zweiter – ü"),
        audit=AUDIT,
    )
    return replace(base, **changes)


def plain(record: RunRecord) -> str:
    return json.dumps(record.to_json(), sort_keys=True)


@pytest.mark.parametrize("changes", [{}, {"audit": None, "memory_peak": None, "replications": ()}])
def test_a_record_reads_back_from_its_file(tmp_path: Path, changes: dict[str, Any]) -> None:
    record, path = draw_record(**changes), tmp_path / "record.json"
    write_record(record, path)
    again = read_record(path)
    assert plain(again) == plain(record)
    assert again.windows == record.windows
    assert again.audit == record.audit
    assert again.replications == record.replications
    assert math.inf in [value for value in again.windows.p99 if value is not None]
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_file_is_strict_json_although_figures_are_infinite(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    write_record(draw_record(), tmp_path / "record.json")
    json.loads((tmp_path / "record.json").read_text(), parse_constant=refuse)


def test_equal_records_give_equal_bytes_whatever_the_order_they_were_filled_in(
    tmp_path: Path,
) -> None:
    def turned(mapping: Any) -> Any:
        return dict(reversed(mapping.items()))

    record = draw_record()
    other = replace(
        record,
        latencies=turned(record.latencies),
        stages=turned(record.stages),
        reads={name: turned(outcomes) for name, outcomes in turned(record.reads).items()},
        counters=turned(record.counters),
        replications=tuple(turned(run) for run in record.replications),
    )
    write_record(record, tmp_path / "one.json")
    write_record(other, tmp_path / "other.json")
    write_record(read_record(tmp_path / "one.json"), tmp_path / "again.json")
    written = {(tmp_path / name).read_bytes() for name in ("one.json", "other.json", "again.json")}
    assert len(written) == 1


def test_what_cannot_be_written_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(draw_record(), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_record(draw_record(memory_peak=math.nan), path)
    assert path.read_bytes() == before


def without(*names: str) -> Callable[[dict[str, Any]], Any]:
    return lambda data: {name: value for name, value in data.items() if name not in names}


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda data: [data],
    "a number": lambda data: 5,
    "nothing": lambda data: None,
    "another schema": lambda data: data | {"schema": "else"},
    "no schema": without("schema"),
    "no version": without("schema_version"),
    "a later version": lambda data: data | {"schema_version": 99},
    "no windows": without("windows"),
    "windows of null": lambda data: data | {"windows": None},
    "a window column missing": lambda data: data | {"windows": without("p50")(data["windows"])},
    "a window column too many": lambda data: data | {"windows": data["windows"] | {"p42": []}},
    "latencies of a number": lambda data: data | {"latencies": 5},
    "a histogram of unequal lists": lambda data: (
        data | {"latencies": {"track": data["latencies"]["track"] | {"counts": [1]}}}
    ),
    "no notes": lambda data: data | {"notes": None},
    "an audit of a list": lambda data: data | {"audit": []},
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_file_that_is_no_record_is_a_one_line_input_error(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(BROKEN[fault](draw_record().to_json())))
    assert_one_line(path, "not a run record")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"schema":\n\n',
        b"[" * 100_000,
        b"nonsense\n" * 3,
        b'{"schema": ' + b"9" * 5_000 + b"}",
    ],
)
def test_a_file_that_is_no_json_is_a_one_line_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    assert_one_line(path, "not a run record")


def test_a_file_beyond_the_bound_is_not_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = partial(read_json, most=1_000)
    monkeypatch.setattr("core.metrics.record.read_json", read)
    path = tmp_path / "record.json"
    path.write_bytes(b" " * 1_001)
    assert_one_line(path, "larger than 1,000 bytes; is it a record?")


def test_a_missing_file_or_a_folder_is_a_one_line_input_error(tmp_path: Path) -> None:
    assert_one_line(tmp_path / "none.json", "no such record")
    assert_one_line(tmp_path, "cannot be read")


def assert_one_line(path: Path, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        read_record(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert len(message.splitlines()) == 1


@given(requests=REQUESTS, q=st.sampled_from([50, 95, 99]))
def test_endpoint_figures_are_those_of_the_requests_after_the_warm_up(
    requests: Requests, q: int
) -> None:
    record = draw_record(latencies=endpoint_latencies(requests, after=2.5))
    for code, name in enumerate(CDP.names):
        seen = sorted(requests.latency[(requests.endpoint == code) & (requests.intended >= 2.5)])
        if not seen:
            assert record.metric(Metric(f"p{q}", name)) is None
            assert record.metric(Metric("mean", name)) is None
            continue
        succeeded = [value for value in seen if math.isfinite(value)]
        rank = max(1, math.ceil(q / 100 * len(seen) - 1e-9))
        assert record.metric(Metric(f"p{q}", name)) == pytest.approx(seen[rank - 1], rel=0.002)
        assert record.metric(Metric("max", name)) == pytest.approx(seen[-1], abs=0.51e-9)
        mean = math.fsum(succeeded) / len(succeeded) if succeeded else math.inf
        assert record.metric(Metric("mean", name)) == pytest.approx(mean, abs=0.51e-9)
    judged = requests.latency[requests.intended >= 2.5]
    expected = np.isinf(judged).sum() / judged.size if judged.size else None
    assert record.metric(parse_metric("error_ratio")) == expected


def test_a_stage_is_found_by_its_name_and_what_nobody_saw_is_none() -> None:
    record = draw_record(memory_peak=None)
    histogram = record.stages["query"]
    assert record.metric(parse_metric("p95_query")) == histogram.quantile(0.95)
    assert record.metric(parse_metric("max(query)")) == histogram.maximum
    assert record.metric(parse_metric("p95_cpu")) is None
    assert record.metric(parse_metric("peak_memory")) is None
    assert draw_record().metric(parse_metric("peak_memory")) == 61.5e6


@given(
    reads=st.dictionaries(
        st.sampled_from(["config", "lookup", "journey"]),
        st.dictionaries(st.sampled_from([*READ_OUTCOMES[1:], *FLAGGED]), st.integers(0, 1_000)),
    )
)
def test_ratios_are_shares_of_all_reads_and_add_up(reads: dict[str, dict[str, int]]) -> None:
    record = draw_record(reads=reads)
    counted = [(o, n) for outcomes in reads.values() for o, n in outcomes.items()]
    total = sum(n for o, n in counted if o not in FLAGGED)

    def ratio(series: str) -> float | None:
        return record.metric(Metric("ratio", series))

    def share(*outcomes: str) -> float:
        return sum(n for o, n in counted if o in outcomes) / total

    if total == 0:
        assert {ratio(series) for series in ("hit", "miss", "l1", "l2")} == {None}
        return
    assert ratio("l1") == share("l1")
    assert ratio("l2") == share("l2")
    assert ratio("hit") == pytest.approx(share("l1", "l2"))
    assert ratio("miss") == pytest.approx(share("miss", "collapsed", "bypass"))


def runs_of(metric: str, values: Sequence[float]) -> RunRecord:
    """Return a record whose own run saw nothing of *metric*, with a replication for each value."""
    runs = tuple({metric: float(value)} for value in values)
    return draw_record(replications=runs, latencies={}, reads={}, memory_peak=None)


@given(
    values=st.lists(st.floats(0.001, 10), min_size=2, max_size=12),
    metric=st.sampled_from(["p95_track", "hit_ratio", "peak_memory"]),
)
def test_the_interval_is_students_for_the_mean(values: list[float], metric: str) -> None:
    if metric == "hit_ratio":
        values = [value / 10 for value in values]
    n = len(values)
    half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)
    low, high = np.mean(values) - half, np.mean(values) + half
    limit = 1.0 if metric == "hit_ratio" else math.inf
    found = runs_of(metric, values).estimate(parse_metric(metric))
    assert found is not None
    assert found.value == pytest.approx(np.mean(values))
    assert found.interval == pytest.approx((max(low, 0.0), min(high, limit)), rel=1e-9, abs=1e-12)
    assert found.runs == n


def test_the_interval_holds_the_true_mean_19_times_in_20() -> None:
    rng = np.random.default_rng(5)
    held, tries, base = 0, 2_000, runs_of("p95_track", [])
    for runs in rng.normal(0.1, 0.01, (tries, 10)):
        record = replace(base, replications=tuple({"p95_track": float(v)} for v in runs))
        found = record.estimate(parse_metric("p95_track"))
        assert found is not None
        assert found.interval is not None
        held += found.interval[0] <= 0.1 <= found.interval[1]
    # Five standard deviations of a binomial.
    assert abs(held / tries - 0.95) < 5 * math.sqrt(0.95 * 0.05 / tries)


def test_the_own_run_is_one_of_the_replications() -> None:
    record = draw_record(replications=({"peak_memory": 61.6e6}, {"peak_memory": 61.7e6}))
    found = record.estimate(parse_metric("peak_memory"))
    assert found is not None
    assert found.runs == record.runs == 3
    assert found.value == pytest.approx(61.6e6)  # with its own 61.5 MB


def test_one_run_has_no_interval() -> None:
    found = runs_of("p95_track", [0.1]).estimate(parse_metric("p95_track"))
    assert found == Estimate(value=0.1, interval=None, runs=1)
    assert runs_of("p95_track", []).estimate(parse_metric("p95_track")) is None


def test_replications_that_did_not_see_a_metric_do_not_count() -> None:
    runs = ({"p95_queue": 0.1}, {"hit_ratio": 0.9}, {"hit_ratio": 0.8})
    record = draw_record(replications=runs, stages={}, reads={})
    queue, hits = (record.estimate(parse_metric(name)) for name in ("p95_queue", "hit_ratio"))
    assert queue == Estimate(value=0.1, interval=None, runs=1)
    assert hits is not None
    assert hits.value == pytest.approx(0.85)
    assert hits.runs == 2


def test_a_replication_that_failed_makes_the_mean_infinite_and_the_interval_open() -> None:
    found = runs_of("p95_track", [0.2, math.inf, 0.3]).estimate(parse_metric("p95_track"))
    assert found == Estimate(value=math.inf, interval=(0.2, math.inf), runs=3)


def test_no_run_has_no_estimate() -> None:
    with pytest.raises(ValueError, match="no run"):
        estimate_of([])


@given(st.floats(1e-9, 1e9), st.integers(2, 12))
def test_runs_that_agree_have_their_figure_as_mean_and_interval(value: float, number: int) -> None:
    found = runs_of("peak_memory", [value] * number).estimate(parse_metric("peak_memory"))
    assert found == Estimate(value=value, interval=(value, value), runs=number)


@given(requests=REQUESTS, after=st.sampled_from([0.0, 2.5, 9.99, 10.0]))
def test_reads_are_counted_as_a_loop_over_requests_counts_them(
    requests: Requests, after: float
) -> None:
    expected: dict[str, dict[str, int]] = {}
    for row in range(requests.intended.size):
        if requests.intended[row] < after:
            continue
        for slot, name in enumerate(CDP.read_names[CDP.names[requests.endpoint[row]]]):
            code = int(requests.reads[row, slot])
            if code == 0:
                continue
            counts = expected.setdefault(name, dict.fromkeys([*READ_OUTCOMES[1:], *FLAGGED], 0))
            counts[READ_OUTCOMES[code % 16]] += 1
            counts["negative"] += code // 16 % 2
            counts["stale"] += code // 32 % 2
    assert count_reads(requests, after=after) == expected


def test_times_kept_in_nanoseconds_are_read_as_seconds() -> None:
    kept = Seconds(np.array([0, 1_500_000_000, 2_000_000_001]))
    assert (len(kept), kept[1], kept[1:2].tolist()) == (3, 1.5, [1.5])
    assert (kept >= 1.5).tolist() == [False, True, True]
    assert np.asarray(kept).tolist() == [0.0, 1.5, 2_000_000_001 / 1e9]


def test_a_stale_hit_is_a_hit_that_is_counted_once_more() -> None:
    record = draw_record(reads={"journey": {"l1": 6, "l2": 2, "miss": 2, "stale": 5}})
    assert record.metric(parse_metric("hit_ratio")) == 0.8
    assert sum(record.read_totals().values()) == 10
    assert "stale" not in record.read_totals()


@given(
    requests=REQUESTS,
    after=st.sampled_from([0.0, 2.5, 5.0]),
    seconds=st.sampled_from([0.5, 1.0, 4.9, 5.0, 7.5]),
)
def test_windows_are_those_of_a_loop_over_requests(
    requests: Requests, after: float, seconds: float
) -> None:
    windows = window_columns(requests, after=after, duration=seconds)
    number = max(1, int(seconds))
    assert windows.start == after
    assert windows.width * number == pytest.approx(seconds)
    members: list[list[int]] = [[] for _ in range(number)]
    for row, intended in enumerate(np.asarray(requests.intended).tolist()):
        if intended >= after:
            members[min(int((intended - after) / windows.width), number - 1)].append(row)
    for window, rows in enumerate(members):
        latencies = sorted(requests.latency[row] for row in rows)
        codes = [int(code) % 16 for row in rows for code in requests.reads[row]]
        assert windows.requests[window] == len(rows)
        assert windows.failed[window] == sum(math.isinf(value) for value in latencies)
        for column, q in ((windows.p50, 50), (windows.p95, 95), (windows.p99, 99)):
            below = [v for r, v in enumerate(latencies, 1) if 100 * r >= q * len(latencies)]
            assert column[window] == (below[0] if below else None)
        assert windows.l1[window] == codes.count(1)
        assert windows.l2[window] == codes.count(2)
        assert windows.missed[window] == sum(code > 2 for code in codes)


@pytest.mark.parametrize(("duration", "number"), [(239.0, 239), (240.0, 240), (86_400.0, 240)])
def test_a_long_run_has_240_windows_that_lose_no_request(duration: float, number: int) -> None:
    requests = draw_requests(4, 5_000, duration=duration)
    windows = window_columns(requests, after=0.0, duration=duration)
    assert len(windows.requests) == number <= MAX_WINDOWS
    assert sum(windows.requests) == 5_000


def test_equal_requests_give_equal_files_that_read_back(tmp_path: Path) -> None:
    requests = draw_requests(3, 500)
    requests.write(tmp_path / "one.npz")
    draw_requests(3, 500).write(tmp_path / "other.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as columns:
        for name in Requests.__dataclass_fields__:
            np.testing.assert_array_equal(columns[name], getattr(requests, name))
            assert columns[name].dtype == getattr(requests, name).dtype


def test_record_without_some_reads_is_that_of_requests_that_never_made_them() -> None:
    requests = draw_requests(3, 300)
    record = draw_record(3)
    kept, left = without_reads(record, requests, ["config", "channels"])
    assert sorted(kept.reads) == ["attribution", "journey", "lookup"]
    assert kept.reads == count_reads(left, after=2.0)
    assert kept.windows == window_columns(left, after=2.0, duration=8.0)
    assert sum(kept.windows.l1) < sum(record.windows.l1)
    assert kept.latencies == record.latencies
    assert not left.reads[left.endpoint == 0, 0].any()
    assert left.reads[left.endpoint == 0, 1].tolist() == (
        requests.reads[requests.endpoint == 0, 1].tolist()
    )
