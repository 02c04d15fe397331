"""Claims about `edgeproof cost`, and about money in other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.edgeproof.commands import SMALL, called

SCENARIO = """\
name = "shop"
duration = "2s"
warm_up = "1s"
[traffic]
stages = [{ rate = 60 }]
users = 60
conversions = 30
[[kpis]]
metric = "cost_per_million"
target = "< $1"
alert = "> $900"
[[kpis]]
metric = "subrequests"
target = "<= 50"
alert = "> 1000"
[[kpis]]
metric = "rows_written_per_day"
target = "< 100k"
alert = "> 100M"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a scenario, and its simulation in `run`."""
    path = tmp_path_factory.mktemp("cost")
    (path / "shop.toml").write_text(SCENARIO, encoding="utf-8")
    found = called("simulate", "shop.toml", "--out", "run", "--plain", cwd=path)
    (path / "simulate.txt").write_text(found.stdout, encoding="utf-8")
    assert found.returncode == 1, found.stderr  # rows and money miss their targets
    return path


def test_a_simulation_judges_cost_and_shows_the_bill(folder: Path) -> None:
    told = (folder / "simulate.txt").read_text(encoding="utf-8")
    rows = {line.split()[0]: line for line in told.splitlines() if line.strip()}
    assert rows["cost_per_million"].endswith("WARN")
    assert "< $1" in rows["cost_per_million"]
    assert rows["subrequests"].endswith("PASS")
    assert rows["rows_written_per_day"].endswith("WARN")
    for product in ("Workers", "KV", "D1", "Queues", "total"):
        assert "$" in rows[product]
    assert "The free plan would refuse: " in told


def test_reports_show_the_bill(folder: Path) -> None:
    html = (folder / "run" / "report.html").read_text(encoding="utf-8")
    markdown = (folder / "run" / "report.md").read_text(encoding="utf-8")
    data = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    assert "Cost on the platform" in html
    assert "D1 rows written" in html
    assert "## Cost" in markdown
    assert data["cost"]["predicted"]["per_million"] > 0


def test_a_run_is_charged_at_other_prices(folder: Path) -> None:
    (folder / "dear.toml").write_text("[d1]\nrows_written = { price = 10 }\n", encoding="utf-8")
    plain = json.loads(called("cost", "run", "--json", cwd=folder).stdout)["cost"]["predicted"]
    found = called("cost", "run", "--prices", "dear.toml", "--json", cwd=folder)
    dear = json.loads(found.stdout)["cost"]["predicted"]
    line = next(each for each in plain["lines"] if each["unit"] == "rows_written")
    more = 9 * line["per_million"] / 1e6
    assert dear["per_million"] == pytest.approx(plain["per_million"] + more)
    assert dear["figures"]["kv_key_writes"] == plain["figures"]["kv_key_writes"]


def test_cost_simulates_a_scenario_and_draws_money_against_latency(folder: Path) -> None:
    found = called(
        "cost", "shop.toml", "--over", "tiers.l2.ttl=x0.01,x1", "--out", "cost", "--plain",
        cwd=folder,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "x1 (as it is)" in found.stdout
    assert "COST: A million requests cost $" in found.stdout
    short, own = json.loads((folder / "cost" / "choices.json").read_text())["choices"]
    assert short["per_million"] > own["per_million"]
    assert (folder / "cost" / "figures" / "tradeoff.svg").is_file()
    assert "Money against latency" in (folder / "cost" / "report.html").read_text(encoding="utf-8")


def test_two_runs_are_compared_by_cost(folder: Path) -> None:
    called(
        "simulate", "shop.toml", "--set", "tiers.l2.ttl.lookup_data=1s", "--out", "other",
        cwd=folder,
    )  # fmt: skip
    found = called("compare", "run", "other", "--json", cwd=folder)
    rows = {(row["kind"], row["figure"]): row for row in json.loads(found.stdout)["rows"]}
    assert ("kpi", "cost_per_million") in rows
    assert rows["cost", "cost_per_month"]["outcome"] == "NOT_COMPARED"
    assert rows["cost", "cost_per_month"]["a"] > 0


def test_a_plan_tells_the_cost_at_each_rate(folder: Path) -> None:
    found = called(
        "plan", "baseline", *SMALL, "--max-rate", "60", "--out", "plan", "--plain", cwd=folder
    )
    assert "a month" in found.stdout.splitlines()[0]
    assert "a million requests cost $" in found.stdout
    points = json.loads((folder / "plan" / "plan.json").read_text())["points"]
    assert points[-1]["costs"]["cost_per_month"] > 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--set", "duration=3s"], "--set has no effect on run"),
        (["run", "--prices", "none.toml"], "--prices none.toml: no such file"),
        (["shop.toml", "--over", "tiers.l1.ttl"], "--over tiers.l1.ttl: write it as"),
        (["shop.toml", "--bill-only", "--over", "seed=1,2"], "--bill-only: --over asks for"),
        (["shop.toml", "--set", "prices.kv.reads.price=-1"], "prices.kv.reads.price is -1"),
        (["nothing.json"], "nothing.json"),
    ],
)
def test_what_cannot_be_charged_is_one_line(folder: Path, arguments: list[str], told: str) -> None:
    found = called("cost", *arguments, cwd=folder)
    assert found.returncode == 2
    assert told in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert found.stdout == ""


def test_the_list_of_prices_is_a_file_of_prices(folder: Path) -> None:
    (folder / "list.toml").write_text(
        called("scenario", "prices", cwd=folder).stdout, encoding="utf-8"
    )
    one, other = (
        called("cost", "run", *more, "--json", cwd=folder).stdout
        for more in ([], ["--prices", "list.toml"])
    )
    assert one == other
