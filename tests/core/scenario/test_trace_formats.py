"""Published trace formats, each read from the sample or the description that its makers give."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.scenario.trace import Trace, read_trace
from core.scenario.trace_formats import TraceFormat
from core.scenario.trace_time import UNIT_NAMES, UNITS, TimeUnit, unit_named


def read(folder: Path, content: str | bytes, format_: TraceFormat, **asked: Any) -> Trace:
    path = folder / "t.any"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_trace(path, format_=format_, **asked)


def told(trace: Trace) -> dict[str, Any]:
    """Return what was read, less what is not there."""
    found = {
        name: getattr(trace, name).tolist()
        for name in ("keys", "times", "sizes", "ttls", "types")
        if getattr(trace, name) is not None
    }
    if (writes := trace.writes) is not None:
        found["writes"] = list(
            zip(writes.after.tolist(), writes.keys.tolist(), writes.is_delete.tolist(), strict=True)
        )
    return found


def test_twitter(tmp_path: Path) -> None:
    """The seven columns of github.com/twitter/cache-trace; a key may hold commas."""
    text = (
        "1000000,key:a,10,120,7,get,0\n"
        "1000000,key,b,10,0,7,set,3600\n"
        "1000001,key:a,10,120,8,gets,0\n"
        "1000001,key:a,10,0,8,delete,0\n"
        "1000002,key,b,10,5,8,get,0\n"
    )
    trace = read(tmp_path, text, "twitter")
    assert told(trace) == {
        "keys": [0, 0, 1], "times": [0.0, 1.0, 2.0], "sizes": [130, 130, 15],
        "ttls": [0.0, 0.0, 3600.0], "writes": [(1, 1, False), (2, 0, True)],
    }  # fmt: skip
    assert trace.key_count == 2
    with pytest.raises(InputError, match="line 1: the row has not the 7 columns"):
        read(tmp_path, "1,2,3\n", "twitter")


def test_cachelib(tmp_path: Path) -> None:
    """The header of CacheLib's kvcache traces, and the later one with op_time; op_count repeats."""
    text = "key,op,size,op_count,key_size,ttl\n1234,GET,100,2,20,0\n1235,SET,100,3,20,600\n"
    assert told(read(tmp_path, text, "cachelib")) == {
        "keys": [0, 0], "sizes": [100, 100], "ttls": [0.0, 0.0],
        "writes": [(2, 1, False)] * 3,
    }  # fmt: skip
    later = (
        "op_time,key,key_size,op,op_count,size,cache_hits,ttl\n"
        "5,a,7,GET_LEASE,1,0,1,\n6,a,7,SET_LEASE,1,9,0,50\n7,a,7,DELETE,1,0,0,\n9,a,7,GET,1,9,1,\n"
    )
    trace = read(tmp_path, later, "cachelib")
    assert told(trace) == {
        "keys": [0, 0], "times": [0.0, 4.0], "sizes": [0, 9], "ttls": [50.0, 50.0],
        "writes": [(1, 0, False), (1, 0, True)],
    }  # fmt: skip


def test_wikimedia(tmp_path: Path) -> None:
    """Columns of Wikitech's Analytics/Data Lake/Traffic/Caching, upload and text of 2019."""
    upload = (
        "relative_unix\thashed_path_query\timage_type\tresponse_size\ttime_firstbyte\n"
        "0\t833946053\tjpeg\t17811\t1.84e-4\n2\t-155\tpng\t5\t1.0\n2\t833946053\tjpeg\t17811\t2e-4\n"
    )
    trace = read(tmp_path, upload, "wikimedia")
    assert told(trace) == {
        "keys": [0, 1, 0], "times": [0.0, 2.0, 2.0], "sizes": [17811, 5, 17811],
        "types": [0, 1, 0],
    }  # fmt: skip
    assert trace.type_names == ("jpeg", "png")
    text = (
        "relative_unix\thashed_host_path_query\tresponse_size\ttime_firstbyte\n"
        "4619\t540675535\t57724\t1.92e-4\n"
    )
    assert told(read(tmp_path, text, "wikimedia")) == {
        "keys": [0], "times": [0.0], "sizes": [57724]
    }  # fmt: skip


def test_oracle_general(tmp_path: Path) -> None:
    """libCacheSim's record: u32 time, u64 object, u32 size, i64 next access, little-endian."""
    records = [(5, 2**40, 10, 2), (5, 7, 20, -1), (9, 2**40, 10, -1)]
    data = b"".join(struct.pack("<IQIq", *record) for record in records)
    trace = read(tmp_path, data, "oracleGeneral")
    assert told(trace) == {
        "keys": [0, 1, 0], "times": [0.0, 0.0, 4.0], "sizes": [10, 20, 10]
    }  # fmt: skip
    assert told(read(tmp_path, data, "oracleGeneral", stop=2))["keys"] == [0, 1]
    with pytest.raises(InputError, match="the last record has 23 of its 24 bytes"):
        read(tmp_path, data[:-1], "oracleGeneral")
    with pytest.raises(InputError, match="byte 24: time is 4 after 5"):
        read(tmp_path, data[:24] + struct.pack("<IQIq", 4, 1, 1, 1), "oracleGeneral")


