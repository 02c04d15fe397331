"""Claims about `edgeproof sweep` as a user meets it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from unittest import mock

import pytest

from edgeproof.progress import Display
from tests.edgeproof.commands import called
from tests.edgeproof.swept import FEW, SIZES, SMALL, swept


def test_cells_are_what_simulate_finds_and_a_second_sweep_takes_them(tmp_path: Path) -> None:
    kept = {"EDGEPROOF_RUNS": str(tmp_path / "kept")}
    ran = called(
        "sweep", "baseline", *SMALL, "--over", SIZES, "--out", "a", "--plain",
        cwd=tmp_path, variables=kept,
    )  # fmt: skip
    assert ran.returncode in (0, 1), ran.stderr
    assert "20 of 20 runs" in ran.stderr
    sweep = swept(tmp_path / "a")
    assert [cell.values for cell in sweep.cells] == [("1",), ("500",)]
    assert [cell.runs for cell in sweep.cells] == [10, 10]
    for cell in sweep.cells[:1]:
        size = f"tiers.l1.max_entries={cell.values[0]}"
        alone = called("simulate", "baseline", *SMALL, "--set", size, "--json", cwd=tmp_path)
        kpis = json.loads(alone.stdout)["kpis"]
        assert [
            (kpi["metric"], kpi["predicted"], kpi["predicted_interval"], kpi["predicted_outcome"])
            for kpi in kpis
        ] == [
            (name, cell.figures[name], [*cell.intervals[name]], outcome)
            for name, outcome in cell.outcomes.items()
        ]
    again = called(
        "sweep", "baseline", *SMALL, "--over", f"{SIZES},20", "--out", "b", "--json",
        cwd=tmp_path, variables=kept,
    )  # fmt: skip
    assert "20 runs of earlier commands taken" in again.stderr
    printed = json.loads(again.stdout)
    assert (
        printed["sweep"]["cells"][:2]
        == json.loads((tmp_path / "a/sweep.json").read_text())["cells"]
    )
    with (tmp_path / "b" / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["tiers.l1.max_entries"] for row in rows] == ["1", "500", "20"]
    assert float(rows[1]["hit_ratio"]) == sweep.cells[1].figures["hit_ratio"]
    figures = {path.stem for path in (tmp_path / "b" / "figures").glob("*.svg")}
    assert {"kpi-1", "tiers", "cost"} <= figures
    drawn = called("report", "b", "--out", "c", "--json", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert json.loads(drawn.stdout) == {**printed, "out": "c"}
    for name in ("report.html", "report.md", "cells.csv", "figures/kpi-1.svg"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


def test_two_fields_are_a_map_and_a_rate_is_a_field(tmp_path: Path) -> None:
    ran = called(
        "sweep", "baseline", *FEW, "--over", "traffic.rate=20,0.25x", "--over", SIZES,
        "--replications", "1", "--out", "a", "--plain", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode in (0, 1), ran.stderr
    sweep = swept(tmp_path / "a")
    assert [cell.values for cell in sweep.cells] == [
        ("20", "1"), ("20", "500"), ("0.25x", "1"), ("0.25x", "500"),
    ]  # fmt: skip
    assert sweep.fields[0].numbers == (20.0, 60.0)
    assert all(not cell.intervals for cell in sweep.cells)
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert ["60", "1"] in [line[:2] for line in lines]
    assert {"misses.svg", "cost.svg"} <= {p.name for p in (tmp_path / "a/figures").iterdir()}
    page = (tmp_path / "a" / "report.html").read_text()
    assert "One run, on the same" in page or "one run, on the same" in page


def test_no_combination_that_holds_is_exit_1_and_the_nearest_is_named(tmp_path: Path) -> None:
    ran = called(
        "sweep", "baseline", *SMALL, "--over", SIZES, "--kpi", "p95(track) < 1ms",
        "--replications", "2", "--plain", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    line = next(line for line in ran.stdout.splitlines() if line.startswith("SWEEP"))
    assert line.startswith("SWEEP: None of 2 combinations meets every KPI; the nearest is tiers.l1")


def test_ctrl_c_shows_what_was_found_and_the_same_command_goes_on(tmp_path: Path) -> None:
    given = ("sweep", "baseline", *SMALL, "--over", SIZES, "--replications", "4", "--plain")
    kept = {"EDGEPROOF_RUNS": str(tmp_path / "kept")}
    update = Display.update

    def interrupt(self: Display, phase: str, share: float, detail: str = "") -> None:
        update(self, phase, share, detail)
        if detail.startswith("3 of 8 runs"):
            raise KeyboardInterrupt

    with mock.patch.object(Display, "update", interrupt):
        ended = called(*given, "--out", "a", cwd=tmp_path, variables=kept)
    assert ended.returncode == 130
    assert "the same command goes on from there" in ended.stderr
    assert "SWEEP: Interrupted: 3 of 8 runs were made" in ended.stdout
    found = swept(tmp_path / "a")
    assert found.interrupted
    # Every combination gets its first replication before any gets its second one.
    assert [cell.runs for cell in found.cells] == [2, 1]
    again = called(*given, "--out", "b", cwd=tmp_path, variables=kept)
    assert "3 runs of earlier commands taken" in again.stderr
    assert [cell.runs for cell in swept(tmp_path / "b").cells] == [4, 4]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--over", "tiers.l1.max_entries"], "tiers.l1.max_entries: write it as FIELD=VALUE"),
        (["--over", SIZES, "--set", "tiers.l1.max_entries=7"],
         "--set tiers.l1.max_entries=7: --over tiers.l1.max_entries replaces it; leave one"),
        (["--over", "tiers.l1.max_entries=1,,2"], "write it as FIELD=VALUE"),
        (["--over", "tiers.l1.max_entries=1,1"], "--over tiers.l1.max_entries=1 is given twice"),
        (["--over", "tiers.l1.ttl=60s,1m"], "are the same scenario; keep one of them"),
        (["--over", "tiers.l1.size=1,2"], "--over tiers.l1.size=1: tiers.l1.size is not a known"),
        (["--over", "tiers.l1.max_entries=5,-1"], "--over tiers.l1.max_entries=-1: tiers.l1.max"),
        (["--over", SIZES, "--over", SIZES], "--over tiers.l1.max_entries is given twice"),
        (["--over", "tiers.l3.readers=1,2"], "changes nothing: no simulated time depends on it"),
        (["--over", "traffic.rate=10,fast"], "--over traffic.rate: is 'fast'; give requests/s"),
        (["--over", "rate=10,20", "--rate", "5"], "--over traffic.rate replaces it; leave one"),
        (["--over", SIZES, "--replications", "200", "--over",
          "seed=" + ",".join(map(str, range(40)))], "are 80 cells, with 200 replications each"),
        (["--over", "tiers.l1.max_entries=" + ",".join(map(str, range(1, 150)))],
         "149 values; give at most 100"),
        (["--over", "destination.timeout=1s,2s", "--set", "destination.url=none"],
         "destination.timeout has no effect"),
        (["--over", "traffic.rate=20,0.01"], "no request arrives after the warm-up"),
        ([], "Missing option '--over'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_before_anything_runs(
    tmp_path: Path, options: list[str], says: str
) -> None:
    ran = called("sweep", "baseline", *FEW, *options, cwd=tmp_path)
    assert ran.returncode == 2, ran.stderr
    assert says in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert ran.stdout == ""
    assert [*tmp_path.iterdir()] == []
