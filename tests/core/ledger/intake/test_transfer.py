"""Claims about the import of raw events: what is stored, left out, and taken for granted."""

from __future__ import annotations

import asyncio
import gzip
import json
import lzma
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.attribution.parameters import Parameters
from core.clock import ManualClock
from core.errors import InputError
from core.event import Event
from core.ledger.database_account import Survey, account_of_database
from core.ledger.intake.asked import Asked
from core.ledger.intake.times import zone_of
from core.ledger.intake.transfer import Imported, import_events
from core.ledger.path_reader import Window
from core.metrics.profiler import LatencyProfiler
from core.query.database import SqliteDatabase
from core.query.queries import Queries

NEWCOMER = """user,time,channel,conversion,value
u1,2026-11-01T10:00:00Z,google,0,
u1,2026-11-02T10:00:00Z,email,0,
u1,2026-11-03T10:00:00Z,(direct),1,80
u2,2026-11-01T11:00:00Z,facebook,0,
"""
FLAGS = Asked(columns={})


def imported(
    folder: Path, text: str | bytes, asked: Asked = FLAGS, *, name: str = "events.csv",
    **options: Any,
) -> Imported:  # fmt: skip
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return import_events([file], folder / "out.sqlite", asked, **options)


def rows(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "out.sqlite")) as connection:
        return connection.execute(sql).fetchall()


def epoch_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_the_events_of_a_csv_and_nothing_else_are_in_the_database(tmp_path: Path) -> None:
    found = imported(tmp_path, NEWCOMER)
    assert (found.rows, found.events, found.conversions, found.value) == (4, 4, 1, 80.0)
    assert rows(tmp_path, "SELECT user_id, utm_source, event_timestamp FROM user_journeys") == [
        ("u1", "google", epoch_ms("2026-11-01T10:00:00+00:00")),
        ("u1", "email", epoch_ms("2026-11-02T10:00:00+00:00")),
        ("u1", "(direct)", epoch_ms("2026-11-03T10:00:00+00:00")),
        ("u2", "facebook", epoch_ms("2026-11-01T11:00:00+00:00")),
    ]
    survey = Survey(file=tmp_path / "out.sqlite", parameters=Parameters(), window=Window())
    account = account_of_database(survey, models=(), minimum=1, jobs=1)
    assert account.notices == ()
    assert account.attributed == 1
    assert rows(tmp_path, "SELECT count(*) FROM users") == [(0,)]


def test_an_import_stores_what_tracking_stores(tmp_path: Path) -> None:
    imported(
        tmp_path,
        "event_id,user_id,event_name,time,utm_source,order_id,value\n"
        "e1,u1,view,1764000000000,google,,\n"
        "e2,u1,purchase,1764000100000,,o7,10.5\n"
        "e2,u1,purchase,1764000100000,,o7,10.5\n",
        Asked(columns={}, conversions=("purchase",)),
    )
    database = SqliteDatabase(None, inline=True)
    queries = Queries(database, ManualClock(), LatencyProfiler())

    async def track() -> None:
        for event in (
            Event("e1", "u1", "s", "view", 1764000000000, "google", None, None),
            Event("e2", "u1", "s", "purchase", 1764000100000, "(direct)", "o7", 10.5),
            Event("e2", "u1", "s", "purchase", 1764000100000, "(direct)", "o7", 10.5),
        ):
            await queries.insert_event(event, "new")

    asyncio.run(track())
    for sql in (
        "SELECT * FROM user_journeys ORDER BY id",
        "SELECT * FROM conversions",
        "SELECT conversion_id, attempts, leased_by FROM conversion_queue",
        "SELECT type, name, sql FROM sqlite_schema WHERE name <> 'imports' ORDER BY type, name",
    ):
        assert rows(tmp_path, sql) == database.connection.execute(sql).fetchall(), sql
    database.connection.close()


