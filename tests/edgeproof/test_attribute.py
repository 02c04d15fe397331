"""Claims about `edgeproof attribute`: tables, JSON, plots, and one clear line per refusal."""

from __future__ import annotations

import csv
import errno
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from core.application.seeding import seed_database
from core.attribution.account import account_of
from core.attribution.cells import guarded
from core.attribution.models import MODELS
from core.attribution.parameters import OTHER, Parameters
from core.query.database import SqliteDatabase
from core.query.statements import INSERT_CONVERSION, INSERT_EVENT
from core.scenario.file import load_scenario
from core.scenario.population import populate
from core.scenario.replay import prepare
from edgeproof.credit import tables
from edgeproof.main import main
from reports.credit import credit, credit_finding
from scenarios.catalogue import shipped
from tests.core.attribution.flat import TEXT, paths_from
from tests.edgeproof.commands import ROOT, SMALL, called, edgeproof, on_terminal


@pytest.fixture
def path_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "paths.csv"
    file.write_text(TEXT)
    return file


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a seeded database."""
    file = tmp_path_factory.mktemp("attribute") / "cdp.db"
    overrides = [SMALL[i + 1] for i in range(len(SMALL)) if SMALL[i] == "--set"]
    scenario = load_scenario(shipped()["baseline"], overrides=overrides)
    store = SqliteDatabase(file, inline=True)
    with closing(store.connection):
        seed_database(store.connection, populate(scenario, prepare(scenario).workload))
    return file


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["attribute", *arguments, "--json"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    found: dict[str, Any] = json.loads(output.out)
    return found


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["attribute", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("edgeproof: ")
    assert output.err.count("\n") == 1
    return output.err


def test_json_holds_a_row_per_model_and_channel(
    path_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "--paths", str(path_file))
    models = [name for name in MODELS if name != "time_decay"]
    assert list(dict.fromkeys(row["model"] for row in found["rows"])) == models
    assert len(found["rows"]) == 6 * 6
    for row in found["rows"]:
        keys = ["model", "channel", "conversions", "value"]
        if row["model"] == "data_driven":
            keys += ["removal_conversions", "removal_value"]
        assert list(row) == keys
    for model in models:
        own = [row for row in found["rows"] if row["model"] == model]
        assert sum(row["conversions"] for row in own) == pytest.approx(62, abs=1e-9)
        assert sum(row["value"] for row in own) == pytest.approx(764.5, abs=1e-9)
    assert any("time_decay is left out" in notice for notice in found["notices"])
    assert not (path_file.parent / "runs").exists()


def test_order_and_nulls_change_the_data_driven_rows_alone(
    path_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = answer(capsys, "--paths", str(path_file))["rows"]
    for change in (["--order", "2"], ["--without-nulls"]):
        other = answer(capsys, "--paths", str(path_file), *change)["rows"]
        assert [r for r in plain if r["model"] != "data_driven"] == [
            r for r in other if r["model"] != "data_driven"
        ]
        assert plain != other


def test_table_and_plot_are_written(path_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attribute", "--paths", str(path_file), "--plain", "--bootstrap", "20"]) == 0
    output = capsys.readouterr().out
    assert "data_driven 95 %" in output
    assert "Notice: time_decay is left out" in output
    assert "\x1b" not in output
    folder = path_file.parent / "runs" / "attribution-1"
    assert (folder / "figures" / "credit.png").stat().st_size > 10_000
    written = json.loads((folder / "attribution.json").read_text())
    assert written["conversions"] == 62
    with (folder / "attribution.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        "model", "channel", "conversions", "value", "removal_conversions", "removal_value"
    ]  # fmt: skip
    kept = [{name: cell for name, cell in row.items() if cell} for row in rows]
    assert kept == [{name: str(value) for name, value in row.items()} for row in written["rows"]]


STRANGE = ("sale_$a^$", "\x1b[31mred", "中文", "[/b]", "<b>--&", "line\u2028break")


def test_names_are_no_formulas_and_no_commands_to_a_terminal(
    path_file: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    rows = "\n".join(f'"{" > ".join(STRANGE[n:])}",{9 - n}' for n in range(len(STRANGE)))
    path_file.write_text(f"path,total_conversions\n{rows}\n")
    for models in ([], ["--model", "linear"]):
        assert main(["attribute", "--paths", str(path_file), *models]) == 0
        printed = capsys.readouterr()
        assert "sale_$a^$" in printed.out
        assert r"\x1b[31mred" in printed.out
        assert "the plot's font lacks letters of 中文" in printed.out
        assert not set("\x1b\u2028") & set(printed.out)
        assert printed.err == ""
    assert not recwarn.list
    for drawn in path_file.parent.glob("runs/*/figures/credit.svg"):
        ElementTree.fromstring(drawn.read_text())
    assert len(list(path_file.parent.glob("runs/*/figures/credit.png"))) == 2


def test_no_channel_of_the_csv_file_is_a_formula_and_each_comes_back(
    path_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["=1+1", "+x", "-x", "@x", "'=x", "'plain", "plain"]
    rows = "".join(f"{guarded(name)},{9 - place}\n" for place, name in enumerate(names))
    path_file.write_text(f"path,total_conversions\n{rows}")
    assert main(["attribute", "--paths", str(path_file), "--model", "linear"]) == 0
    assert "=1+1" in capsys.readouterr().out
    (written,) = path_file.parent.glob("runs/*/attribution.csv")
    with written.open(newline="", encoding="utf-8") as stream:
        cells = [(row["channel"], row["conversions"]) for row in csv.DictReader(stream)]
    assert cells[:3] == [("'=1+1", "9.0"), ("'+x", "8.0"), ("'-x", "7.0")]
    assert [name for name, _ in cells[3:]] == ["'@x", "''=x", "'plain", "plain"]
    exported = "".join(f"{name},{count}\n" for name, count in cells)
    path_file.write_text(f"path,total_conversions\n{exported}")
    again = answer(capsys, "--paths", str(path_file), "--model", "linear")
    assert [row["channel"] for row in again["rows"]] == names


def test_names_are_no_markup_on_a_terminal(path_file: Path) -> None:
    names = ["[/b]", "[red]", "[blue]x", ":smile:"]
    rows = "\n".join(f"{' > '.join(names[n:])},{9 - n}" for n in range(len(names)))
    path_file.write_text(f"path,total_conversions\n{rows}\n")
    code, shown = on_terminal("attribute", "--paths", "paths.csv", cwd=path_file.parent)
    assert code == 0, shown
    assert "Traceback" not in shown
    lines = [line.strip() for line in shown.splitlines()]
    for name in names:
        assert any(line.startswith(f"{name} ") for line in lines)


def test_small_amounts_keep_their_digits(
    path_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path_file.write_text(
        "path,total_conversions,total_conversion_value\n"
        "a,1000,19727.25\nb,0.034,0.0312\nc,0.00002,0.004\nd,2,0.996\n"
    )
    assert main(["attribute", "--paths", str(path_file), "--model", "linear", "--plain"]) == 0
    tables = capsys.readouterr().out.split("\n\n")
    amounts = [dict(line.split() for line in table.splitlines()[2:]) for table in tables[:2]]
    assert amounts == [
        {"a": "1,000.0", "d": "2.0", "b": "0.034", "c": "2e-05", "total": "1,002.0"},
        {"a": "19,727.25", "d": "1.00", "b": "0.031", "c": "0.004", "total": "19,728.28"},
    ]


@pytest.mark.parametrize(
    "models", [(), ("data_driven",), ("linear", "data_driven"), ("data_driven", "linear")]
)
def test_what_stands_for_rare_channels_has_a_row_of_its_own(models: tuple[str, ...]) -> None:
    walks = [(["abcdefghij"[n], "abcdefghij"[n * 3 % 10]], 20.0 - n, 3, 3) for n in range(10)]
    account = account_of(paths_from(walks), Parameters(), most=3, models=models)
    for title, rows in tables(account):
        assert [row[0] for row in rows].count(OTHER) == 1, title
        (own,) = (dict(zip(rows[0], row, strict=True)) for row in rows if row[0] == OTHER)
        assert float(own["removal"]) > 1
        assert own.get("linear", "") == ""
    assert credit(account).axes
    assert OTHER not in credit_finding(account)


def test_table_is_printed_though_the_plot_cannot_be_written(
    path_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "credit.png")

    monkeypatch.setattr("reports.document.write_study", full)
    assert main(["attribute", "--paths", str(path_file)]) == 2
    printed = capsys.readouterr()
    assert "direct depends most on the model" in printed.out
    assert "credit.png: cannot be written" in printed.err


def test_models_are_chosen_by_name(path_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--paths", str(path_file), "--model", "linear", "--model", "last_click")
    assert list(dict.fromkeys(r["model"] for r in found["rows"])) == ["linear", "last_click"]
    assert found["fitted"] is None
    assert found["notices"] == []


def test_database_gives_seven_models_and_jobs_change_nothing(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "--db", str(database))
    assert list(dict.fromkeys(row["model"] for row in found["rows"])) == list(MODELS)
    with closing(sqlite3.connect(database)) as connection:
        count, value = connection.execute("SELECT count(*), sum(value) FROM conversions").fetchone()
        stored = dict(
            connection.execute(
                "SELECT utm_source, total_attribution FROM channel_performance"
                " WHERE attribution_model = 'u_shape'"
            ).fetchall()
        )
    assert found["conversions"] + found["conversions_without_touch"] == count
    assert found["value"] + found["value_without_touch"] == pytest.approx(value)
    own = {r["channel"]: r["conversions"] for r in found["rows"] if r["model"] == "u_shape"}
    assert own == pytest.approx(stored)
    assert answer(capsys, "--db", str(database), "--jobs", "2") == found


MODULE = """
from core.attribution import Model

