"""Endpoints that a scenario file describes: loaded on a real server, and predicted."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.metrics.record import RunRecord, read_record
from core.scenario.calibration_file import read_calibration
from tests.edgeproof.commands import edgeproof
from tests.edgeproof.shop import READ_SECONDS, TRIP_SECONDS

TOKEN = "a-token-of-staging"
IDS = [f"sku {number}/ä" for number in range(60)]

SHOP = """
name = "shop"
duration = "4s"
warm_up = "0s"
start = "cold"
[traffic]
stages = [{ rate = 80 }]
[topology]
isolates = 1
[tiers]
single_flight = false
[tiers.l2]
read = "0.1ms"
cold_read = "0.1ms"
write = "0.1ms"
[tiers.l3]
round_trip = "4ms"
read_execution = "1ms"
write_execution = "1ms"
[subjects.item]
ids = "ids.csv"
[endpoints.items]
path = "/items/{item}"
checks = [{ json = "$.ok", equals = true }]
weight = 8
reads = [{ type = "item", ttl = "60s", queries = 1 }, { type = "price", ttl = "0.5s", queries = 1 }]
[endpoints.search]
path = "/search"
query = { q = "a b" }
weight = 1
queries = 2
[endpoints.orders]
path = "/orders"
headers = { Authorization = "Bearer ${STAGING_TOKEN}" }
body = { sku = "{item}", literal = "{{item}}" }
status = "2xx"
checks = [{ contains = "sold out" }]
weight = 1
"""
NOT_PREDICTED = "orders is not predicted: its reads, queries and writes are not stated."


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    program = Path(__file__).with_name("shop.py")
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            yield f"http://127.0.0.1:{int(service.stdout.readline())}"
        finally:
            service.terminate()


def _hits(record: RunRecord, read: str) -> float:
    counts = record.reads[read]
    return (counts["l1"] + counts["l2"]) / sum(counts.values())


def test_two_reads_and_queries_of_a_shop_are_predicted_as_measured(
    shop: str, tmp_path: Path
) -> None:
    (tmp_path / "shop.toml").write_text(SHOP, encoding="utf-8")
    (tmp_path / "ids.csv").write_text("\n".join(["id", *IDS]), encoding="utf-8")
    done = edgeproof(
        "prove", "shop.toml", "--host", shop, "--no-preflight", "--no-calibrate",
        "--out", "proof",
        cwd=tmp_path, variables={"STAGING_TOKEN": TOKEN},
    )  # fmt: skip
    assert done.returncode in (0, 1, 3), done.stderr
    predicted = read_record(tmp_path / "proof" / "predicted" / "record.json")
    measured = read_record(tmp_path / "proof" / "measured" / "record.json")
    assert set(predicted.reads) == set(measured.reads) == {"item", "price"}
    assert _hits(predicted, "item") == pytest.approx(_hits(measured, "item"), abs=0.02)
    # Which of them meet a price in its last moments depends on milliseconds of the machine.
    assert _hits(predicted, "price") == pytest.approx(_hits(measured, "price"), abs=0.06)
    assert _hits(measured, "item") - _hits(measured, "price") > 0.2
    # Two round trips and two executions, with nobody else in the queue.
    assert predicted.latencies["search"].quantile(0.01) == pytest.approx(0.010, rel=0.05)
    assert measured.latencies["search"].quantile(0.01) > 0.009
    assert "orders" not in predicted.latencies or not predicted.latencies["orders"].count
    assert measured.latencies["orders"].count
    report = (tmp_path / "proof" / "report.md").read_text(encoding="utf-8")
    assert NOT_PREDICTED in report
    (verdict,) = (line for line in done.stdout.splitlines() if line.startswith("Model:"))
    # Those within are named where none is beyond.
    assert any(f"({name})" in verdict for name in ("items", "search"))
    assert NOT_PREDICTED in done.stdout
    (failure,) = measured.failures
    assert (failure.endpoint, failure.check) == ("orders", "contains 'sold out'")
    assert "check failed: contains 'sold out'" in done.stdout
    with urllib.request.urlopen(f"{shop}/asked") as answer:
        asked = set(json.load(answer)["ids"])
    assert asked
    assert asked <= set(IDS)
    _check_what_it_teaches(tmp_path, measured)
    for path in (tmp_path / "proof").rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path


def _check_what_it_teaches(folder: Path, measured: RunRecord) -> None:
    """Check what is learned where answers tell reads and no times: latencies by their depth."""
    done = edgeproof("calibrate", "proof", "--out", "learned", cwd=folder)
    assert done.returncode == 0, done.stderr
    learned = read_calibration(folder / "learned" / "calibration.toml", measured.endpoints)
    assert set(learned.between["items"]) == {"l1", "l3"}
    assert set(learned.between["search"]) == {"l3"}
    hit, miss, search = (
        learned.between[name][depth].times.sample(0.5)
        for name, depth in (("items", "l1"), ("items", "l3"), ("search", "l3"))
    )
    query = TRIP_SECONDS + READ_SECONDS
    assert hit < query <= miss
    assert 2 * query <= search
    assert learned.tiers["l3.round_trip"].times.mean == 0


def test_what_is_not_stated_is_said_by_every_prediction(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(SHOP, encoding="utf-8")
    (tmp_path / "ids.csv").write_text("a\nb\n", encoding="utf-8")
    for command in (("simulate",), ("plan", "--max-rate", "90")):
        told = edgeproof(*command, "shop.toml", "--out", f"of-{command[0]}", cwd=tmp_path)
        assert NOT_PREDICTED in told.stdout, told.stderr
        report = (tmp_path / f"of-{command[0]}" / "report.md").read_text(encoding="utf-8")
        assert NOT_PREDICTED in report
    for command in (("prove",), ("serve",)):
        refused = edgeproof(*command, "shop.toml", cwd=tmp_path, variables={"STAGING_TOKEN": TOKEN})
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "give --host URL of your service" in refused.stderr
    nothing = ("--set", "endpoints.items.reads=[]", "--set", "endpoints.search.weight=0")
    refused = edgeproof("simulate", "shop.toml", *nothing, cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "nothing can be predicted" in refused.stderr
