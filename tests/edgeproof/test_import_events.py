"""Claims about `edgeproof import events` as its users call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.edgeproof.commands import called

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
