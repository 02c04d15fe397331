"""Claims about KPIs of a part of a run: which parts there are, and what is judged in each."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from core.errors import InputError
from core.metrics.kpi import Metric, parse_metric
from core.metrics.part import Part, parse_part
from core.metrics.record import Requests, RunRecord, Windows, parts_of
from core.scenario.file import parse_scenario, scenario_hash
from core.scenario.pace import with_rate
from core.scenario.scenario import Scenario
from core.wire import READ_OUTCOMES

STAGES = [
    {"rate": 10, "duration": "15s"},
    {"rate": 90, "duration": "10s"},
    {"rate": 10},
]


def scenario(metric: str, **fields: object) -> Scenario:
    data = {
        "name": "peak", "warm_up": "5s", "duration": "30s", "traffic": {"stages": STAGES},
        "kpis": [{"metric": metric, "target": "< 100ms", "alert": "> 200ms"}],
    }  # fmt: skip
    return parse_scenario({**data, **fields}, source="peak.toml")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("p95(track, stage 2)", "p95(track, stage 2)"),
        (" p95( track,stage  2 )".replace("( ", "("), "p95(track, stage 2)"),
        ("p95_track(stage 2)", "p95(track, stage 2)"),
        ("hit_ratio(60s..120s)", "ratio(hit, 60s..120s)"),
        ("error_ratio( 1min .. 2min )", "ratio(error, 60s..120s)"),
        ("mean(l3, 500ms..1.25s)", "mean(l3, 0.5s..1.25s)"),
    ],
)
def test_a_part_is_written_behind_the_series_and_has_one_name(text: str, name: str) -> None:
    metric = parse_metric(text)
    assert metric.name == name
    assert parse_metric(name) == metric
    assert metric.whole == parse_metric(name.replace(name[name.index(",") : -1], ""))
    assert metric != metric.whole


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("p95(track){stage:2}", "of a part of the run p95(track, stage 2)"),
        ("p95(track, stage)", "write a stage as 'stage 2'"),
        ("p95(track, stage 0)", "stages count from 1"),
        ("p95(track, 9s..5s)", "swap its times"),
        ("p95(track, 60..120)", "write it with its unit"),
        ("p95(query, stage 2)", "leave out the part, and judge p95_query"),
        ("peak_memory(stage 1)", "judge peak_memory"),
        ("p95(nothing, stage 1)", "is not a metric"),
    ],
)
def test_what_no_part_can_have_is_refused_with_the_remedy(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_metric(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "span"),
    [
        ("p95(track, stage 1)", (5.0, 15.0)),  # what the warm-up leaves of it
        ("p95(track, stage 2)", (15.0, 25.0)),
        ("p95(track, stage 3)", (25.0, 35.0)),
        ("p95(track, 5s..35s)", (5.0, 35.0)),
    ],
)
def test_times_count_from_the_start_of_arrivals(metric: str, span: tuple[float, float]) -> None:
    assert [*scenario(metric).parts.values()] == [span]


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("p95(track, stage 4)", "there are 3 stages in traffic.stages, counted from 1"),
        ("p95(track, 4s..20s)", "not within what is judged, 5s..35s"),
        ("p95(track, 20s..36s)", "not within what is judged, 5s..35s"),
    ],
)
def test_a_part_outside_the_run_is_refused_in_one_line(metric: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        scenario(metric)
    assert told in str(caught.value)
    assert metric in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stage_within_the_warm_up_is_refused() -> None:
    with pytest.raises(InputError, match="stage 1 ends at 15s, within the warm-up of 15s"):
        scenario("p95(track, stage 1)", warm_up="15s", duration="20s")


def test_another_rate_leaves_the_parts_where_they_are() -> None:
    one = scenario("p95(track, stage 2)")
    assert with_rate(one, 900).parts == one.parts
    assert scenario_hash(one) != scenario_hash(scenario("p95(track, stage 3)"))


def some_requests() -> Requests:
    """Ten requests a second apart: the first half fast and found in L1, the rest neither."""
    late = np.arange(10) >= 5
    reads = np.zeros((10, 2), dtype=np.uint8)
    codes = READ_OUTCOMES.index("l1"), READ_OUTCOMES.index("miss")
    reads[:, 0] = np.where(late, codes[1], codes[0])
    return Requests(
        intended=np.arange(10.0),
        endpoint=np.zeros(10, dtype=np.uint8),
        subject=np.zeros(10, dtype=np.uint32),
        isolate=np.zeros(10, dtype=np.uint16),
        latency=np.where(late, 0.2, 0.01),
        reads=reads,
    )


def test_a_part_holds_the_requests_that_were_to_be_sent_in_it() -> None:
    samples = {"l3": (np.array([4.0, 5.0, 9.0]), np.array([0.001, 0.002, 0.004]))}
    spans = {"0s..5s": (0.0, 5.0), "5s..9s": (5.0, 9.0)}
    parts = parts_of(some_requests(), samples, spans)
    assert [part.latencies["track"].count for part in parts.values()] == [5, 4]
    assert [part.stages["l3"].count for part in parts.values()] == [1, 1]


def test_a_record_tells_each_part_by_itself_and_is_read_back(
    empty_record: RunRecord,
) -> None:
    spans = {"0s..5s": (0.0, 5.0), "5s..10s": (5.0, 10.0)}
    record = replace(empty_record, parts=parts_of(some_requests(), {}, spans))
    again = RunRecord.from_json(json.loads(json.dumps(record.to_json())))
    assert again.to_json() == record.to_json()
    for one in (record, again):
        early, late = (one.metric(parse_metric(f"p95_track({name})")) for name in spans)
        assert [early, late] == pytest.approx([0.01, 0.2], rel=0.002)
        hits = [one.metric(parse_metric(f"hit_ratio({name})")) for name in spans]
        assert hits == [1.0, 0.0]
        assert one.metric(Metric("p95", "track", part=Part(stage=1))) is None


def test_a_record_without_parts_is_written_as_before(empty_record: RunRecord) -> None:
    assert "parts" not in empty_record.to_json()


@pytest.fixture
def empty_record() -> RunRecord:
    windows = Windows(
        start=0.0, width=1.0, requests=(), failed=(), p50=(), p95=(), p99=(), l1=(), l2=(),
        missed=(),
    )  # fmt: skip
    return RunRecord(
        engine="simulate", scenario={"name": "x"}, scenario_hash="", seed=1, workload_hash="",
        planned=0, duration=1.0, latencies={}, stages={}, reads={}, memory_peak=None,
        windows=windows,
    )  # fmt: skip


def test_parse_part_keeps_what_it_names() -> None:
    assert parse_part("stage 12") == Part(stage=12)
    assert parse_part("2s..3s") == Part(start=2.0, end=3.0)
