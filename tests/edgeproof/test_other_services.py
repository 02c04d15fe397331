"""`edgeproof prove` on a service that is not ours: what is compared, and what is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.metrics.closeness import relative_error
from core.metrics.kpi import parse_metric
from core.metrics.record import read_record
from core.wire import READ_OUTCOMES
from edgeproof.told_reads import seldom_told
from tests.edgeproof.commands import edgeproof
from tests.edgeproof.other_cdp import serving
from tests.edgeproof.other_scenario import SCENARIO
from tests.reports.records import run


@pytest.fixture
def other_cdp() -> Iterator[str]:
    with serving() as url:
        yield url


def test_reads_that_are_seldom_told_are_said() -> None:
    predicted, measured = run(seed=1), run("load", seed=1)
    assert seldom_told(predicted, measured) == []
    few = {**measured.reads, "lookup": {"l1": 5, "miss": 2, "negative": 4000}}
    made = sum(predicted.reads["lookup"].get(name, 0) for name in READ_OUTCOMES[1:])
    assert seldom_told(predicted, replace(measured, reads=few)) == [
        f"The service told of 7 of {made:,} cache reads lookup: they weigh less in its hit ratio "
        "than in the prediction's."
    ]


def test_prove_compares_what_both_sides_have_and_names_the_rest(
    other_cdp: str, tmp_path: Path
) -> None:
    Path(tmp_path, "other.toml").write_text(SCENARIO, encoding="utf-8")
    done = edgeproof(
        "prove", "other.toml", "--host", other_cdp, "--out", "proof", cwd=tmp_path,
        variables={"EDGEPROOF_TOKEN": "of-no-use"},
    )  # fmt: skip
    assert done.returncode in (0, 1, 3), done.stderr
    predicted = read_record(tmp_path / "proof" / "predicted" / "record.json")
    measured = read_record(tmp_path / "proof" / "measured" / "record.json")
    assert set(predicted.reads) == set(measured.reads)
    assert not {"config", "lookup"} & set(predicted.reads)
    hit_ratio = parse_metric("hit_ratio")
    error = relative_error(hit_ratio, predicted.metric(hit_ratio), measured.metric(hit_ratio))
    # With the two reads of /track, which this service does not make, it was off by 30 points; and
    # without what preflight and calibration had put into its memory by as much the other way.
    assert error == pytest.approx(0, abs=0.03)
    seconds = measured.metric(parse_metric("p50(query)"))
    assert seconds is not None
    assert 0.005 <= seconds < 0.1
    preflight = "the prediction plays the"
    assert f"No clean start (not possible: {other_cdp}: the host answered 404): {preflight}" in (
        done.stdout
    )
    line = "Headers: query times are from Server-Timing: l3, taken to include waiting, as no l3wait"
    assert f"{line} is sent." in done.stdout.splitlines()
    page = (tmp_path / "proof" / "report.md").read_text(encoding="utf-8")
    for text in (done.stdout, page):  # by the calibration, if that had enough answers of /track
        assert (
            "cache reads that the service never told: track.config, track.lookup" in text
            or "The service told nothing of the cache reads config, lookup: the prediction's hit "
            "ratios leave them out."
            in text
        )
    assert predicted.metric(parse_metric("p50(query)")) is not None
    assert "Not compared: p50(query)" not in done.stdout