def second(touches):
    return [0.25, 0.75, *[0.0] * (len(touches) - 2)]

SECOND = Model(name="second", title="most to the second touch", credits=second)
LAMBDA = Model(name="fixed", title="the last touch", credits=lambda t: [*[0] * (len(t) - 1), 1])
NOTHING = 3
"""
OFFERED = """[edgeproof.attribution_models]
second = own_models_of_a_shop:SECOND
fixed = own_models_of_a_shop:LAMBDA
broken = own_models_of_a_shop:MISSING
number = own_models_of_a_shop:NOTHING
"""


@pytest.fixture
def shop_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a package that offers models; return the path that a process finds it on."""
    site = tmp_path / "site"
    (site / "shop-1.0.dist-info").mkdir(parents=True)
    (site / "own_models_of_a_shop.py").write_text(MODULE)
    (site / "shop-1.0.dist-info" / "METADATA").write_text("Name: shop\nVersion: 1.0\n")
    (site / "shop-1.0.dist-info" / "entry_points.txt").write_text(OFFERED)
    monkeypatch.syspath_prepend(site)
    return str(site)


def test_a_model_of_an_installed_package_is_used_by_its_name(
    shop_package: str, path_file: Path, database: Path, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    found = answer(capsys, "--paths", str(path_file), "--model", "second", "--model", "linear")
    assert list(dict.fromkeys(row["model"] for row in found["rows"])) == ["second", "linear"]
    assert found["notices"] == ["second: most to the second touch"]
    asked = ("--db", str(database), "--model", "second")
    one = answer(capsys, *asked)
    assert sum(row["conversions"] for row in one["rows"]) == pytest.approx(one["conversions"])
    both = edgeproof(
        "attribute", *asked, "--jobs", "2", "--json", cwd=tmp_path,
        variables={"PYTHONPATH": f"{ROOT}{os.pathsep}{shop_package}"},
    )  # fmt: skip
    assert json.loads(both.stdout) == one
    every = answer(capsys, "--db", str(database))  # what is installed changes nothing by itself
    assert {row["model"] for row in every["rows"]} == {*MODELS}


@pytest.mark.parametrize(
    ("name", "more", "line"),
    [
        ("markov", (), "data_driven, broken, fixed, number, second"),
        ("broken", (), "model broken: the entry point own_models_of_a_shop:MISSING cannot be"),
        ("number", (), "model number: the entry point own_models_of_a_shop:NOTHING is no core."),
        ("fixed", ("--jobs", "2"), "model fixed: other processes cannot be given <lambda>"),
        ("second", ("--half-life", "1d"), "--half-life has no effect: only time_decay uses it"),
    ],
)
def test_a_model_that_no_package_offers_well_is_refused_in_one_line(
    shop_package: str, database: Path, tmp_path: Path, name: str, more: tuple[str, ...], line: str
) -> None:
    done = called("attribute", "--db", str(database), "--model", name, *more, cwd=tmp_path)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert line in said


DAY_MS = 86_400_000
JOURNEY = ((10, "a", "view"), (8, "b", "view"), (7, "c", "demo"), (6, "d", "signup"),
           (0, "(direct)", "view"))  # fmt: skip
"""What u1 did: days before the conversion, channel, event."""
BOUGHT_MS = 1_750_000_000_000  # 2025-06-15T15:06:40Z


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of u1's conversion, u2's 60 days later, and u3, who looked only."""
    file = tmp_path_factory.mktemp("shop") / "cdp.db"
    events = [("u1", BOUGHT_MS - age * DAY_MS, channel, name) for age, channel, name in JOURNEY]
    events += [("u2", BOUGHT_MS + 59 * DAY_MS, "e", "view"), ("u3", BOUGHT_MS, "a", "view")]
    with closing(SqliteDatabase(file, inline=True).connection) as connection:
        for number, (user, at, channel, name) in enumerate(events):
            event = (f"e{number}", user, name, channel, at, "", None)
            connection.execute(INSERT_EVENT.sql, event)
        for row in (("c1", "p1", "u1", BOUGHT_MS, 100.0),
                    ("c2", "p2", "u2", BOUGHT_MS + 60 * DAY_MS, 7.0)):  # fmt: skip
            connection.execute(INSERT_CONVERSION.sql, row)
    return file


def halved(half_life: float, ages: list[int]) -> list[float]:
    weights = [2 ** (-age / half_life) for age in ages]
    return [weight / sum(weights) for weight in weights]


AGES = [age for age, *_ in JOURNEY]


@pytest.mark.parametrize(
    ("model", "options", "credits"),
    [
        ("time_decay", "", halved(7, AGES)),
        ("time_decay", "--half-life 36h", halved(1.5, AGES)),
        ("time_decay", "--lookback 8d", [0.0, *halved(7, AGES[1:])]),
        ("linear", "", [0.2] * 5),
        ("linear", "--lookback 7d", [0, 0, 1 / 3, 1 / 3, 1 / 3]),
        ("linear", "--direct own", [0.2] * 5),
        ("linear", "--direct ignore", [0.25, 0.25, 0.25, 0.25, 0]),
        ("last_click", "--direct ignore", [0, 0, 0, 1, 0]),
        ("u_shape", "", [0.4, 0.2 / 3, 0.2 / 3, 0.2 / 3, 0.4]),
        ("u_shape", "--u-shape 10/60/30", [0.1, 0.2, 0.2, 0.2, 0.3]),
        ("w_shape", "", [0.3, 0.05, 0.3, 0.05, 0.3]),
        ("w_shape", "--w-shape 10/20/50/20", [0.1, 0.1, 0.2, 0.1, 0.5]),
        ("w_shape", "--lead signup", [0.3, 0.05, 0.05, 0.3, 0.3]),
        ("w_shape", "--opportunity signup", [0.3, 0.05, 0.3, 0.3, 0.05]),
        ("w_shape", "--lead demo --opportunity signup", [0.3, 0.05, 0.3, 0.3, 0.05]),
    ],
)
def test_each_option_changes_the_credit_as_it_says(
    shop: Path, capsys: pytest.CaptureFixture[str], model: str, options: str, credits: list[float]
) -> None:
    found = answer(capsys, "--db", str(shop), "--model", model, *options.split())
    own = {row["channel"]: (row["conversions"], row["value"]) for row in found["rows"]}
    assert own.pop("e") == (1, 7)
    for (_, channel, _), share in zip(JOURNEY, credits, strict=True):
        assert own.pop(channel, (0, 0)) == pytest.approx((share, 100 * share), abs=1e-12)
    assert own == {}


def test_direct_traffic_of_a_database_counts_under_other_names(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spelled.db"
    file.write_bytes(shop.read_bytes())
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "UPDATE user_journeys SET utm_source = 'direct' WHERE utm_source LIKE '(%'"
        )
    options = ("--model", "last_click", "--direct", "ignore")
    found = answer(capsys, "--db", str(file), *options)
    kept = {row["channel"]: row["conversions"] for row in found["rows"] if row["conversions"]}
    assert kept == {"d": 1, "e": 1}
    assert found["notices"] == ["--direct ignore takes 'direct' as direct traffic"]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE user_journeys SET utm_source = 'f' WHERE utm_source = 'direct'")
    found = answer(capsys, "--db", str(file), *options)
    assert "--direct ignore changes nothing" in found["notices"][0]


def test_times_of_a_database_in_another_unit_are_said(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "seconds.db"
    file.write_bytes(shop.read_bytes())
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE user_journeys SET event_timestamp = event_timestamp / 1000")
        connection.execute(
            "UPDATE conversions SET conversion_timestamp = conversion_timestamp * 1000"
            " WHERE conversion_id = 'c2'"
        )
    events, conversions, untouched = answer(capsys, "--db", str(file), "--model", "linear")[
        "notices"
    ]
    assert (
        "event_timestamp of 7 rows is unlikely; 1749136000 is epoch seconds (2025-06-05" in events
    )
    assert "conversion_timestamp of 1 row is unlikely" in conversions
    assert "is epoch microseconds (2025-08-14" in conversions
    assert untouched == "2 conversions have no touch and go to no channel"


@pytest.mark.parametrize(
    ("window", "value"),
    [
        ("", 107), ("--from 2025-06-16", 7), ("--to 2025-06-16", 100), ("--to 2025-06-15", 0),
        ("--from 2025-06-15T15:06:40 --to 2025-08-14T15:06:40", 100),
        (f"--from {BOUGHT_MS + 1}", 7), (f"--to {BOUGHT_MS + 1}", 100), (f"--to {BOUGHT_MS}", 0),
        ("--to 2025-08-14T17:06:41+02:00", 107), ("--from 2025-06-15 --to 2025-08-15", 107),
    ],
)  # fmt: skip
def test_window_chooses_conversions_by_either_end(
    shop: Path, capsys: pytest.CaptureFixture[str], window: str, value: float
) -> None:
    assert answer(capsys, "--db", str(shop), "--model", "linear", *window.split())["value"] == value


def test_fit_takes_nulls_and_its_least_number_of_conversions_from_the_options(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted = {
        options: answer(capsys, "--db", str(shop), *options.split())["fitted"]
        for options in ("", "--without-nulls", "--min-conversions 2", "--min-conversions 3",
                        "--order 2", "--lookback 7d")
    }  # fmt: skip
    assert [f["paths"] for f in fitted.values()] == [3, 2, 3, 3, 3, 3]
    assert fitted[""]["conversion_rate"] == pytest.approx(2 / 3)
    assert fitted["--without-nulls"]["conversion_rate"] == 1
    rules = {options: f["fallback"] for options, f in fitted.items()}
    assert "fewer than 10" in rules[""]
    assert rules["--min-conversions 2"] == ""
    assert "fewer than 3" in rules["--min-conversions 3"]
    assert fitted["--order 2"]["parameters"]["order"] == 2
    assert "b" in fitted[""]["weights"]
    assert "b" not in fitted["--lookback 7d"]["weights"]


def test_rare_channels_are_one_where_the_options_say_so(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "--db", str(shop), "--most-channels", "2")
    assert sorted(found["fitted"]["weights"]) == ["(direct)", "(other)", "a"]  # a has two touches
    said = "data_driven takes 4 rare channels as one, (other), where their removal figures stand"
    assert said in found["notices"]
    driven = [row for row in found["rows"] if row["model"] == "data_driven"]
    assert sum(row["removal_conversions"] for row in driven) == pytest.approx(2)


def test_own_event_of_a_conversion_is_a_touch_where_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cdp.db"
    with closing(SqliteDatabase(file, inline=True).connection) as connection:
        for event in (("t1", "u", "view", "mail", 10, "", None),
                      ("p1", "u", "purchase", "shop", 20, "", "c1")):  # fmt: skip
            connection.execute(INSERT_EVENT.sql, event)
        connection.execute(INSERT_CONVERSION.sql, ("c1", "p1", "u", 20, 1.0))
    for options, credits in (([], {"mail": 1.0}), (["--own-event"], {"mail": 0.5, "shop": 0.5})):
        found = answer(capsys, "--db", str(file), "--model", "linear", *options)
        assert {row["channel"]: row["conversions"] for row in found["rows"]} == credits


def test_options_reach_the_resamples(path_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path_file.write_text(TEXT.replace("direct", "(direct)"))

    def intervals(*options: str) -> Any:
        asked = ("--paths", str(path_file), "--bootstrap", "20", *options)
        return answer(capsys, *asked)["intervals"]

    plain = intervals()
    assert intervals("--seed", "1") == plain
    assert plain["replicates"] == 20
    for options in (["--seed", "2"], ["--without-nulls"], ["--order", "2"], ["--direct", "ignore"],
                    ["--min-conversions", "1000000"]):  # fmt: skip
        assert intervals(*options) != plain, options


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--paths", "paths.csv", "--model", "markov"], "last_click, first_click, linear, time_"),
        (["--paths", "paths.csv", "--model", "time_decay"], "time_decay needs times"),
        (["--paths", "paths.csv", "--order", "4"], "--order 4: use 1, 2, 3 or auto"),
        (["--db", "paths.csv", "--half-life", "7"], "--half-life '7' is not a duration"),
        (["--db", "paths.csv", "--half-life", "0s"], "half_life_ms is 0"),
        (["--paths", "paths.csv", "--u-shape", "50/60"], "3 percentages"),
        (["--paths", "paths.csv", "--w-shape", "nan/30/30/10"], "4 percentages"),
        (["--paths", "paths.csv", "--direct", "drop"], "use own or ignore"),
        (["--paths", "paths.csv", "--from", "2026-01-01"], "--from needs --db"),
        (["--paths", "paths.csv", "--jobs", "2"], "--jobs needs --db"),
        (["--paths", "paths.csv", "--lookback", "30d"], "--lookback needs --db"),
        (["--paths", "paths.csv", "--half-life", "3d"], "--half-life needs --db"),
        (["--order", "3", "fit", "--db", "a.db"], "--order stands before fit"),
        (["--db", "a.db", "recount"], "--db stands before recount"),
        (["--json", "store", "--db", "a.db", "--scenario", "baseline"], "--json stands before"),
        (["--paths", "paths.csv", "--bootstrap", "3"], "20 resamples or more"),
        (["--paths", "nothing.csv"], "nothing.csv: cannot be read"),
        (["--db", "nothing.db"], "there is no such file"),
        (["--db", "paths.csv"], "not a usable database"),
        (["--db", "paths.csv", "--from", "soon"], "--from 'soon': no time"),
        (
            ["--db", "paths.csv", "--from", "2026-02-01", "--to", "2026-01-01"],
            "--to 2026-01-01 is not after --from 2026-02-01",
        ),
        (
            ["--db", "paths.csv", "--from", "1764000000"],
            "--from 1764000000: epoch seconds (2025-11-24T16:00Z); give epoch milliseconds, "
            "1764000000000",
        ),
        (["--db", "paths.csv", "--to", "1764000000000000"], "epoch microseconds"),
        (["--db", "paths.csv", "--joiner", "|"], "--joiner needs --paths"),
        (["--paths", "paths.csv", "--joiner", ""], "--joiner is empty"),
        ([], "give --db FILE, --database d1 or --paths FILE.csv"),
        (["--db", "a.db", "--paths", "paths.csv"], "one of them"),
    ],
)
def test_refusals_are_one_clear_line(
    path_file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in refusal(capsys, *arguments)


def test_no_conversion_at_all_is_said(path_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path_file.write_text("path,total_conversions,total_null\na > b,0,4\n")
    assert main(["attribute", "--paths", str(path_file), "--plain"]) == 0
    output = capsys.readouterr().out
    assert "only 0 conversions, fewer than 10" in output
    assert "Plot" not in output


def test_command_runs_as_a_process_without_colour(path_file: Path) -> None:
    done = edgeproof(
        "attribute", "--paths", "paths.csv", cwd=path_file.parent, variables={"NO_COLOR": "1"}
    )
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "Plot: runs/attribution-1/figures/credit.png" in done.stdout
