"""`edgeproof load --find-capacity`: what it loads, leaves behind and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.metrics.capacity import CapacityPlan
from core.metrics.record import read_record
from tests.edgeproof.commands import called, edgeproof
from tests.scenarios.conftest import StartService, start_service
from tests.scenarios.fake_service import TOKEN

__all__ = ["start_service"]

SMALL = (
    "--set", "warm_up=100ms", "--set", "traffic.users=50", "--set", "topology.isolates=1",
    "--set", "topology.processes=1", "--kpi", "p95(track) < 1s", "--step", "600ms",
)  # fmt: skip


def test_a_service_that_keeps_up_holds_the_bound(
    start_service: StartService, tmp_path: Path
) -> None:
    url = start_service("good")
    ended = edgeproof(
        "load", "baseline", *SMALL, "--rate", "60", "--max-rate", "60", "--find-capacity",
        "--host", url, "--out", "out", cwd=tmp_path, variables={"EDGEPROOF_TOKEN": TOKEN},
    )  # fmt: skip
    assert ended.returncode in (0, 1, 3), ended.stderr  # a busy machine is no fault of the service
    plan = CapacityPlan.from_json(json.loads((tmp_path / "out" / "plan.json").read_text()))
    assert (plan.engine, plan.bound) == ("load", 60.0)
    record = read_record(tmp_path / "out" / "load-1" / "record.json")
    assert record.scenario["traffic"]["stages"][0]["rate"] == 60.0
    assert record.duration == 0.6
    again = called("report", "out", cwd=tmp_path)
    sentence = ended.stdout.splitlines()[-2]
    assert sentence in again.stdout
    if ended.returncode == 0:
        assert plan.highest_rate == 60.0
        assert (plan.points[0].runs, plan.is_held) == (3, True)
        assert "Every KPI that was measured holds, as measured, up to the bound" in sentence


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--step 5s", "--step: belongs to --find-capacity"),
        ("--find-capacity --repeat 3", "--repeat: has no effect with --find-capacity"),
        ("--find-capacity --strict", "--strict: has no effect"),
        ("--find-capacity --gate alert", "--gate: has no effect"),
        ("--find-capacity --require hit_ratio", "--require: has no effect"),
        ("--find-capacity --step 1", "--step: '1' is not a duration"),
        ("--find-capacity --step 1ms", "give at least 0.5s"),
        ("--find-capacity --kpi p95(track,stage 1)<1s", "judges a part of the run"),
    ],
)
def test_what_a_search_cannot_use_is_one_line(arguments: str, told: str, tmp_path: Path) -> None:
    words = arguments.replace(",stage 1", ",stage@1").split()
    words = [word.replace("@", " ") for word in words]
    ended = called("load", "baseline", "--host", "http://127.0.0.1:1", *words, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert told in ended.stderr.splitlines()[-1]


def test_a_fault_of_the_traffic_is_refused(tmp_path: Path) -> None:
    ended = called(
        "load", "flash-crowd", "--find-capacity", "--host", "http://127.0.0.1:1", cwd=tmp_path
    )
    assert ended.returncode == 2
    assert "leave it out (--set faults=[])" in ended.stderr
