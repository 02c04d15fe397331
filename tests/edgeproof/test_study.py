"""Claims about what analysts ask `edgeproof attribute` for, and about its report."""

from __future__ import annotations

import csv
import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from core.query.database import SqliteDatabase
from core.query.statements import INSERT_CONVERSION, INSERT_EVENT
from edgeproof.main import main
from tests.core.attribution.flat import TEXT

DAY_MS = 86_400_000
JANUARY = 1_767_225_600_000  # 2026-01-01, a Thursday


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paths.csv").write_text(TEXT)
    (tmp_path / "later.csv").write_text(TEXT.replace("12,120.5,40", "30,400,20"))
    (tmp_path / "costs.csv").write_text("channel,cost\nsearch,100\nemail,20\n")
    return tmp_path


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of 60 days: "search" converts, "social" opens, every third user buys."""
    file = tmp_path_factory.mktemp("study") / "cdp.db"
    store = SqliteDatabase(file, inline=True)
    with closing(store.connection) as connection:
        events, conversions = [], []
        for user in range(300):
            start = JANUARY + (user % 60) * DAY_MS
            steps = ["social", "search"] if user % 3 == 0 else [("social", "email")[user % 2]]
            for n, channel in enumerate(steps):
                events.append(
                    (f"e{user}-{n}", f"u{user}", "view", channel, start + n * 3_600_000, None, None)
                )
            if user % 3 == 0:
                at = start + 2 * 3_600_000 + (user % 2) * DAY_MS
                conversions.append((f"c{user}", f"p{user}", f"u{user}", at, 10.0))
        connection.execute("BEGIN")
        connection.executemany(INSERT_EVENT.sql, events)
        connection.executemany(INSERT_CONVERSION.sql, conversions)
        connection.execute("COMMIT")
    return file


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["attribute", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def rows_of(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    (table,) = [table for table in found["tables"] if table["name"] == name]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def test_report_holds_every_table_refers_to_nothing_and_is_drawn_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "run"
    options = ["--shapley", "--costs", "costs.csv", "--against", "later.csv", "--bootstrap", "20",
               "--holdout", "later.csv", "--order", "auto", "--export", "csv"]  # fmt: skip
    assert main(["attribute", "--paths", "paths.csv", *options, "--out", str(run)]) == 0
    out = capsys.readouterr().out
    assert f"Report: {run / 'report.html'}" in out
    for title in ("Which model predicts", "Cost and return (data_driven)", "What changed (data_d"):
        assert title in out
    page = (run / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "http" not in page.replace("http://www.w3.org", "")
    for title in ("Conversions", "Value", "Assisted and last-click", "Steps from channel",
                  "Removal effects", "Top paths", "Path length", "Cost and return",
                  "What changed", "data driven, 95 %", "--order auto chooses"):  # fmt: skip
        assert title in page, title
    names = {file.stem for file in (run / "tables").iterdir()}
    assert names == {"roles", "transitions", "removal", "paths", "lengths", "costs", "comparison",
                     "holdout"}  # fmt: skip
    with (run / "tables" / "transitions.csv").open() as stream:
        shares = list(csv.DictReader(stream))
    for source in {row["from"] for row in shares}:
        own = sum(float(row["share"]) for row in shares if row["from"] == source)
        assert own == pytest.approx(1)
    # The record is all that a report needs.
    assert main(["report", str(run), "--out", str(folder / "again")]) == 0
    files = sorted(file.relative_to(run) for file in run.rglob("*") if file.is_file())
    again = folder / "again"
    assert files == sorted(f.relative_to(again) for f in again.rglob("*") if f.is_file())
    for file in files:
        assert (run / file).read_bytes() == (again / file).read_bytes(), file


def test_report_of_an_attribution_takes_no_kpi_and_no_second_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(folder / "run")
    assert main(["attribute", "--paths", "paths.csv", "--out", run]) == 0
    capsys.readouterr()
    for arguments, said in (
        ([run, run], "an attribution is reported alone"),
        ([run, "--strict"], "is an attribution, which judges no KPI"),
    ):
        assert main(["report", *arguments]) == 2
        assert said in capsys.readouterr().err
    (folder / "run" / "attribution.json").write_text('{"rows": 3}')
    assert main(["report", run]) == 2
    assert "no attribution can be read" in capsys.readouterr().err


def test_comparison_without_a_chain_is_shown_beside_shapley(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", "last_click", "--shapley", "--against", "later.csv"]
    assert main(["attribute", "--paths", "paths.csv", *options, "--plain"]) == 0
    out = capsys.readouterr().out
    assert "What changed (last_click):" in out
    # The title names the model, so no column repeats it; the file has all of them.
    assert re.search(r"of\s+channel\s+before", out)
    assert re.search(r"conversions\s+search", out)
    assert "-0.0" not in out
    written = Path("runs/attribution-1/tables/comparison.csv").read_text()
    assert written.startswith("of,model,channel,")


def test_what_is_said_of_a_file_is_said_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("refund.csv").write_text(
        "path,total_conversions,total_conversion_value,total_null\na > b,9,-5,1\na,3,5,9\n"
    )
    options = ["--against", "refund.csv", "--holdout", "refund.csv", "--json"]
    assert main(["attribute", "--paths", "paths.csv", *options]) == 0
    notices = json.loads(capsys.readouterr().out)["notices"]
    assert sum("refund.csv: 1 row with a negative value" in notice for notice in notices) == 1


def test_negative_conversions_are_never_resampled_nor_drawn(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("refunds.csv").write_text("path,total_conversions\na > b,9\na,-2\n")
    assert main(["attribute", "--paths", "refunds.csv", "--bootstrap", "20"]) == 2
    assert "has negative conversions, which no resample can draw" in capsys.readouterr().err
    # Shares of what has negative parts say nothing, so nothing is drawn.
    Path("more.csv").write_text("path,total_conversions\na > b,-9\na,2\n")
    run = folder / "run"
    assert main(["attribute", "--paths", "more.csv", "--out", str(run)]) == 0
    assert not (run / "figures" / "credit.svg").exists()
    assert "No shares to compare" in (run / "report.html").read_text()


def test_shapley_stands_beside_the_models_and_is_whole(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = answer(capsys, "--paths", "paths.csv")
    found = answer(capsys, "--paths", "paths.csv", "--shapley")
    others = [row for row in found["rows"] if row["model"] != "shapley"]
    assert others == plain["rows"]
    own = [row for row in found["rows"] if row["model"] == "shapley"]
    assert sum(row["conversions"] for row in own) == pytest.approx(found["conversions"])
    assert sum(row["value"] for row in own) == pytest.approx(found["value"])
    assert found["shapley"]["sampled_sets"] == 0


def test_trend_of_a_database_adds_up_to_its_account(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "--db", str(database), "--by", "week")
    rows = rows_of(found, "trend")
    assert {row["week"] for row in rows} >= {"2025-12-29", "2026-01-05"}
    for row in found["rows"]:
        own = [r for r in rows if (r["model"], r["channel"]) == (row["model"], row["channel"])]
        assert sum(r["conversions"] for r in own) == pytest.approx(row["conversions"])
    days = rows_of(answer(capsys, "--db", str(database), "--by", "day"), "trend")
    assert len({row["day"] for row in days}) > len({row["week"] for row in rows})


def test_two_periods_and_a_later_one_of_a_database_are_compared(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(
        capsys, "--db", str(database), "--from", "2026-02-01", "--against",
        "2026-01-01..2026-02-01", "--holdout", "2026-02-15",
    )  # fmt: skip
    before = answer(capsys, "--db", str(database), "--from", "2026-01-01", "--to", "2026-02-01")
    old = {(row["model"], row["channel"]): row["conversions"] for row in before["rows"]}
    for row in rows_of(found, "comparison"):
        if row["of"] == "conversions":
            assert row["before"] == pytest.approx(old[row["model"], row["channel"]])
        assert row["volume"] + row["mix"] + row["credit"] == pytest.approx(row["change"])
    checked = {row["model"]: row["auc"] for row in rows_of(found, "holdout")}
    # Only journeys with "search" convert, and the last click says so.
    assert checked["last_click"] == 1
    assert checked["first_click"] < 1
    assert any(note.startswith("--holdout: ") for note in found["notices"])
    # The report of a database knows the time from the first touch on.
    assert main(["attribute", "--db", str(database), "--out", str(tmp_path / "run")]) == 0
    assert "Time lag" in (tmp_path / "run" / "report.html").read_text()


def test_order_of_a_database_is_chosen(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--db", str(database), "--order", "auto")
    assert found["parameters"]["order"] == found["order_choice"]["order"] == 1
    assert any(note.startswith("--order auto chooses 1") for note in found["notices"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--by", "week"], "--by needs --db"),
        (["--by", "month"], "--by month: use day or week"),
        (["--export", "xlsx"], "--export xlsx: use csv or parquet"),
        (["--export", "csv", "--json"], "--json writes no files; give --out FOLDER, too"),
        (["--order", "best"], "--order best: use 1, 2, 3 or auto"),
        (["--against", "gone.csv"], "gone.csv: cannot be read"),
        (["--costs", "paths.csv"], "paths.csv:1: no columns channel and cost"),
        (["--direct-channel", "Typed"], "has no channel of that name"),
        (["--path-column", "weg"], "no column 'weg', which --path-column states"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["attribute", "--paths", "paths.csv", *options]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--joiner", "|"], "--joiner needs --paths"),
        (["--value-column", "v"], "--value-column needs --paths"),
        (["--against", "2026"], "--against 2026: write a period as 2026-01-01..2026-02-01"),
        (["--against", "2026-02-01..2026-01-01"], "its end is not after its start"),
        (["--holdout", "2025-01-01", "--from", "2026-01-01"], "--holdout is not after --from"),
        (["--holdout", "soon"], "--holdout 'soon': no time"),
    ],
)
def test_what_a_database_cannot_do_is_refused_in_one_line(
    database: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["attribute", "--db", str(database), *options, "--plain"]) == 2
    assert said in capsys.readouterr().err


def rows_of_parquet(file: Path) -> list[dict[str, Any]]:
    with duckdb.connect(":memory:") as connection:
        found = connection.execute("SELECT * FROM read_parquet(?)", [str(file)])
        names = [name for name, *_ in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def test_parquet_holds_the_tables_or_says_what_it_needs(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("reports.study_tables.find_spec", lambda name: None)
        assert main(["attribute", "--paths", "paths.csv", "--export", "parquet"]) == 2
        assert "pip install 'edgeproof[formats]', or use csv" in capsys.readouterr().err
    run = folder / "run"
    arguments = ["--paths", "paths.csv", "--export", "parquet", "--out", str(run)]
    assert main(["attribute", *arguments]) == 0
    tables = run / "tables"
    credit = rows_of_parquet(tables / "credit.parquet")
    found = json.loads((run / "attribution.json").read_text())["rows"]
    assert [row["conversions"] for row in credit] == [row["conversions"] for row in found]
    paths = rows_of_parquet(tables / "paths.parquet")
    assert paths[0]["path"] == "search"