@pytest.mark.parametrize(
    ("format_", "text", "expected"),
    [
        ("lirs", "17\n18\n17\n*\n", {"keys": [0, 1, 0]}),
        ("arc", "100 3 0 0\n101 1 0 1\n", {"keys": [0, 1, 2, 1]}),
        ("spc", "0,20941264,8192,W,0.551706\n0,20939840,8192,R,0.554041\n1,20939840,512,r,0.6\n",
         {"keys": [1, 2], "times": [0.0, 0.045959], "sizes": [8192, 512], "types": [0, 1],
          "writes": [(0, 0, False)]}),
        ("webcachesim", "0 1 120\n1 2 64\n1 1 120\n",
         {"keys": [0, 1, 0], "times": [0.0, 1.0, 1.0], "sizes": [120, 64, 120]}),
        ("tsv", "key\ttime\tshard\nb,x\t0\t1\na\t2\t1\n", {"keys": [0, 1], "times": [0.0, 2.0]}),
    ],
)  # fmt: skip
def test_other_formats(
    tmp_path: Path, format_: TraceFormat, text: str, expected: dict[str, Any]
) -> None:
    found = told(read(tmp_path, text, format_))
    if format_ == "spc":
        found["times"] = [round(time - found["times"][0], 6) for time in found["times"]]
    assert found == expected


@pytest.mark.parametrize(
    ("columns", "text", "note"),
    [
        ({"key": "3", "time": "1", "size": "4"}, "# time, op, object\n0,1,A,8\n100,1,B,3\n", ""),
        ({"key": "3", "time": "1"}, "when,op,object\n0,1,A\n100,1,B\n", "is taken as a header"),
        ({"key": "object", "time": "when"}, "when,op,object\n0,1,A\n100,1,B\n", ""),
        ({"key": "object", "time": "1"}, 'when,op,object\n0,"1,5",A\n100,1,B\n', ""),
    ],
)
def test_columns_by_name_or_number(
    tmp_path: Path, columns: dict[str, str], text: str, note: str
) -> None:
    trace = read(tmp_path, text, "csv", columns=columns, time_unit="ms")
    assert told(trace)["times"] == [0.0, 0.1]
    assert trace.key_count == 2
    assert len(trace.notes) == (1 if note else 0)
    assert not note or note in trace.notes[0]


def test_columns_of_json_lines_and_what_is_passed_over(tmp_path: Path) -> None:
    text = '{"id": "a", "ts": 1, "x": [1]}\n{"id": "b", "ts": 2, "x": {}}\n'
    assert told(read(tmp_path, text, "jsonl", columns={"key": "id", "time": "ts"})) == {
        "keys": [0, 1], "times": [0.0, 1.0]
    }  # fmt: skip
    trace = read(tmp_path, text.replace("id", "key"), "jsonl")
    assert trace.notes == ("Fields of the trace that are passed over: ts, x.",)
    with pytest.raises(InputError, match="there is no 'when' for the time; the line has id, ts, x"):
        read(tmp_path, text, "jsonl", columns={"key": "id", "time": "when"})


@pytest.mark.parametrize(
    ("columns", "told_"),
    [
        ({"key": "9"}, "there is no column 9 for the key; the columns are 2 of them"),
        ({"key": "who"}, "there is no column who for the key; the columns are a, b"),
    ],
)
def test_a_column_that_is_not_there_is_named(
    tmp_path: Path, columns: dict[str, str], told_: str
) -> None:
    with pytest.raises(InputError, match=told_):
        read(tmp_path, "a,b\n1,2\n", "csv", columns=columns)
    with pytest.raises(InputError, match="twitter has columns of its own"):
        read(tmp_path, "1,a,1,1,1,get,0\n", "twitter", columns={"key": "1"})


def test_iso_times_and_times_that_step_back_within_the_bound(tmp_path: Path) -> None:
    text = (
        "key,time,op,size\n"
        "a,2026-11-01T10:00:00Z,get,1\n"
        "b,2026-11-01T10:00:40Z,get,2\n"
        "a,2026-11-01T10:00:10+00:00,set,3\n"
        "c,2026-11-01T12:00:20+02:00,get,4\n"
        "b,2026-11-01T10:00:41Z,get,5\n"
    )
    trace = read(tmp_path, text, "csv")
    assert told(trace) == {
        "keys": [0, 2, 1, 1], "times": [0.0, 20.0, 40.0, 41.0], "sizes": [1, 4, 2, 5],
        "writes": [(1, 0, False)],
    }  # fmt: skip
    (note,) = trace.notes
    assert note.startswith("2 accesses of the trace stand up to 30 s behind later ones")
    assert told(read(tmp_path, text, "csv", stop=3))["keys"] == [0, 2, 1]
    with pytest.raises(InputError, match=r"line 4: time steps back by 61 s; up to 60 s are sorted"):
        read(tmp_path, "key,time\na,0\na,100\na,39\n", "csv")
    zoneless = read(tmp_path, "key,time\na,2026-11-01 10:00:00\na,2026-11-01 10:00:01\n", "csv")
    assert zoneless.notes == ("The trace's times have no zone and are taken as UTC.",)


