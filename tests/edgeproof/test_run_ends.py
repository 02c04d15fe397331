"""Claims about several loads of which some are flawed: each is judged with its own doubts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.metrics.doubt import Doubt
from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import Outcome, parse_kpi
from core.metrics.part import PartOfRun
from core.metrics.record import RunRecord
from core.metrics.verdict import compare, outcome, verdicts
from core.scenario.scenario import Scenario
from edgeproof.repeats import Repeats, combined
from tests.reports.records import SCENARIO, run

P95 = parse_kpi("p95_track", "< 100ms", "> 200ms")
BASE = run("load")


def load(
    *times: float, late: Sequence[float] = (), excused: int = 0, is_open: bool = False
) -> RunRecord:
    """Return a load whose requests took *times*, those of *late* sent late; *excused* failed."""
    assert BASE.audit is not None
    histogram = LatencyHistogram.of(np.array([*times, *late]))
    histogram.fail(excused)
    is_flawed = bool(late or excused or is_open)
    doubt = Doubt(late={"track": LatencyHistogram.of(np.array(late))}, excused={"track": excused})
    return replace(
        BASE, latencies={"track": histogram}, failures=(),
        audit=replace(BASE.audit, invalid=("late",) if is_flawed else ()),
        doubt=doubt if is_flawed and not is_open else None,
    )  # fmt: skip


def judged(*records: RunRecord) -> Outcome:
    record = combined(SCENARIO, Repeats(records=records), number=len(records))
    read = RunRecord.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)))
    (verdict,) = verdicts(read, [P95])
    assert verdicts(record, [P95]) == [verdict]
    assert outcome(compare([P95], None, record)) is verdict.outcome
    return verdict.outcome


SLOW, FAST = [0.3] * 50, [0.01] * 50
HARMLESS = load(*FAST, late=[0.02] * 5)


def test_harmless_flaw_of_the_first_load_does_not_hide_that_the_others_fail() -> None:
    assert judged(HARMLESS) is Outcome.PASS
    assert judged(load(*SLOW), load(*SLOW), load(*SLOW)) is Outcome.FAIL
    flawed = load(*SLOW, late=[0.25] * 3)
    assert judged(flawed, load(*SLOW), load(*SLOW)) is Outcome.FAIL
    assert judged(HARMLESS, load(*SLOW), load(*SLOW)) is not Outcome.PASS


def test_harmless_flaw_of_a_further_load_changes_no_verdict() -> None:
    assert judged(load(*FAST), HARMLESS, load(*FAST)) is Outcome.PASS
    assert judged(load(*FAST), load(*FAST), HARMLESS) is Outcome.PASS


def test_flaw_that_could_change_the_mean_makes_it_invalid_with_its_range() -> None:
    doubtful = load(*FAST, late=[0.9] * 20)
    records = (load(*FAST), doubtful, load(*FAST))
    (verdict,) = verdicts(combined(SCENARIO, Repeats(records=records), number=3), [P95])
    assert verdict.outcome is Outcome.INVALID
    assert verdict.possible is not None
    low, high = verdict.possible
    assert low < 0.011
    assert abs(high - (0.9 + 0.02) / 3) < 0.01
    assert verdict.at_ends is not None
    assert verdict.at_ends[0] is Outcome.PASS


def test_interval_beyond_the_target_is_a_sure_miss_only_at_both_ends() -> None:
    """Recorded it lies between target and beyond the alert; the slow runs may have been fast."""
    kpi = parse_kpi("p95_track", "< 100ms", "> 160ms")
    doubtful = [load(0.01, late=[seconds] * 50) for seconds in (0.16, 0.17)]
    records = (load(*[0.15] * 50), *doubtful)
    (verdict,) = verdicts(combined(SCENARIO, Repeats(records=records), number=3), [kpi])
    assert verdict.interval is not None
    assert verdict.interval[0] > 0.1
    assert not verdict.misses
    unflawed = [replace(each, doubt=None, audit=records[0].audit) for each in records]
    (sure,) = verdicts(combined(SCENARIO, Repeats(records=tuple(unflawed)), number=3), [kpi])
    assert (sure.outcome, sure.misses) == (Outcome.INCONCLUSIVE, True)


def test_load_whose_flaws_leave_everything_open_makes_all_invalid() -> None:
    for records in itertools.permutations((load(*FAST), load(*FAST, is_open=True), HARMLESS)):
        assert judged(*records) is Outcome.INVALID


def test_part_of_the_run_is_judged_with_the_doubts_of_each_load() -> None:
    kpi = parse_kpi("p95(track, stage 1)", "< 100ms", "> 200ms")
    told = {"metric": kpi.name, "target": kpi.target_text, "alert": kpi.alert_text}
    scenario = Scenario.model_validate({"name": "parts", "kpis": [told]})

    def parted(record: RunRecord) -> RunRecord:
        part = PartOfRun(
            start=5.0, end=55.0, latencies=record.latencies, stages={}, reads={}, doubt=record.doubt
        )
        return replace(record, parts={"stage 1": part})

    slow, harmless = parted(load(*SLOW)), parted(load(*SLOW, late=[0.25] * 3))
    for records in ((harmless, slow, slow), (slow, harmless, slow)):
        record = combined(scenario, Repeats(records=records), number=3)
        (verdict,) = verdicts(record, [kpi])
        assert verdict.outcome is Outcome.FAIL


TIMES = st.lists(st.sampled_from([0.02, 0.09, 0.15, 0.3]), min_size=1, max_size=4)
LOADS = st.builds(
    lambda times, late, excused: load(*times, late=late, excused=excused),
    TIMES, st.lists(st.sampled_from([0.05, 0.12, 0.4]), max_size=2), st.integers(0, 1),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(records=st.lists(LOADS, min_size=2, max_size=3))
def test_order_of_the_loads_changes_no_verdict(records: list[RunRecord]) -> None:
    found = set()
    for order in itertools.permutations(records):
        record = combined(SCENARIO, Repeats(records=order), number=len(order))
        (verdict,) = verdicts(record, [P95])
        found.add((verdict.outcome, verdict.possible, verdict.value, verdict.interval))
    assert len(found) == 1
