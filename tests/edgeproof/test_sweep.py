"""Claims about `edgeproof sweep` as a user meets it."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from core.metrics.kpi import Outcome
from reports.sweep import answer_of
from tests.edgeproof.commands import called, running
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
    for cell in sweep.cells:
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
    highest = replace(
        sweep,
        cells=tuple(
            replace(
                cell,
                figures={**cell.figures, "cost_per_million": cost},
                outcomes=dict.fromkeys(cell.outcomes, Outcome.PASS),
                saturated=(),
            )
            for cell, cost in zip(sweep.cells, (1.0, 3.0, 2.0, 2.5), strict=True)
        ),
    )
    assert answer_of(highest) == (
        "4 of 4 combinations meet every KPI; at the highest rate that does, the cheapest is "
        "traffic.rate=60, tiers.l1.max_entries=1, at $2.00 for a million requests."
    )
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
    given = (
        "sweep", "baseline", *FEW, "--rate", "150", "--over", SIZES,
        "--engine", "reference", "--replications", "8", "--plain",
    )  # fmt: skip
    kept = {"EDGEPROOF_RUNS": str(tmp_path / "kept")}
    with running(*given, "--out", "a", cwd=tmp_path, **kept) as command:
        command.wait_for(r"\d+ of 16 runs")
        command.interrupt(group=True)
        code, out, said = command.end()
    assert code == 130
    assert "Traceback" not in said
    assert re.search(r"SWEEP: Interrupted: \d+ of 16 runs were made", out)
    found = swept(tmp_path / "a")
    assert found.interrupted
    made = sum(cell.runs for cell in found.cells)
    assert 0 < made < 16
    again = called(*given, "--out", "b", cwd=tmp_path, variables=kept)
    assert re.search(rf"\b{made} runs? of earlier commands taken", again.stderr)
    assert [cell.runs for cell in swept(tmp_path / "b").cells] == [8, 8]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--over", "tiers.l1.max_entries"], "tiers.l1.max_entries: write it as FIELD=VALUE"),
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