def test_a_ttl_holds_until_the_key_has_another_and_before_its_first(tmp_path: Path) -> None:
    text = "key,op,ttl\na,get,0\nb,get,\na,set,30\na,get,0\na,set,60\na,get,0\nb,get,0\nc,get,7\n"
    assert told(read(tmp_path, text, "csv"))["ttls"] == [30.0, 0.0, 30.0, 60.0, 0.0, 7.0]


@pytest.mark.parametrize("name", ["t.csv.zst", "t.oracleGeneral.zst"])
def test_zstd(tmp_path: Path, name: str) -> None:
    zstd = pytest.importorskip("backports.zstd", reason="zstd needs edgeproof[formats]")
    content = b"key\na\nb\n" if ".csv" in name else struct.pack("<IQIq", 1, 2, 3, 4)
    path = tmp_path / name
    path.write_bytes(zstd.compress(content))
    assert read_trace(path).key_count == (2 if ".csv" in name else 1)
    path.write_bytes(zstd.compress(content)[:-3])
    with pytest.raises(InputError, match="the data cannot be read on"):
        read_trace(path)


@pytest.mark.parametrize(
    ("content", "format_", "names"),
    [
        (struct.pack("<IQIqIQIq", 1, 70, 1, 0, 2, 5, 1, 0), "oracleGeneral", ("70", "5")),
        (struct.pack(">II", 70, 5), "words", ("70", "5")),
        ("1,key,b,10,120,7,get,0\n2,a,1,120,7,set,0\n", "twitter", ("key,b", "a")),
        ("x,9\ny,8\nx,7\n", "csv", ("x", "y")),
    ],
)
def test_keys_are_kept_as_the_file_has_them_where_asked_for(
    tmp_path: Path, content: str | bytes, format_: TraceFormat, names: tuple[str, ...]
) -> None:
    columns = {"key": "1", "size": "2"} if format_ == "csv" else None
    asked: dict[str, Any] = {"columns": columns}
    assert read(tmp_path, content, format_, **asked).key_names == ()
    assert read(tmp_path, content, format_, with_names=True, **asked).key_names == names


@pytest.mark.parametrize(
    ("header", "columns", "unit"),
    [
        ("key,time_ms", {"key": "key", "time": "time_ms"}, "ms"),
        ("key,timestamp (us)", {"key": "1", "time": "2"}, "us"),
        ("# object, Timestamp[ns]", {"key": "1", "time": "2"}, "ns"),
        ("key,elapsedSeconds", {"key": "key", "time": "elapsedSeconds"}, "s"),
    ],
)
def test_the_unit_that_a_column_states_is_taken_and_said(
    tmp_path: Path, header: str, columns: dict[str, str], unit: TimeUnit
) -> None:
    second = round(UNITS[unit])
    text = f"{header}\na,0\nb,{second}\na,{3 * second}\n"
    trace = read(tmp_path, text, "csv", columns=columns)
    assert trace.times is not None
    assert (trace.times.tolist(), trace.unit_from) == ([0.0, 1.0, 3.0], "column")
    assert any(f"states {UNIT_NAMES[unit]}, and the trace's times" in note for note in trace.notes)
    stated = read(tmp_path, text, "csv", columns=columns, time_unit=unit)
    assert stated.unit_from == "caller"


@pytest.mark.parametrize(
    "name", ["time", "timestamp", "ts", "items", "status", "times", "", "event_time"]
)
def test_a_name_without_a_unit_states_none(name: str) -> None:
    assert unit_named(name) is None


LOGS = {
    "access.log": '1.2.3.4 - - [20/Nov/2026:18:00:00 +0000] "GET /a HTTP/1.1" 200 1 "-" "-"\n',
    "cloudfront.log": "#Version: 1.0\n#Fields: date time x-edge-location\n",
    "logpush.json": '{"ClientRequestURI": "/track", "EdgeStartTimestamp": "2026-11-20"}\n',
    "alb.txt": "https 2026-11-20T18:00:00.1Z app/shop/50dc 1.2.3.4:5 10.0.0.1:80 0 0 0 200 200\n",
}


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("ending", ["", ".gz", ".csv"])
def test_an_access_log_is_refused_by_name_with_its_import(
    tmp_path: Path, name: str, ending: str
) -> None:
    content = LOGS[name].encode()
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(gzip.compress(content) if ending == ".gz" else content)
    with pytest.raises(InputError, match=r"access log .*`edgeproof import log|JSON, no header"):
        read_trace(path)
