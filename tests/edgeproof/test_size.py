"""Claims about `edgeproof size` as a user meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgeproof.axes import number_of
from tests.edgeproof.commands import called
from tests.edgeproof.swept import FEW, SMALL, swept

HITS = ("--kpi", "ratio(l1) >= 25%", "--replications", "3")
ENTRIES = "tiers.l1.max_entries"


@pytest.mark.parametrize(
    ("field", "grid", "kpi"),
    [
        (ENTRIES, ("2", "4", "8", "16", "32", "64"), "ratio(l1) >= 25%"),
        ("tiers.l1.ttl", ("0.2s", "0.5s", "1s", "2s", "4s"), "ratio(l1) >= 25%"),
    ],
)
def test_size_is_that_of_a_sweep_within_its_step(
    tmp_path: Path, field: str, grid: tuple[str, ...], kpi: str
) -> None:
    kept = {"EDGEPROOF_RUNS": str(tmp_path / "kept")}
    asked = ("baseline", *SMALL, "--kpi", kpi, "--replications", "3", "--plain")
    found = called(
        "size", *asked, "--field", field, "--from", grid[0], "--to", grid[-1], "--out", "size",
        cwd=tmp_path, variables=kept,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    data = json.loads((tmp_path / "size" / "size.json").read_text())
    size = number_of(data["found"][field])[0]
    brute = called(
        "sweep", *asked, "--over", f"{field}={','.join(grid)}", "--out", "sweep",
        cwd=tmp_path, variables=kept,
    )  # fmt: skip
    assert brute.returncode == 0, brute.stderr
    cells = swept(tmp_path / "sweep").cells
    first = next(place for place, cell in enumerate(cells) if cell.is_met)
    assert first > 0, "the grid begins too high to tell"
    low, high = (number_of(grid[place])[0] for place in (first - 1, first))
    assert low < size <= high
    # What decides, and the next smaller value, with its figure.
    assert data["decides"] == ["ratio(l1)"]
    (smaller,) = data["next_smaller"]
    assert number_of(smaller["values"][0])[0] < size
    assert smaller["outcome"] in ("WARN", "FAIL", "INCONCLUSIVE")
    line = next(line for line in found.stdout.splitlines() if line.startswith("SIZE: "))
    assert re.search(
        rf"{field}=\S+ is the smallest of \S+ to \S+ with which every KPI passes at 30 requests/s"
        rf".*ratio\(l1\) decides: with {field}=\S+ it is [\d.]+ %",
        line,
    )
    drawn = called("report", "size", "--out", "again", "--plain", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    for name in ("report.html", "report.md", "cells.csv"):
        assert (tmp_path / "size" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert {"kpi-1.svg", "tiers.svg"} <= {p.name for p in (tmp_path / "size/figures").iterdir()}


def test_two_fields_are_sized_by_money(tmp_path: Path) -> None:
    ran = called(
        "size", "baseline", *SMALL, *HITS, "--replications", "1", "--field", f"{ENTRIES}=1..32",
        "--field", "tiers.l1.ttl=200ms..4s", "--out", "size", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    data = json.loads(ran.stdout)["size"]
    scanned = [cell for cell in data["sweep"]["cells"] if cell["outcome"] == "PASS"]
    cheapest = min(cell["figures"]["cost_per_million"] for cell in scanned)
    assert data["found_cell"]["outcome"] == "PASS"
    assert data["found_cell"]["figures"]["cost_per_million"] <= 1.01 * cheapest
    assert len(data["next_smaller"]) == 2
    assert "the cheapest combination" in json.loads(ran.stdout)["answer"]


def test_bounds_within_which_nothing_does_it_are_exit_1(tmp_path: Path) -> None:
    ran = called(
        "size", "baseline", *SMALL, "--kpi", "p95(track) < 1ms", "--replications", "2",
        "--field", ENTRIES, "--from", "4", "--to", "9", "--plain", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    line = next(line for line in ran.stdout.splitlines() if line.startswith("SIZE: "))
    assert line.startswith(f"SIZE: No value of {ENTRIES} from 4 to 9 meets every KPI at 30")
    assert "with p95_track" in line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--field", "tiers.l1.size"], "--field tiers.l1.size: the scenario has no value above 0"),
        (
            ["--field", "tiers.l1.size=1..5"],
            "--field tiers.l1.size=1: tiers.l1.size is not a known",
        ),
        (["--field", "tiers.l1.scope"], "--field tiers.l1.scope is isolate, which has no size"),
        (["--field", "tiers.l3"], "which has no size"),
        (["--field", "traffic.rate"], "is what `edgeproof plan` finds"),
        (["--field", ENTRIES, "--from", "90000000"], "from 9e+07 to 160000 is nothing to search"),
        (["--field", ENTRIES, "--from", "-5"], "the bound -5 (--from) is none; it is more than 0"),
        (["--field", "tiers.l1.ttl", "--to", "90"], "the bound 90 (--to) is none"),
        (["--field", ENTRIES, "--field", "tiers.l1.ttl", "--to", "9"], "--to 9: of which field?"),
        (["--field", f"{ENTRIES}=5..9", "--to", "9"], "has bounds; leave --from and --to out"),
        (["--field", f"{ENTRIES}=5"], "write it as NAME, such as"),
        (["--field", ENTRIES, "--field", ENTRIES], "is given twice"),
        (["--field", "tiers.l3.readers=1..4"], "changes nothing: no simulated time depends on it"),
        (["--field", "seed=1..5"], "--field seed has no size: it is what random numbers follow"),
        (["--field", ENTRIES, "--set", f"{ENTRIES}=7"], f"--field {ENTRIES} replaces it; leave"),
        (
            ["--field", "traffic.retries.budget=1%..2000%", "--set", "traffic.retries.attempts=2"],
            "traffic.retries.budget=20: traffic.retries.budget is 20; it must be at most 10",
        ),
        (["--field", "queue.wait=1s..5h"], "--field queue.wait=18000s: queue.wait is"),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(
    tmp_path: Path, options: list[str], says: str
) -> None:
    ran = called("size", "baseline", *FEW, *options, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, ""), ran.stderr
    assert says in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert [*tmp_path.iterdir()] == []
