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
