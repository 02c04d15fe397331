"""Claims about reading recorded traces: every format gives the accesses back or says why not."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import os
import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import core.scenario.trace
import core.scenario.trace_source
from core.errors import InputError
from core.scenario.trace import Trace, read_trace
from core.scenario.trace_source import FORMATS

Row = dict[str, Any]

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
}
ENDINGS = sorted(format_ + compression for format_ in FORMATS for compression in COMPRESS)


def by_appearance(names: Sequence[object]) -> tuple[list[int], list[object]]:
    """Number *names* by first appearance, the slow and plain way."""
    seen: list[object] = []
    for name in names:
        if name not in seen:
            seen.append(name)
    return [seen.index(name) for name in names], seen


def written(folder: Path, name: str, content: bytes | str) -> Path:
    """Write *content* under *name* in *folder*, compressed as the name's ending says."""
    path = folder / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(COMPRESS[path.suffix if path.suffix in COMPRESS else ""](data))
    return path


def listed(column: Any) -> list[Any] | None:
    return None if column is None else column.tolist()


def fault(path: Path, stop: int | None = None) -> str:
    """Return what read_trace says against *path*, less the path that it starts with."""
    with pytest.raises(InputError) as caught:
        read_trace(path, stop=stop)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert message.startswith(str(path))
    return message.removeprefix(str(path)).removeprefix(" ")


PLAIN = ("key", "time", "endpoint", "type", "size")
"""The fields of reads without TTLs of their own."""


@st.composite
def text_rows(draw: st.DrawFn) -> list[Row]:
    """Draw the rows of a text trace, all with the same fields; few names, so that they repeat."""
    fields = draw(st.permutations(PLAIN)).copy()
    for field in draw(st.sets(st.sampled_from(PLAIN[1:]))):
        fields.remove(field)
    # No line breaks: in CSV a row is a line.
    exotic = st.text(
        st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1
    )
    name = st.sampled_from(["a", "b", "1", "01", 'quo"te', "com,ma", " ", "é", "\ufeff"]) | exotic
    row = {"key": name, "type": name, "endpoint": name, "size": st.integers(0, 2**63 - 1)}
    # Within a day, which no gap is out of.
    row["time"] = st.floats(0, 80_000) | st.integers(0, 10)
    rows: list[Row] = draw(st.lists(st.fixed_dictionaries({f: row[f] for f in fields}), min_size=1))
    if "time" in fields:
        for ordered, time in zip(rows, sorted(row["time"] for row in rows), strict=True):
            ordered["time"] = time
    return rows


def csv_text(rows: list[Row], line_end: str) -> str:
    output = io.StringIO()
    writer = csv.DictWriter(output, list(rows[0]), lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    return output.getvalue()


def jsonl_text(rows: list[Row], line_end: str) -> str:
    return line_end.join(json.dumps(row, ensure_ascii=len(rows) % 2 == 0) for row in rows)


def assert_holds(trace: Trace, rows: list[Row]) -> None:
    keys, distinct = by_appearance([(row.get("type"), row["key"]) for row in rows])
    assert (trace.keys.tolist(), trace.key_count) == (keys, len(distinct))
    assert trace.keys.dtype == np.uint32
    fields = rows[0].keys()
    for field, ids, names in (
        ("type", trace.types, trace.type_names),
        ("endpoint", trace.endpoints, trace.endpoint_names),
    ):
        expected = by_appearance([row[field] for row in rows]) if field in fields else (None, [])
        assert (listed(ids), list(names)) == expected
        assert ids is None or ids.dtype == np.uint16
    times = [float(row["time"]) - float(rows[0]["time"]) for row in rows if "time" in fields]
    assert listed(trace.times) == (times or None)
    assert listed(trace.sizes) == ([row["size"] for row in rows if "size" in fields] or None)


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".ndjson"])
@given(
    rows=text_rows(), line_end=st.sampled_from(["\n", "\r\n"]), stop=st.none() | st.integers(1, 20)
)
def test_text_trace_reads_back(
    ending: str, compression: str, rows: list[Row], line_end: str, stop: int | None
) -> None:
    text = csv_text(rows, line_end) if ending == ".csv" else jsonl_text(rows, line_end)
    with tempfile.TemporaryDirectory() as folder:
        trace = read_trace(written(Path(folder), f"t{ending}{compression}", text), stop=stop)
    assert (trace.source, trace.format) == (f"t{ending}{compression}", FORMATS[ending])
    assert_holds(trace, rows[:stop])