def test_rows_that_cannot_be_used_are_left_out_with_their_reason_and_line(tmp_path: Path) -> None:
    found = imported(
        tmp_path,
        "id,user,time,conversion,value\n"
        "1,u1,2026-11-01T10:00:00Z,0,\n"
        "2,,2026-11-01T10:00:00Z,0,\n"
        "3,NULL,2026-11-01T10:00:00Z,0,\n"
        "4,u1,yesterday,0,\n"
        "5,u1,2026-11-01T10:00:00Z,maybe,\n"
        "6,u1,2026-11-01T10:00:00Z,1,12 EUR\n"
        "7,u1,2026-11-01T10:00:00Z,1,-5\n"
        "8,u1,2026-11-01T10:00:00Z\n"
        "9,u1,2026-11-01T10:00:00Z,1,5\n"
        "9,u1,2026-11-01T10:00:00Z,1,5\n",
        Asked(columns={"id": "id"}),
    )
    assert (found.events, found.conversions, found.value, found.duplicates) == (2, 1, 5.0, 1)
    told = {reason: (n, found.examples[reason]) for reason, n in found.left_out.items()}
    file = tmp_path / "events.csv"
    assert told == {
        "user is missing": (2, f"{file}:3"),
        "time is not read (--time-format says how it is written)": (1, f"{file}:5, 'yesterday'"),
        "conversion is no flag (1, 0, true, false)": (1, f"{file}:6, 'maybe'"),
        "value is no number (write decimal points)": (1, f"{file}:7, '12 EUR'"),
        "value is negative: a refund is no conversion": (1, f"{file}:8, '-5'"),
        "the row has other columns than the header": (1, f"{file}:9"),
    }


@pytest.mark.parametrize(
    ("written", "asked", "zone", "expected", "notice"),
    [
        ("1764000000", {}, None, "2025-11-24T16:00:00+00:00", "look like seconds"),
        ("1764000000000", {}, None, "2025-11-24T16:00:00+00:00", "look like milliseconds"),
        ("1764000000000000", {}, None, "2025-11-24T16:00:00+00:00", "look like microseconds"),
        ("1764000000000000000", {}, None, "2025-11-24T16:00:00+00:00", "look like nanoseconds"),
        ("1764000000", {"time_unit": "s"}, None, "2025-11-24T16:00:00+00:00", ""),
        ("2026-07-01 12:00:00", {}, None, "2026-07-01T12:00:00+00:00", "taken as UTC"),
        ("2026-07-01 12:00:00", {}, "Europe/Berlin", "2026-07-01T10:00:00+00:00", ""),
        ("2026-01-01 12:00:00", {}, "Europe/Berlin", "2026-01-01T11:00:00+00:00", ""),
        ("2026-07-01T12:00:00+02:00", {}, None, "2026-07-01T10:00:00+00:00", ""),
        ("2026-07-01 12:00:00.25 UTC", {}, None, "2026-07-01T12:00:00.250+00:00", ""),
        ("2026-07-01", {}, "UTC", "2026-07-01T00:00:00+00:00", "taken as 00:00"),
        ("31.12.2026 23:59", {"time_format": "%d.%m.%Y %H:%M"}, "UTC",
         "2026-12-31T23:59:00+00:00", ""),
    ],
)  # fmt: skip
def test_a_time_is_read_in_its_unit_and_zone_and_what_is_assumed_is_said(
    tmp_path: Path, written: str, asked: dict[str, Any], zone: str | None, expected: str,
    notice: str,
) -> None:  # fmt: skip
    found = imported(
        tmp_path,
        f"id,user,time,channel,conversion\ne1,u,{written},a,1\n",
        Asked(columns={"id": "id"}, **asked),
        zone=None if zone is None else zone_of(zone),
    )
    assert rows(tmp_path, "SELECT event_timestamp FROM user_journeys") == [(epoch_ms(expected),)]
    said = [n for n in found.notices if "no value" not in n]
    assert len(said) == (1 if notice else 0)
    assert not notice or notice in said[0]


GA4 = [
    {
        "event_date": "20251124", "event_timestamp": "1764000000000000",
        "event_name": "session_start", "user_pseudo_id": "7.1", "event_bundle_sequence_id": "3",
        "event_params": [{"key": "ga_session_id", "value": {"int_value": "9"}},
                         {"key": "source", "value": {"string_value": "newsletter"}},
                         {"key": "medium", "value": {"string_value": "email"}}],
        "traffic_source": {"source": "google", "medium": "organic"},
    },
    {
        "event_date": "20251124", "event_timestamp": "1764000001000000",
        "event_name": "page_view", "user_pseudo_id": "7.1", "event_bundle_sequence_id": "3",
        "event_params": [], "traffic_source": {"source": "google", "medium": "organic"},
    },
    {
        "event_date": "20251124", "event_timestamp": "1764000100000000", "event_name": "purchase",
        "user_pseudo_id": "7.1", "event_bundle_sequence_id": "4",
        "event_params": [{"key": "currency", "value": {"string_value": "EUR"}}],
        "ecommerce": {"transaction_id": "T-1", "purchase_revenue": 49.9},
        "collected_traffic_source": {"manual_source": None},
    },
]  # fmt: skip


