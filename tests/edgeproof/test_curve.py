"""Claims about `edgeproof curve` on traces: what it prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from core.metrics.panel import panel_from_json
from reports.panels import panel_figure
from tests.edgeproof.commands import called
from tests.reports.drawn import check_texts


def loop(folder: Path, *, keys: int = 100, rounds: int = 20, header: str = "time,key") -> Path:
    """Write a trace that asks for *keys* keys in a ring, one a second."""
    file = folder / "loop.csv"
    rows = [f"{place},k{place % keys}" for place in range(keys * rounds)]
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def test_a_ring_is_a_cliff_and_all_of_it_is_written(tmp_path: Path) -> None:
    loop(tmp_path)
    ran = called(
        "curve", "--trace", "loop.csv", "--sizes", "50,99,100,400", "--isolates", "1,4",
        "--ttl", "250s,1h", "--plain", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = {line.split()[0]: line for line in ran.stdout.splitlines() if line[:1].isdecimal()}
    # 5 % are first accesses; one entry too few for the ring, and LRU hits nothing at all.
    assert "100.00 %" in rows["99"]
    assert rows["100"].split()[1] == "5.00"
    # A life of 250 s outlasts two rounds: every third access of a key misses.
    folder = tmp_path / "runs" / "curve-loop-1"
    data = json.loads((folder / "curve.json").read_text())
    panels = {panel["name"]: panel_from_json(panel) for panel in data["panels"]}
    assert set(panels) == {"order", "policies", "isolates", "ttl"}
    short, long = panels["ttl"].lines
    assert short.values[2:] == (0.35, 0.35)
    assert long.values[2:] == (0.05, 0.05)
    one, four = panels["isolates"].lines
    assert one.values == panels["order"].lines[0].values
    assert 0.1 < four.values[2] < 0.3  # each of four isolates has to learn every key
    with (folder / "curve.csv").open() as file:
        curve = {int(row["entries"]): float(row["miss_ratio"]) for row in csv.DictReader(file)}
    assert curve == {**dict.fromkeys(range(100), 1.0), 100: 0.05}
    for name in ("curve.html", "curve.md", "figures/order.png", "figures/ttl.svg", "run.json"):
        assert (folder / name).stat().st_size
    assert "http" not in (folder / "curve.html").read_text().replace("http-equiv", "")
    for panel in panels.values():
        check_texts(panel_figure(panel))


def test_equal_inputs_give_equal_bytes_and_json_is_one_object(tmp_path: Path) -> None:
    loop(tmp_path, rounds=3)
    written = []
    for out in ("a", "b"):
        ran = called(
            "curve", "--trace", "loop.csv", "--policies", "LRU", "--shuffles", "2", "--json",
            "--out", out, cwd=tmp_path,
        )  # fmt: skip
        assert ran.returncode == 0
        assert ran.stderr == ""
        assert json.loads(ran.stdout)["keys"] == 100
        written.append(
            [(tmp_path / out / f"curve.{kind}").read_bytes() for kind in ("html", "json")]
        )
    assert written[0] == written[1]


def test_lives_of_the_trace_are_heeded_and_said(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("time,key,ttl\n" + "".join(f"{place},a,3\n" for place in range(40)))
    ran = called("curve", "--trace", "t.csv", "--shuffles", "0", "--json", cwd=tmp_path)
    policies = {panel["name"]: panel for panel in json.loads(ran.stdout)["panels"]}["policies"]
    # A life of 3 s answers two accesses after each miss.
    assert {line["values"][0] for line in policies["lines"]} == {14 / 40}
    said = called("curve", "--trace", "t.csv", "--shuffles", "0", "--plain", cwd=tmp_path).stdout
    assert "heed the trace's TTLs" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--sizes", "10,zero"], "--sizes 'zero': is no whole number from 1 to"),
        (["--sizes", "0"], "--sizes '0': is no whole number"),
        (["--policies", "MRU"], "--policies 'MRU': is no policy; give some of LRU, FIFO"),
        (["--ttl", "fast"], "--ttl 'fast': 'fast' is not a duration"),
        (["--isolates", "1000"], "--isolates '1000': is no whole number from 1 to 64"),
        (["--isolates", "request"], "--isolates 'request': is no whole number from 1 to 64"),
        (["--aim", "85%"], "--aim has no effect on a trace alone: name a SCENARIO, too"),
        (["--set", "seed=2"], "--set has no effect on a trace alone"),
        (["--rate", "8x"], "--rate is '8x'; a trace alone takes accesses/s"),
        (["--warm-up", "100%"], "--warm-up 100%: leaves nothing to count"),
        (["--ttl", "5s"], "--ttl: the trace has no times; give --rate R"),
        (["--rate", "5"], "--rate has no effect: the trace has no TTLs; give --ttl"),
        (["--rate", "5", "--time-unit", "s"], "--rate 5 replaces the trace's times"),
        (["--trace", "none.csv"], "none.csv: it cannot be opened (No such file"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, options: list[str], says: str) -> None:
    (tmp_path / "t.csv").write_text("key\na\nb\na\n")
    given = options if "--trace" in options else ["--trace", "t.csv", *options]
    ran = called("curve", *given, cwd=tmp_path)
    assert ran.returncode == 2
    assert says in ran.stderr
    assert len([line for line in ran.stderr.splitlines() if not line.startswith("reading")]) == 1
    assert not (tmp_path / "runs").exists()


SMALL = (
    "baseline", "--rate", "60", "--set", "traffic.users=60", "--set", "traffic.conversions=30",
    "--set", "duration=6s", "--set", "warm_up=2s", "--sizes", "5,40", "--ttl", "2s",
    "--l2-ttl", "0.5", "--replications", "2", "--shuffles", "2",
)  # fmt: skip


def test_a_scenario_tells_who_answers_and_what_it_takes(tmp_path: Path) -> None:
    ran = called("curve", *SMALL, "--isolates", "1,request", "--aim", "80%", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path / "runs" / "curve-baseline-1"
    data = json.loads((folder / "curve.json").read_text())
    assert data["way"] == "pass"
    rows = {row["isolates"]: row for row in data["isolates"]}
    assert list(rows) == ["1", "request", "4"]
    assert rows["4"]["is_own"]
    for row in rows.values():
        shares = [row["real"][name]["share"] for name in ("l1", "l2", "origin")]
        assert sum(shares) == pytest.approx(1)
        assert sum(row["theory"].values()) == pytest.approx(1)
    assert rows["request"]["real"]["l1"]["share"] == 0
    assert rows["1"]["real"]["l1"]["share"] > rows["4"]["real"]["l1"]["share"]
    whole, passing = (rows["4"][way]["l1"]["share"] for way in ("simulated", "real"))
    assert abs(whole - passing) < 0.08
    panels = {panel["name"]: panel_from_json(panel) for panel in data["panels"]}
    assert set(panels) == {
        "l1-size", "l1-ttl", "order-size", "order-ttl", "both-size", "both-ttl", "both-l2-ttl",
    }  # fmt: skip
    assert panels["l1-size"].places == (5, 40, 10_000)
    assert panels["l1-size"].mark == 10_000
    assert panels["both-l2-ttl"].places == (0.5, 1)
    assert [line.name for line in panels["order-ttl"].lines] == [
        "real order", "random order", "theory",
    ]  # fmt: skip
    for name in ("l1-size", "order-ttl", "both-l2-ttl"):
        check_texts(panel_figure(panels[name]))
    assert "80 % from a TTL of" in ran.stdout
    assert "request   0.0 %" in ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("Report: ")
    with (folder / "curve.csv").open() as file:
        cells = [row for row in csv.DictReader(file) if row["over"] == "size"]
    assert {row["order"] for row in cells} == {"real", "random", "theory"}
    assert "http" not in (folder / "curve.html").read_text().replace("http-equiv", "")


def test_equal_scenarios_give_equal_figures_and_json_is_one_object(tmp_path: Path) -> None:
    found = []
    for out in ("a", "b"):
        ran = called("curve", *SMALL, "--quick", "--json", "--out", out, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        found.append({**json.loads(ran.stdout), "out": ""})
        assert all("simulated" not in row for row in found[-1]["isolates"])
    assert found[0] == found[1]


def test_what_theory_does_not_know_is_simulated_and_said(tmp_path: Path) -> None:
    ran = called(
        "curve", *SMALL, "--isolates", "1", "--set", "tiers.stale_while_revalidate=5s",
        "--shuffles", "0", "--plain", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "Every point is a whole simulation, and there is no theory" in ran.stdout
    assert "stale_while_revalidate" in ran.stdout
    data = json.loads((tmp_path / "runs" / "curve-baseline-1" / "curve.json").read_text())
    assert data["way"] == "simulation"
    lines = {line["name"] for panel in data["panels"] for line in panel["lines"]}
    assert lines == {"1 isolate", "4 isolates", "real order"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "give SCENARIO, --trace FILE, or both"),
        (["nowhere"], "nowhere: no such scenario file"),
        (["baseline", "--policies", "LRU"], "--policies has no effect on a scenario"),
        (["baseline", "--warm-up", "10%"], "--warm-up has no effect on a scenario"),
        (["baseline", "--isolates", "0"], "--isolates '0': is no whole number from 1 to 64, nor"),
        (["baseline", "--l2-ttl", "0"], "--l2-ttl '0': is no factor"),
        (["baseline", "--l2-ttl", "nan"], "--l2-ttl 'nan': is no factor"),
        (["baseline", "--aim", "120%"], "--aim"),
        (["baseline", "--rate", "fast"], "--rate is 'fast'"),
        (["baseline", "--isolates", "64", "--set", "topology.processes=100"], "places; give fewer"),
        (["baseline", "--set", "tiers.l2.min_ttl=refuse", "--l2-ttl", "0.1"], "refuses a TTL"),
    ],
)
def test_bad_input_of_a_scenario_is_one_line(tmp_path: Path, options: list[str], says: str) -> None:
    ran = called("curve", *options, "--quick", cwd=tmp_path)
    assert ran.returncode == 2, ran.stdout
    assert says in ran.stderr
    told = [line for line in ran.stderr.splitlines() if not line.startswith("counting")]
    assert len(told) == 1
    assert not (tmp_path / "runs").exists()