WORDS = st.sampled_from([0, 1, 2**27, 2**27 + 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("compression", COMPRESS)
@given(
    words=st.lists(WORDS, min_size=1, max_size=60),
    stop=st.none() | st.integers(1, 70),
    chunk_words=st.integers(1, 70),
)
def test_raw_trace_reads_back(
    compression: str, words: list[int], stop: int | None, chunk_words: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.scenario.trace, "CHUNK_BYTES", 4 * chunk_words)
        data = struct.pack(f">{len(words)}I", *words)
        trace = read_trace(written(Path(folder), f"t.trace{compression}", data), stop=stop)
    keys, distinct = by_appearance(words[:stop])
    types = [word // 2**27 for word in words[:stop]]
    assert (trace.source, trace.format) == (f"t.trace{compression}", "words")
    assert (trace.keys.tolist(), trace.key_count) == (keys, len(distinct))
    assert trace.type_names == tuple(str(type_) for type_ in sorted(set(types)))
    assert listed(trace.types) == [sorted(set(types)).index(type_) for type_ in types]
    assert (trace.times, trace.endpoints, trace.sizes) == (None, None, None)
    assert trace.endpoint_names == ()


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=50)
@given(content=st.binary(max_size=60), damage=st.lists(st.tuples(st.integers(0), st.binary())))
def test_any_bytes_are_a_trace_or_one_line(
    ending: str, content: bytes, damage: list[tuple[int, bytes]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), f"t{ending}", content)
        data = path.read_bytes()
        for at, patch in damage:
            at %= len(data) + 1
            data = data[:at] + patch + data[at + len(patch) :]
        path.write_bytes(data)
        try:
            assert read_trace(path).keys.size > 0
        except InputError:
            fault(path)


KNOWN = "known are key, time, endpoint, type, size, op, ttl"
NO_KEY = (
    f"there is no field 'key', and every trace needs it; {KNOWN}: --columns key=NAME says which"
    " column it is"
)
NO_ACCESS = "the trace ends here without an access; it needs at least one"
TEXT_LIMITS = "is a whole number or text of 1 to 65536 characters"
SIZE_IS = "a size is a whole number of bytes, at least 0"
TIME_IS = "a time is a number, at least 0"
OR_ISO = ", or as in 2026-01-31T12:00:00Z"
NAMES_FIELDS = "line 1: the first line must name the fields and is "
ABOVE = "say which column is what, by name or number: --columns key=2,time=1; " + KNOWN
BINARY = "the file holds binary data, no text; export it as text"
CSV_FAULTS: list[tuple[str | bytes, str]] = [
    ("", f"line 1: {NO_ACCESS}"),
    ("key,time\n", f"line 2: {NO_ACCESS}"),
    ("time\n1\n", f"line 1: {NO_KEY}"),
    ("key;time\n", "line 1: the header 'key;time' has semicolons between its fields; write commas"),
    (
        "key\ttime\n",
        "line 1: the header 'key\\ttime' has tabs between its fields; say --format tsv, or write"
        " commas",
    ),
    ("key,Ttl\na,1\n", f"line 1: there is a field 'Ttl'; write ttl just so; {KNOWN}"),
    ("key,ttl\na,x\n", "line 2: ttl is 'x'; a ttl is a number of seconds, 0 for none"),
    (
        "key,op\na,frob\n",
        "line 2: op is 'frob'; known are get, gets, read, set, add, replace, cas, put, write,"
        " delete and their like: map another column, or leave op out",
    ),
    ("key,op\na,set\n", "line 3: the trace has 1 access and no read, and a run reads"),
    (
        "key,op,size,op_count,key_size,ttl\n1234,GET,100,1,20,0\n",
        "line 1: the line 'key,op,size,op_count,key_size,ttl' is of a trace as cachelib publishes"
        " them; say --format cachelib",
    ),
    (
        "1000000,key:a,10,120,7,get,0\n",
        "line 1: the line '1000000,key:a,10,120,7,get,0' is of a trace as twitter publishes them;"
        " say --format twitter",
    ),
    (
        "# timestamp (ms), op, object, size\n0,1,A,8371\n",
        "line 2: the first line must name the fields and is '0,1,A,8371' (behind the comment"
        f" '# timestamp (ms), op, object, size'); {ABOVE}",
    ),
    (" Key,Time\n", f"{NAMES_FIELDS}' Key,Time'; write key, time just so; {KNOWN}"),
    (
        '{"key": "a"}\n',
        "line 1: the line is JSON, no header of a CSV; name the file .jsonl, an object a line, or"
        " say --format jsonl",
    ),
    (b"\x00\x01\x02", f"line 1: {BINARY}"),
    (bytes(range(128, 256)) + b"\n", f"line 1: {BINARY}"),
    (
        "clé,time\n".encode("latin-1"),
        "line 1: the line holds 0xe9 at its byte 3; convert the file to UTF-8",
    ),
    (
        "key\na\n".encode("utf-16"),
        "line 1: the file is UTF-16; convert it to UTF-8 with `iconv -f UTF-16 -t UTF-8`",
    ),
    (
        "key\na\n".encode("utf-16-le"),
        "line 1: the file is UTF-16LE; convert it to UTF-8 with `iconv -f UTF-16LE -t UTF-8`",
    ),
    ("\n\n", f"line 3: {NO_ACCESS}"),
    ("key,key\na,a\n", "line 1: the field 'key' stands twice; keep one"),
    (
        "key,time\na,1\na,2,3\n",
        "line 3: the row has 3 values and the header 2 fields;"
        " write one value a field, with commas between",
    ),
    (
        "key,time\na,1\n\na,2\n",
        "line 3: the line is blank; remove it",
    ),
    ("key,time\n,1\n", f"line 2: key is ''; a key {TEXT_LIMITS}"),
    ("key,type\na,\n", f"line 2: type is ''; a type {TEXT_LIMITS}"),
    (f"key\n{'k' * 65_537}\n", f"line 2: key is '{'k' * 76}...; a key {TEXT_LIMITS}"),
    ("key,time\na,abc\n", f"line 2: time is 'abc'; {TIME_IS}{OR_ISO}"),
    ("key,time\na,\n", f"line 2: time is ''; {TIME_IS}{OR_ISO}"),
    ("key,time\na,nan\n", f"line 2: time is 'nan'; {TIME_IS}{OR_ISO}"),
    ("key,time\na,1_0\n", f"line 2: time is '1_0'; {TIME_IS}{OR_ISO}"),
    ("key,time\na,1e999\n", f"line 2: time is Infinity; {TIME_IS}"),
    ("key,time\na,-1\n", f"line 2: time is -1.0; {TIME_IS}"),
    (
        "key,time\na,500\na,3\n",
        "line 3: time steps back by 497 s; up to 60 s are sorted: sort the trace by time",
    ),
    ("key,size\na,-5\n", f"line 2: size is -5; {SIZE_IS}"),
    ("key,size\na,1.5\n", f"line 2: size is '1.5'; {SIZE_IS}"),
    ("key,size\na,9223372036854775808\n", f"line 2: size is 9223372036854775808; {SIZE_IS}"),
    (
        'key,time\n"a,1\nb,2\n',
        "line 2: the row is no CSV (unexpected end of data); close quotes on their line",
    ),
    (
        b"key\na\nb\xff\n",
        "line 3: the line holds 0xff at its byte 2; convert the file to UTF-8",
    ),
    ("key," * 2**19, "line 1: the line is over 1048576 bytes; write an access a line"),
    ("key\na\n" + "b" * 2**21, "line 3: the line is over 1048576 bytes; write an access a line"),
]
JSON_FAULTS: list[tuple[str | bytes, str]] = [
    ("", f"line 1: {NO_ACCESS}"),
    (
        '{"key": "a"}\n{"key": \n',
        "line 2: the line is no JSON (Expecting value); write one object a line",
    ),
    ("\n", f"line 2: {NO_ACCESS}"),
    ('{"key": 1}\n\n{"key": 1}\n', "line 2: the line is blank; remove it"),
    (
        "key,time\na,1\n",
        "line 1: the line is no JSON (Expecting value, it looks like the header of a CSV:"
        " name the file .csv); write one object a line",
    ),
    ('[{"key": 1}]', "line 1: the line is a list; write one object a line"),
    (
        '[\n{"key": 1}\n]',
        "line 1: the line is no JSON (Expecting value, it begins a list: `jq -c '.[]'` unpacks"
        " it); write one object a line",
    ),
    ('["a"]', "line 1: the line is a list; write one object a line"),
    ("7", "line 1: the line is 7; write one object a line"),
    ("{}", f"line 1: {NO_KEY}"),
    ('{"key": 1, "Time": 2}', f"line 1: there is a field 'Time'; write time just so; {KNOWN}"),
    ('{"key": 1, "key": 2}', "line 1: the field 'key' stands twice; keep one"),
    (
        '{"key": 1, "time": 2}\n{"key": 1}',
        "line 2: the fields are key, on line 1 key, time; write the same on every line",
    ),
    ('{"key": ""}', f"line 1: key is ''; a key {TEXT_LIMITS}"),
    ('{"key": true}', f"line 1: key is true; a key {TEXT_LIMITS}"),
    ('{"key": {"a": 1}}', f"line 1: key is an object; a key {TEXT_LIMITS}"),
    ('{"key": "\\ud800"}', "line 1: key is '\\ud800', which is not Unicode; mend its escapes"),
    ('{"key": 1, "time": "x"}', f"line 1: time is 'x'; {TIME_IS}{OR_ISO}"),
    ('{"key": 1, "ttl": -1}', "line 1: ttl is -1; a ttl is a number of seconds, 0 for none"),
    ('{"key": 1, "time": NaN}', f"line 1: time is NaN; {TIME_IS}"),
    ('{"key": 1, "time": null}', f"line 1: time is null; {TIME_IS}"),
    (f'{{"key": 1, "time": 1{"0" * 400}}}', f"line 1: time is 1{'0' * 76}...; {TIME_IS}"),
    ('{"key": 1, "size": 1.0}', f"line 1: size is 1.0; {SIZE_IS}"),
    ('{"key": 1, "size": false}', f"line 1: size is false; {SIZE_IS}"),
    (b'{"key": "\xff"}', "line 1: the line holds 0xff at its byte 10; convert the file to UTF-8"),
]


@pytest.mark.parametrize(("content", "expected"), CSV_FAULTS)
def test_bad_csv_is_one_line(tmp_path: Path, content: str | bytes, expected: str) -> None:
    assert fault(written(tmp_path, "t.csv", content)) == expected


@pytest.mark.parametrize(("content", "expected"), JSON_FAULTS)
def test_bad_json_lines_are_one_line(tmp_path: Path, content: str | bytes, expected: str) -> None:
    assert fault(written(tmp_path, "t.jsonl.gz", content)) == expected


@pytest.mark.parametrize("line", ["[" * 500_000, '{"key": ' + "9" * 500_000 + "}"])
def test_json_beyond_the_parser_is_one_line(tmp_path: Path, line: str) -> None:
    message = fault(written(tmp_path, "t.jsonl", line))
    assert message.startswith("line 1: the line is no JSON (")
    assert message.endswith("); write one object a line")


@pytest.mark.parametrize("size", [1, 2, 3, 4_099])
def test_raw_trace_that_ends_in_a_word_is_refused(tmp_path: Path, size: int) -> None:
    message = fault(written(tmp_path, "t.trace.xz", bytes(size)))
    assert (
        message == f"byte {size}: the last word has {size % 4} of its 4 bytes; copy the file again"
    )


def test_empty_raw_trace_is_refused(tmp_path: Path) -> None:
    assert fault(written(tmp_path, "t.trace", b"")) == f"byte 0: {NO_ACCESS}"


EXPORT = "--format says what it is; export anything else as CSV"
ENDING_IS = (
    "the ending names no trace format; known are .csv, .tsv, .jsonl, .ndjson, .trace,"
    " .oracleGeneral, each alone or followed by .gz, .xz, .zst"
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("absent.csv", "it cannot be opened (No such file or directory); check the path"),
        ("folder.csv", "this is a folder or a device; name one trace file"),
        ("pipe.csv", "this is a folder or a device; name one trace file"),
        ("t.txt.gz", f"{ENDING_IS}; {EXPORT}"),
        ("t", f"{ENDING_IS}; {EXPORT}"),
    ],
)
def test_what_is_no_trace_file_is_refused(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    assert fault(tmp_path / name) == f": {expected}"


@pytest.mark.parametrize("name", ["line\nbreak.csv", "nul\0.csv"])
def test_unprintable_name_is_escaped_in_the_message(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        read_trace(tmp_path / name)
    assert str(caught.value).startswith(f"{str(tmp_path / name)!r}: it cannot be opened (")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("stop", [0, -1])
def test_stop_below_one_is_a_bad_argument(tmp_path: Path, stop: int) -> None:
    with pytest.raises(ValueError, match=f"stop is {stop}; "):
        read_trace(tmp_path / "t.csv", stop=stop)


@pytest.mark.parametrize("format_", [".csv", ".jsonl", ".trace"])
@pytest.mark.parametrize("compression", [".gz", ".xz"])
def test_cut_file_is_refused_but_serves_a_stop_before_the_cut(
    tmp_path: Path, format_: str, compression: str
) -> None:
    keys = np.random.default_rng(1).integers(0, 2**32, 100_000).astype(">u4")
    lines = {".csv": ["key", *map(str, keys)], ".jsonl": [f'{{"key": {key}}}' for key in keys]}
    content = keys.tobytes() if format_ == ".trace" else "\n".join(lines[format_]).encode()
    path = written(tmp_path, f"t{format_}{compression}", content)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_trace(path, stop=1_000).keys.size == 1_000
    place, message = fault(path).split(": ", 1)
    assert message.startswith("the data cannot be read on (Compressed file ended before the end")
    assert message.endswith("); copy the file again")
    assert place.startswith("byte " if format_ == ".trace" else "line ")


@pytest.mark.parametrize("ending", [".csv.gz", ".jsonl.xz", ".trace.gz", ".trace.xz"])
def test_file_that_is_not_compressed_as_named_is_refused(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"t{ending}").write_bytes(b"key\na\nb\n")
    message = fault(tmp_path / f"t{ending}")
    end = ending[-3:]
    assert message == (
        f": the name ends in {end} and the content is no compressed data;"
        f" name it t{ending.removesuffix(end)}"
    )


@pytest.mark.parametrize("ending", ["csv.gz", "jsonl.xz", "trace.gz", "trace.xz", "trace"])
def test_decompression_bomb_is_refused(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.scenario.trace_source, "MAX_BYTES", 2**16)
    monkeypatch.setattr(core.scenario.trace, "CHUNK_BYTES", 2**12)
    lines = {"csv": "key\n" + "a\n" * 2**20, "jsonl": '{"key": 1}\n' * 2**20}
    content = lines.get(ending.partition(".")[0], "\0" * 2**22)
    message = fault(written(tmp_path, f"t.{ending}", content))
    assert message.endswith(": the trace is over 65536 bytes when decompressed; split it")


@pytest.mark.parametrize("spare", [0, 1])
def test_line_of_a_mebibyte_is_the_longest(tmp_path: Path, spare: int) -> None:
    line = '{"key":1' + " " * (2**20 - 9 + spare) + "}"
    path = written(tmp_path, "t.jsonl", f"{line}\r\n{line}")
    if spare:
        assert fault(path) == "line 1: the line is over 1048576 bytes; write an access a line"
    else:
        assert read_trace(path).keys.tolist() == [0, 0]


def test_byte_order_mark_of_a_spreadsheet_is_skipped(tmp_path: Path) -> None:
    assert read_trace(written(tmp_path, "t.CSV", "\ufeffkey\r\na\r\n")).key_count == 1


def test_more_types_than_ids_are_refused(tmp_path: Path) -> None:
    lines = "".join(f"k,{number}\n" for number in range(2**16 + 1))
    path = written(tmp_path, "t.csv", f"key,type\n{lines}")
    assert len(read_trace(path, stop=2**16).type_names) == 2**16
    assert fault(path) == "line 65538: type '65536' is one more than 65536; merge some of them"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "t.csv",
            gzip.compress(b"key\na\n", mtime=0),
            "the content is gzip data; name it t.csv.gz",
        ),
        ("t.trace", lzma.compress(bytes(8)), "the content is xz data; name it t.trace.xz"),
        (
            "t.csv.gz",
            lzma.compress(b"key\na\n"),
            "the name ends in .gz and the content is xz data; name it t.csv.xz",
        ),
        (
            "t.csv.gz",
            b"\x28\xb5\x2f\xfd rest",
            "the name ends in .gz and the content is zstd data; name it t.csv.zst",
        ),
        (
            "t.csv",
            b"\x28\xb5\x2f\xfd rest",
            "the content is zstd data; name it t.csv.zst",
        ),
        ("t.jsonl", b"PK\x03\x04 rest", "the content is zip, not jsonl; unpack it with `unzip`"),
    ],
)
def test_packing_that_the_name_does_not_tell_is_refused_by_its_name(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert fault(tmp_path / name) == f": {expected}"


TEXT = "byte 0: this is text, and .trace is the ending of 32-bit words; say --format lirs"


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize(
    "content",
    [
        "".join(f"{7 * number}\n" for number in range(2_208)),  # of LIRS: block numbers
        "0x1234abcd r\r\n" * 1_000,  # of addresses
        "kéy:1\n" * 3_000,
        "1\n2\n",
        "7\n" * 20,
    ],
)
def test_text_under_the_ending_of_words_is_refused(
    tmp_path: Path, content: str, compression: str
) -> None:
    message = fault(written(tmp_path, f"t.trace{compression}", content))
    assert message.startswith(TEXT)


@given(words=st.lists(WORDS, min_size=4, max_size=60))
def test_words_are_not_taken_for_text(words: list[int]) -> None:
    assert not core.scenario.trace_source.is_text(struct.pack(f">{len(words)}I", *words))


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("blank", [1, 3])
def test_blank_lines_at_the_end_are_no_accesses(tmp_path: Path, ends: str, blank: int) -> None:
    rows = [f"{i},{i / 4}" for i in range(5)]
    text = ends.join(["key,time", *rows]) + ends * (blank + 1)
    assert read_trace(written(tmp_path, "t.csv", text)).keys.size == 5
    lines = ends.join(f'{{"key": {i}}}' for i in range(5)) + ends * (blank + 1)
    assert read_trace(written(tmp_path, "t.jsonl", lines)).keys.size == 5


def timed(folder: Path, times: Sequence[object], name: str = "t.csv") -> Path:
    rows = "".join(f"k{index},{time}\n" for index, time in enumerate(times))
    return written(folder, name, f"key,time\n{rows}")


@pytest.mark.parametrize(("unit", "a_second"), [("s", 0), ("ms", 3), ("us", 6), ("ns", 9)])
@pytest.mark.parametrize("base", [894_000_000, 1_763_900_000, 2_400_000_000])
def test_unit_of_times_since_1970_is_told_by_their_size(
    tmp_path: Path, unit: str, a_second: int, base: int
) -> None:
    offsets_ms = [0, 3, 3, 250, 2_997]
    texts = [f"{base + ms // 1000}{ms % 1000:03d}000000" for ms in offsets_ms]
    digits = len(str(base)) + a_second
    trace = read_trace(timed(tmp_path, [f"{t[:digits]}.{t[digits:]}" for t in texts]))
    assert (trace.time_unit, trace.unit_from) == (unit, "values")
    assert trace.times is not None
    # Equal to the last bit in every unit.
    assert trace.times.tolist() == [0.0, 0.003, 0.003, 0.25, 2.997]


def test_unit_that_is_said_counts_whatever_the_times(tmp_path: Path) -> None:
    for times in ([0, 3, 250], [1_763_900_000_000, 1_763_900_000_003, 1_763_900_000_250]):
        path = timed(tmp_path, times)
        trace = read_trace(path, time_unit="ms")
        assert (trace.time_unit, trace.unit_from) == ("ms", "caller")
        assert listed(trace.times) == [0.0, 0.003, 0.25]
        assert listed(read_trace(path, time_unit="s").times) == [0.0, 3.0, 250.0]
    assert read_trace(timed(tmp_path, [0, 3, 250])).unit_from == "default"


@pytest.mark.parametrize("first", ["5000000000000", "1e19", "1e300"])
def test_time_of_no_century_is_refused(tmp_path: Path, first: str) -> None:
    message = fault(timed(tmp_path, [first, first]))
    assert message.startswith("line 2: time is ")
    assert "no time of this century in any unit; say the unit with --time-unit" in message


@pytest.mark.parametrize(
    ("times", "line", "word"),
    [
        ([0, 1_763_900_000, 1_763_900_001, 1_763_900_002], 2, "before the next"),
        ([1_763_900_000, 1_763_900_001, 1_763_900_002, 2_000_000_000], 5, "after the last"),
        ([1_763_900_000, 1_763_900_001, 1_763_900_002_000], 4, "after the last"),
        ([0, 1, 2, 100_000], 5, "after the last"),
    ],
)
def test_time_far_from_all_others_is_refused_with_its_line(
    tmp_path: Path, times: list[int], line: int, word: str
) -> None:
    message = fault(timed(tmp_path, times))
    off = times[0] if word == "before the next" else times[-1]
    assert message.startswith(f"line {line}: time is {off}, ")
    assert f"days {word} access, and all others lie within " in message
    lines = "".join(f'{{"key": 1, "time": {time}}}\n' for time in times)
    path = written(tmp_path, "t.jsonl", lines)
    assert fault(path).startswith(f"line {line - 1}: time is {off}, ")


def test_nights_and_weekends_are_no_faults(tmp_path: Path) -> None:
    days = [86_400 * day + second for day in (0, 1, 2, 3, 4, 7, 8) for second in (0, 30_000)]
    assert read_trace(timed(tmp_path, days)).keys.size == 14


def test_what_stands_behind_stop_is_not_checked(tmp_path: Path) -> None:
    assert read_trace(written(tmp_path, "t.csv", "key\na\n,\n"), stop=1).key_count == 1


def test_trace_cannot_be_changed(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "t.csv", "key,time\na,1\n"))
    with pytest.raises(ValueError, match="read-only"):
        trace.keys[0] = 1