def ndjson(documents: list[Any]) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


def test_the_bigquery_export_of_ga4_is_recognised_and_its_first_source_is_no_channel(
    tmp_path: Path,
) -> None:
    found = imported(tmp_path, ndjson([*GA4, GA4[2]]), name="ga4.json")
    assert rows(
        tmp_path, "SELECT utm_source, utm_medium, event_name, conversion_id FROM user_journeys"
    ) == [("newsletter", "email", "session_start", None), ("(direct)", None, "purchase", "T-1")]
    assert (found.conversions, found.value, found.currency) == (1, 49.9, "EUR")
    assert found.duplicates == 1
    assert [*found.left_out] == ["the event is neither a touch (--touch) nor a conversion"]
    assert found.notices == ()
    assert "GA4's export to BigQuery" in found.told[0]


def test_parquet_gives_what_ndjson_gives(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="Parquet needs edgeproof[formats]")
    lines = tmp_path / "ga4.json"
    lines.write_text(ndjson(GA4), encoding="utf-8")
    for folder in ("json", "parquet"):
        (tmp_path / folder).mkdir()
    file = tmp_path / "ga4 [1].parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * REPLACE (CAST(event_timestamp AS BIGINT) AS event_timestamp)"
            f" FROM read_json('{lines}')) TO '{file}' (FORMAT parquet)"
        )
    import_events([lines], tmp_path / "json/out.sqlite", FLAGS)
    import_events([file], tmp_path / "parquet/out.sqlite", FLAGS)
    sql = "SELECT * FROM user_journeys ORDER BY id"
    assert rows(tmp_path / "parquet", sql) == rows(tmp_path / "json", sql)
    with duckdb.connect() as connection:  # times of Parquet's own, with a zone and without
        connection.execute(
            "COPY (SELECT 'u' AS user, TRUE AS conversion, 1.5::DECIMAL(9, 2) AS value,"
            " make_timestamp(1764000000250000)::TIMESTAMPTZ AS time) "
            f"TO '{tmp_path / 'own.parquet'}' (FORMAT parquet)"
        )
    import_events([tmp_path / "own.parquet"], tmp_path / "own.sqlite", FLAGS)
    (tmp_path / "own.sqlite").rename(tmp_path / "out.sqlite")
    assert rows(tmp_path, "SELECT conversion_timestamp, value FROM conversions") == [
        (1764000000250, 1.5)
    ]
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError, match="Parquet file that cannot be read"):
        import_events([damaged], tmp_path / "x.sqlite", FLAGS)


def zstd(data: bytes) -> bytes:
    compressed: bytes = pytest.importorskip("backports.zstd").compress(data)
    return compressed


@pytest.mark.parametrize(
    "wrapped",
    [
        gzip.compress,
        lzma.compress,
        zstd,
        lambda data: data.decode().encode("utf-16"),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: b"sep=;\r\n" + data.replace(b",", b";").replace(b"\n", b"\r\n"),
        lambda data: data.replace(b",", b"\t"),
        lambda data: b"# exported\n\n" + data,
    ],
    ids=["gzip", "xz", "zstd", "utf-16", "mark", "sep", "tabs", "comment"],
)
def test_a_file_is_read_however_it_is_wrapped(
    tmp_path: Path, wrapped: Callable[[bytes], bytes]
) -> None:
    found = imported(tmp_path, wrapped(NEWCOMER.encode()), name="any")
    assert (found.events, found.value, found.left_out) == (4, 80.0, {})


def test_a_file_without_a_header_is_read_by_number(tmp_path: Path) -> None:
    text = NEWCOMER.partition("\n")[2]
    columns = {"user": "1", "time": "2", "channel": "3", "conversion": "4", "value": "5"}
    found = imported(tmp_path, text, Asked(columns=columns, has_header=False))
    assert (found.events, found.value) == (4, 80.0)


