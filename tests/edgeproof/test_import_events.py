"""Claims about `edgeproof import events` as its users call it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.edgeproof.commands import called, running

RAW = "user,time,channel,conversion,value\nu,2026-11-01T10:00:00Z,google,0,\nu,2026-11-03,,1,80\n"


def test_json_is_one_object_with_what_was_read_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(RAW + "u\n", encoding="utf-8")
    done = called("import", "events", "e.csv", "--db", "e.sqlite", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (told["events"], told["conversions"], told["value"]) == (2, 1, 80.0)
    assert told["left_out"] == {"the row has other columns than the header": 1}
    assert told["database"] == "e.sqlite"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--columns", "user"], '--columns has "user"; write FIELD=COLUMN'),
        (["--columns", "who=user"], '--columns names the field "who"; known are user, time'),
        (["--columns", "user=user,user=time"], "--columns names user twice"),
        (["--time-unit", "m"], "--time-unit m: use s, ms, us, ns"),
        (["--time-zone", "Berlin"], "--time-zone Berlin: no such time zone"),
        (["--format", "xml"], "--format xml: use csv, tsv, ndjson, parquet"),
        (["--format", "parquet"], "e.csv: is no Parquet file"),
        (["--db", "none/e.sqlite"], "there is no folder none; make it first"),
        (["--db", "e.csv"], "is a file to import; name another database"),
        (["--touch", "visit"], "e.csv has no column with names of events"),
        (["--currency", "EUR"], "e.csv has no column with currencies"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line_and_writes_nothing(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "e.csv").write_text(RAW, encoding="utf-8")
    done = called("import", "events", "e.csv", "--db", "e.sqlite", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["e.csv"]
    assert (tmp_path / "e.csv").read_text(encoding="utf-8") == RAW


def test_ctrl_c_keeps_whole_transactions_and_the_same_command_goes_on(tmp_path: Path) -> None:
    count = 160_000  # far more than is read between the first transaction and the interrupt
    rows = "".join(f"u{n % 999},2026-11-01T10:00:00Z,google,{n % 9 == 0:d}\n" for n in range(count))
    (tmp_path / "e.csv").write_text(f"user,time,channel,conversion\n{rows}", encoding="utf-8")
    command = ("import", "events", "e.csv", "--db", "e.sqlite", "--plain")
    with running(*command, cwd=tmp_path) as begun:
        begun.wait_for("20,000 rows")
        begun.interrupt()
        code, out, said = begun.end()
    assert (code, out) == (130, "")
    assert said.splitlines()[-1] == (
        "edgeproof: interrupted; what was written is kept in e.sqlite; the same command goes on "
        "there"
    )
    done = called(*command, cwd=tmp_path)
    assert done.returncode == 0
    went_on = re.search(r"e\.sqlite: went on behind row ([\d,]+)", done.stdout)
    assert went_on
    assert int(went_on[1].replace(",", "")) % 20_000 == 0
    assert f"{count:,} events of {count:,} rows" in done.stdout