@pytest.mark.parametrize(
    ("name", "accesses", "key_count", "type_count"),
    [("orm-busy", 5_000_000, 76_349, 30), ("web07", 76_118, 20_484, 1)],
)
def test_real_trace_is_read_whole(
    shared_traces: Path, name: str, accesses: int, key_count: int, type_count: int
) -> None:
    path = shared_traces / f"{name}.trace.xz"
    trace = read_trace(path)
    assert trace.types is not None
    assert (trace.keys.size, trace.key_count) == (accesses, key_count)
    assert len(trace.type_names) == type_count
    words = np.frombuffer(lzma.decompress(path.read_bytes()), ">u4")
    # Ids by first appearance: each new id is one more than the largest before it.
    largest = np.maximum.accumulate(trace.keys.astype(np.int64))
    assert trace.keys[0] == 0
    assert set(np.unique(np.diff(largest)).tolist()) == {0, 1}
    # One id for one word: every access has the word of its id's first access.
    first_word = words[np.searchsorted(largest, np.arange(key_count))]
    assert np.array_equal(first_word[trace.keys], words)
    assert np.unique(first_word).size == key_count
    assert np.array_equal(np.array(trace.type_names, int)[trace.types], words >> 27)


def test_start_of_a_real_trace_keeps_its_ids(shared_traces: Path) -> None:
    path = shared_traces / "orm-busy.trace.xz"
    start = read_trace(path, stop=60_000)
    assert np.array_equal(start.keys, read_trace(path).keys[:60_000])
    assert round(start.key_count / start.keys.size, 2) == 0.18