TWO_CURRENCIES = """user,time,channel,conversion,value,currency,id
u1,2026-11-01T10:00:00Z,google,1,80,EUR,a
u1,2026-11-02T10:00:00Z,email,1,90,usd,b
"""


def test_values_of_two_currencies_are_refused_or_one_is_chosen(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"events\.csv:3: currency is USD, and EUR at .*csv:2"):
        imported(tmp_path, TWO_CURRENCIES)
    assert not (tmp_path / "out.sqlite").exists()
    found = imported(tmp_path, TWO_CURRENCIES, Asked(columns={}, currency="USD"))
    assert (found.value, found.left_out) == (90.0, {"currency is not USD": 1})


@pytest.mark.parametrize(
    ("text", "asked", "told"),
    [
        ("a,b\n1,2\n", FLAGS, "no column is recognised as the user; its columns are a, b"),
        ("user,time\nu,1\n", FLAGS, "nothing says which events are conversions"),
        (NEWCOMER, Asked(columns={"user": "visitor"}), "has no column visitor"),
        (NEWCOMER, Asked(columns={"user": "9"}), "give a number from 1 to 5"),
        (NEWCOMER, Asked(columns={}, conversions=("buy",)), "--columns event=COLUMN"),
        (NEWCOMER, Asked(columns={"event": "channel"}, conversions=("buy",)),
         "no event is a conversion; none is called buy; events are called google, email"),
        (NEWCOMER.replace("2026", "x"), FLAGS, "no row gives an event; 4 rows: time is not read"),
        ("", FLAGS, "holds no rows"),
        ('[{"user": 1}]', FLAGS, "one JSON list"),
        (b"\x00\x01\x02\x03" * 9, FLAGS, "is binary data"),
        (b"user,time\n\xff\xfe\xfa", FLAGS, "is not UTF-8 text"),
        (gzip.compress(NEWCOMER.encode())[:-12], FLAGS, "compressed and damaged"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_refused_and_leaves_no_database(
    tmp_path: Path, text: str | bytes, asked: Asked, told: str
) -> None:
    with pytest.raises(InputError) as caught:
        imported(tmp_path, text, asked)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [*tmp_path.glob("out*")] == []


class Interrupted(Exception):
    pass


def test_an_interrupted_import_goes_on_where_it_stopped(tmp_path: Path) -> None:
    lines = NEWCOMER.splitlines()
    text = "\n".join([lines[0].replace("user", "visitor_id"), *lines[1:]]) + "\n"
    (tmp_path / "second.csv").write_text(text, encoding="utf-8")
    (tmp_path / "first.csv").write_text(NEWCOMER, encoding="utf-8")
    files = [tmp_path / "first.csv", tmp_path / "second.csv"]
    (tmp_path / "whole").mkdir()
    whole = import_events(files, tmp_path / "whole/out.sqlite", FLAGS, batch_rows=1)

    def interrupt(share: float, done: int) -> None:
        if done == 6:
            raise Interrupted

    database = tmp_path / "out.sqlite"
    with pytest.raises(Interrupted):
        import_events(files, database, FLAGS, batch_rows=1, on_progress=interrupt)
    survey = Survey(file=database, parameters=Parameters(), window=Window())
    (notice,) = account_of_database(survey, models=(), minimum=1, jobs=1).notices
    assert "second.csv did not come to its end" in notice
    found = import_events(files, database, FLAGS, batch_rows=1)
    assert found.resumed_at == 6
    for sql in (
        "SELECT * FROM user_journeys ORDER BY id",
        "SELECT * FROM conversions",
        "SELECT name FROM sqlite_schema ORDER BY name",
    ):
        assert rows(tmp_path, sql) == rows(tmp_path / "whole", sql)
    assert (found.rows, found.events, found.notices) == (whole.rows, whole.events, whole.notices)
    again = import_events(files, database, FLAGS)
    assert again.is_known
    assert again.events == whole.events


def test_a_database_of_other_events_is_refused_and_stays(tmp_path: Path) -> None:
    imported(tmp_path, NEWCOMER)
    (tmp_path / "other.csv").write_text(NEWCOMER + "u9,2026-11-01T11:00:00Z,a,0,\n")
    with pytest.raises(InputError, match=r"import of .*events\.csv with another file"):
        import_events([tmp_path / "other.csv"], tmp_path / "out.sqlite", FLAGS)
    with pytest.raises(InputError, match="with other options"):
        imported(tmp_path, NEWCOMER, Asked(columns={"channel": "user"}))
    assert rows(tmp_path, "SELECT count(*) FROM user_journeys") == [(4,)]
    with closing(sqlite3.connect(tmp_path / "out.sqlite")) as connection:
        connection.execute("DROP TABLE imports")
    with pytest.raises(InputError, match="holds events or users already"):
        imported(tmp_path, NEWCOMER)


def test_what_has_no_channel_value_or_id_is_said(tmp_path: Path) -> None:
    found = imported(
        tmp_path,
        "user,time,channel,conversion,value\n"
        "u1,2026-11-01T10:00:00Z,NA,0,\n"
        "u1,2026-11-01T10:00:00Z,(direct),0,\n"
        "u1,2026-11-03T10:00:00Z,a,1,NULL\n",
    )
    assert [notice.partition(";")[0] for notice in found.notices] == [
        "1 touch has no channel and counts as (direct)",
        "1 conversion has no value and counts 0",
        "no column holds ids of events, so duplicates cannot be told",
    ]


def test_a_value_of_json_that_is_an_object_is_no_cell(tmp_path: Path) -> None:
    documents = [
        {"user": "u", "time": "2026-11-01T10:00:00Z", "channel": {"a": 1}, "conversion": [1]},
        {"user": 7, "time": 1793527200000, "channel": "x", "conversion": True, "value": 3},
        {"user": "u", "time": "2026-11-01T10:00:00Z", "channel": "x", "conversion": 0},
    ]
    found = imported(tmp_path, ndjson(documents) + "{broken\n7\n", name="e.ndjson")
    assert rows(tmp_path, "SELECT user_id, conversion_id FROM user_journeys") == [
        ("7", "row-1-2"),
        ("u", None),
    ]
    nested = "channel is an object or a list (--columns channel=A.B names what is in it)"
    assert found.left_out == {nested: 1, "the line is no JSON object": 2}
    assert found.examples["the line is no JSON object"].endswith("e.ndjson:4")


def test_utc_is_the_only_zone_without_a_name() -> None:
    assert zone_of("utc") is UTC
    with pytest.raises(InputError, match="Mars/Olympus: no such time zone"):
        zone_of("Mars/Olympus")


PURCHASES = Asked(columns={}, conversions=("purchase",))
FIVE = ("user", "time", "channel", "event", "value")
EVENTS = (
    ("u1", "2026-11-01T10:00:00Z", "google", "visit", ""),
    ("u1", "2026-11-02T10:00:00Z", "email", "purchase", "80"),
)


def table(order: tuple[int, ...], separator: str, end: str, quote: str) -> str:
    lines = [[each[place] for place in order] for each in (FIVE, *EVENTS)]
    return "".join(separator.join(quote + c + quote for c in line) + end for line in lines)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 4, 0, 3, 1)])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    ("end", "quote", "encoding"),
    [("\n", "", "utf-8"), ("\r\n", '"', "utf-8-sig"), ("\r\n", "", "utf-16"),
     ("\n", '"', "utf-16-le")],
)  # fmt: skip
def test_the_same_events_are_read_however_they_are_wrapped(
    tmp_path: Path, order: tuple[int, ...], separator: str, end: str, quote: str, encoding: str
) -> None:
    content = gzip.compress(table(order, separator, end, quote).encode(encoding))
    found = imported(tmp_path, content, PURCHASES)
    assert (found.events, found.conversions, found.value, found.left_out) == (2, 1, 80.0, {})


