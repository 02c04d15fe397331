"""Claims about how far a prediction is off, where the measurement is flawed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from core.metrics.closeness import side_within
from core.metrics.doubt import Doubt
from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import Outcome, parse_kpi, parse_metric
from core.metrics.record import RunRecord
from core.metrics.verdict import compare
from edgeproof.prove import model_verdict
from reports import tables, words
from reports.summary import summary
from tests.reports import records

P95 = parse_kpi("p95_track", "< 10s", "> 20s")
NEVER = parse_metric("p95_track")


def of(times: Sequence[float], engine: str = "load") -> RunRecord:
    base = records.measured() if engine == "load" else records.predicted(replications=0)
    return replace(
        base, latencies={"track": LatencyHistogram.of(np.array(times))}, stages={}, reads={}
    )


def flawed(sure: Sequence[float], late: Sequence[float], *, is_open: bool = False) -> RunRecord:
    found = of([*sure, *late])
    assert found.audit is not None
    doubt = Doubt(late={"track": LatencyHistogram.of(np.array(late))})
    return replace(
        found,
        audit=replace(found.audit, invalid=("sent late",)),
        doubt=None if is_open else doubt,
    )


FAST, PREDICTED = [0.1] * 90, of([0.1] * 100, "simulate")


@pytest.mark.parametrize(
    ("measured", "said", "column"),
    [
        (flawed(FAST, [0.101] * 3), "within 20 %", "0.0 %"),  # p95 is 100 ms either way
        (flawed(FAST, [0.3] * 10), "not judged: in doubt: p95_track", "in doubt"),
        (flawed([0.3] * 90, [0.31] * 10), "off by more than 20 %", "−67"),
        (flawed(FAST, [0.1], is_open=True), "INCONCLUSIVE, the requests in doubt", "in doubt"),
    ],
)
def test_error_of_a_flawed_measurement_is_judged_at_both_ends(
    measured: RunRecord, said: str, column: str
) -> None:
    verdict, holds = model_verdict(PREDICTED, measured)
    assert said in verdict
    assert holds is said.startswith(("within", "not judged"))
    (row,) = compare([P95], PREDICTED, measured)
    assert words.error_text(row).startswith(column)
    assert tables.kpi_table([row])[1][4].startswith(column)
    told = summary([row], outcome=Outcome.PASS, out=".")
    assert told["kpis"][0]["error_in_doubt"] is (column == "in doubt")


def test_error_that_lies_on_both_sides_of_the_limit_is_in_doubt() -> None:
    assert side_within(NEVER, 1.0, (0.9, 1.1)) == 0
    assert side_within(NEVER, 1.0, (2.0, math.inf)) == -1
    assert side_within(NEVER, 1.0, (0.0, 0.5)) == 1
    assert side_within(NEVER, 1.0, (0.5, 2.0)) is None  # beyond both ways, and near between them
    assert side_within(NEVER, math.inf, (math.inf, math.inf)) == 0


def test_sentence_on_all_errors_is_that_of_the_worst_end() -> None:
    (row,) = compare([P95], of([0.11] * 100, "simulate"), flawed(FAST, [0.101] * 12))
    assert row.error_ends is not None
    low, high = row.error_ends
    assert low < high
    assert words.closeness([row]) == f"p95_track was predicted {100 * high:.1f} % off"
    assert words.error_text(row).startswith("+8.8 % (+8.8 to +10.0 %)")


def test_what_was_not_predicted_is_not_called_unmeasured() -> None:
    measured = of([0.1] * 100)
    unpredicted = replace(PREDICTED, latencies={}, stages={}, reads={})
    verdict, _ = model_verdict(unpredicted, measured)
    assert verdict == (
        "Model: INCONCLUSIVE, nothing was predicted of what was measured; not predicted: "
        "p50(track), p95_track."
    )
    assert "; not measured: p50(track), p95_track" in model_verdict(
        PREDICTED, replace(measured, latencies={})
    )[0]  # fmt: skip