def test_titles_before_the_header_are_passed_over_and_said(tmp_path: Path) -> None:
    text = f"Report of November\n\nAll users\n{table((0, 1, 2, 3, 4), ',', chr(10), '')}"
    found = imported(tmp_path, text, PURCHASES)
    assert (found.events, found.conversions) == (2, 1)
    assert "(the header stands in line 4; 2 lines before it passed over)" in found.told[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{\n "user": "u1"\n}\n', r"e.csv:1: is no JSON object on one line; .* jq -c"),
        ("user,time,conversion\nu,\"2026-11-01,1\nu,2026-11-02,1\n", r"e.csv:3: is no row of a "),
        ("user,time,conversion\n", "there is no row below the header"),
        ("user,time,event_id,event,conversion\n" + "u,2026-11-01,7,visit,0\n" * 2,
         "no event is a conversion; 1 row: duplicates of an event's id; events are called visit"),
    ],
)  # fmt: skip
def test_what_gives_no_events_says_why(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        imported(tmp_path, content, name="e.csv")


def test_a_row_is_not_taken_for_the_header_of_numbered_columns(tmp_path: Path) -> None:
    columns = {"user": "1", "time": "2", "channel": "3", "conversion": "4", "value": "5"}
    body = NEWCOMER.partition("\n")[2]
    with pytest.raises(InputError, match=r"the first row has the time '2026-11-01T10:00:00Z', so"):
        imported(tmp_path, body, Asked(columns=columns))
    assert imported(tmp_path, body, Asked(columns=columns, has_header=False)).events == 4
    for ending in ("", "-wal", "-shm"):
        (tmp_path / f"out.sqlite{ending}").unlink(missing_ok=True)
    assert imported(tmp_path, NEWCOMER, Asked(columns=columns)).events == 4


@pytest.mark.parametrize(
    ("value", "amount", "left_out"),
    [("80", 80.0, 0), ("8e1", 80.0, 0), ("80_0", 0.0, 1), ("1,080", 0.0, 1), ("1e400", 0.0, 1)],
)
def test_a_value_is_what_is_written_or_its_row_is_left_out(
    tmp_path: Path, value: str, amount: float, left_out: int
) -> None:
    found = imported(tmp_path, f'{NEWCOMER}u3,2026-11-01T11:00:00z,x,1,"{value}"\n')
    assert (found.value, sum(found.left_out.values())) == (80.0 + amount, left_out)


def test_a_number_that_is_none_is_a_value_that_is_missing(tmp_path: Path) -> None:
    documents = [{"user": "u", "time": "2026-11-01T10:00:00Z", "conversion": 1, "value": value}
                 for value in (float("nan"), None, 5)]  # fmt: skip
    found = imported(tmp_path, ndjson(documents), name="e.ndjson")
    assert (found.conversions, found.value, found.left_out) == (3, 5.0, {})
    assert "2 conversions have no value and count 0" in found.notices


def test_a_repeated_conversion_counts_once_and_the_value_that_is_lost_is_said(
    tmp_path: Path,
) -> None:
    orders = (
        "event_id,user,time,channel,conversion,value,order_id\n"
        "1,u,2026-11-01T10:00:00Z,ads,0,,\n2,u,2026-11-02T10:00:00Z,,1,80,o1\n"
        "3,u,2026-11-02T10:00:00Z,,1,20,o1\n4,v,2026-11-02T10:00:00Z,,1,7,o2\n"
        "4,v,2026-11-02T10:00:00Z,,1,7,o2\n4,v,2026-11-02T10:00:00Z,,1,7,o3\n"
    )
    found = imported(tmp_path, orders)
    assert (found.conversions, found.value, found.duplicates) == (2, 87.0, 2)
    assert (
        "1 row repeats a conversion's id: each id counts once, with its first value (20.00 of "
        "value not counted)"
    ) in found.notices


def test_hours_that_a_zone_runs_twice_or_leaves_out_are_said(tmp_path: Path) -> None:
    times = ("2026-10-25T02:30:00", "2026-03-29 02:30:00", "2026-10-25T03:00:00",
             "2026-10-25T02:30:00+01:00")  # fmt: skip
    text = "user,time,channel,conversion\n" + "".join(f"u,{time},ads,1\n" for time in times)
    found = imported(tmp_path, text, zone=zone_of("Europe/Berlin"))
    assert any(notice.startswith("2 times stand in an hour") for notice in found.notices)


def test_names_that_are_cut_are_said(tmp_path: Path) -> None:
    long = "c" * 200
    text = (
        "user,time,channel,conversion\n"
        f"u,2026-11-01,{long}1,0\nu,2026-11-02,{long}2,0\nu,2026-11-03,{long},1\n"
    )
    found = imported(tmp_path, text)
    assert any(n.startswith("2 rows have names of over 200") for n in found.notices)
    assert rows(tmp_path, "SELECT DISTINCT utm_source FROM user_journeys") == [(long,)]
