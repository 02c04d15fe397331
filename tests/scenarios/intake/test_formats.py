"""Claims about the formats of access logs: each is told by its content, and read."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import pytest

from core.errors import InputError
from core.packed import zstd
from scenarios.intake.chunk import Cache, Left
from scenarios.intake.recognition import Stated
from tests.scenarios.intake.samples import AT, COMBINED, JSONL, LOGS, REAL_TIME_LOG, W3C, read

LATENCIES = {
    "cloudfront": (7_000, 250_000), "cloudfront-realtime": (250_000, 500_000),
    "cloudflare": (12_000, 250_000), "alb": (171_000, -1), "w3c": (7_000, 250_000),
    "har": (7_500, 250_000), "jsonl": (7_000, 250_500),
}  # fmt: skip
BEGINS = {
    "cloudfront": (-7_000, 750_000), "cloudfront-realtime": (0, 1_000_000),
    "w3c": (-7_000, 750_000),
}  # fmt: skip
CACHES = {
    "cloudfront": (Cache.HIT, Cache.PASSED), "cloudfront-realtime": (Cache.HIT, Cache.MISS),
    "cloudflare": (Cache.HIT, Cache.PASSED),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_each_format_is_told_by_its_content_and_read(tmp_path: Path, name: str) -> None:
    file = tmp_path / "log"
    file.write_text(LOGS[name], encoding="utf-8")
    log, chunk = read(file)
    assert log.found.format == name
    assert log.found.told.startswith(f"{file}: is ")
    kept = chunk.rule != Left.COMMENT
    assert chunk.rule[kept].tolist() == [0, 1]
    assert (chunk.time[kept] - AT).tolist() == list(BEGINS.get(name, (0, 1_000_000)))
    assert chunk.status[kept].tolist() == [200, 503]
    assert tuple(chunk.latency[kept].tolist()) == LATENCIES.get(name, (-1, -1))
    assert tuple(chunk.cache[kept].tolist()) == CACHES.get(name, (-1, -1))
    assert chunk.key_text is not None
    assert [t for t, k in zip(chunk.key_text, kept, strict=True) if k] == [b"43", b""]


@pytest.mark.parametrize("name", LOGS)
def test_a_format_that_is_stated_is_not_told_again(tmp_path: Path, name: str) -> None:
    file = tmp_path / "log"
    file.write_text(LOGS[name], encoding="utf-8")
    log, chunk = read(file, Stated(format=name))
    assert (chunk.rule >= 0).sum() == 2
    assert "is a" not in log.found.told


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("other", ["combined", "alb", "cloudfront", "jsonl", "har", "w3c"])
def test_a_log_of_another_format_than_stated_is_refused_in_one_line(
    tmp_path: Path, name: str, other: str
) -> None:
    if other == name:
        return
    file = tmp_path / "log"
    file.write_text(LOGS[name], encoding="utf-8")
    with pytest.raises(InputError) as error:
        read(file, Stated(format=other))
    assert str(file) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("pack", ["gz", "xz", "bz2", "zst"])
def test_packed_logs_are_read(tmp_path: Path, pack: str) -> None:
    data = COMBINED.encode()
    library = zstd()
    if pack == "zst" and library is None:
        pytest.skip("needs a package for zstd: pip install 'edgeproof[formats]'")
    packed = {
        "gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress,
        "zst": getattr(library, "compress", bytes),
    }[pack](data)  # fmt: skip
    file = tmp_path / f"access.log.{pack}"
    file.write_bytes(packed)
    assert read(file)[1].rule.tolist() == [0, 1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_logs_with_a_mark_of_their_encoding_are_read(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "access.log"
    file.write_text(COMBINED, encoding=encoding, newline="\r\n")
    assert read(file)[1].rule.tolist() == [0, 1]


def test_fields_that_change_within_a_file_are_followed(tmp_path: Path) -> None:
    file = tmp_path / "u_ex.log"
    shorter = "#Fields: date time cs-method cs-uri-stem sc-status\n2026-11-20 18:00:02 GET "
    file.write_text(f"{W3C}{shorter}/product/7 200\n", encoding="utf-8")
    from scenarios.intake.log_file import LogFile, Reading
    from scenarios.intake.rules import parse_rule

    for is_compiled in (False, True):
        reading = Reading(
            rules=[parse_rule("product = GET /product/{product_id}", "test")], agents=(),
            salt=(1, 2), is_compiled=is_compiled,
        )  # fmt: skip
        chunks = [p.chunk for p in LogFile(file, Stated()).pieces(reading)]
        assert [c.status[c.rule >= 0].tolist() for c in chunks] == [[], [200], [200]]


def test_real_time_logs_with_other_fields_need_them_stated(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("1795197600.250\t200\tGET\t/product/43\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"has 4 fields a line.* state those of yours"):
        read(file)
    stated = Stated(
        format="cloudfront-realtime", fields=("timestamp", "sc-status", "cs-method", "cs-uri-stem")
    )
    assert read(file, stated)[1].rule.tolist() == [0]
    assert REAL_TIME_LOG.count("\t") == 2 * 42


def test_units_of_json_times_are_told_by_their_size_and_durations_never(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text(JSONL.replace("duration_ms", "duration"), encoding="utf-8")
    log, chunk = read(file)
    assert chunk.latency.tolist() == [-1, -1]
    assert log.found.notices == (
        "duration has no unit and is not used; --duration-unit s, ms, us or ns says it",
    )
    assert log.found.objects is not None
    assert (log.found.objects.time_unit, log.found.objects.is_unit_told) == ("ms", True)
    _, chunk = read(file, Stated(duration_unit="ns"))
    assert chunk.latency.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("value", "micros"),
    [('"2026-11-20T18:00:00Z"', 0), ("1795197600", 0), ("1795197600250000000", 250_000)],
)
def test_timestamps_of_logpush_are_read_in_each_of_its_forms(
    tmp_path: Path, value: str, micros: int
) -> None:
    file = tmp_path / "log"
    file.write_text(
        f'{{"ClientRequestURI": "/product/1", "ClientRequestMethod": "GET", '
        f'"EdgeStartTimestamp": {value}, "EdgeResponseStatus": 200}}\n',
        encoding="utf-8",
    )
    assert read(file)[1].time.tolist() == [AT + micros]


def test_columns_name_what_json_lines_hold(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text(
        '{"at": "2026-11-20T18:00:00.5Z", "http": {"verb": "GET", "where": "/product/9"}}\nnone\n'
    )
    with pytest.raises(InputError, match="which name holds the time; say --columns time=NAME"):
        read(file)
    _, chunk = read(
        file, Stated(columns={"time": "at", "method": "http.verb", "path": "http.where"})
    )
    assert chunk.rule.tolist() == [0, Left.BAD_LINE]
    assert chunk.time[0] == AT + 500_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[\n{"time": 1}\n]\n', "is one JSON array; write an object a line"),
        ('{\n"a": 1\n}\n', "begins as JSON, and its first line is no object"),
        ("hello\nworld\n", "its lines are of no format that is known; say --format combined"),
        ("2026-11-20T18:00:00.1Z lb 1.2.3.4:80 1.2.3.5:80 0 0 0 200\n", "Classic Load Balancer"),
        ("#Fields: cs-method sc-status\nGET 200\n", "no date and time, nor a timestamp"),
        ('{"log": {"entries": []}}', "the HAR file has no entries"),
        ("\n\n", "is empty"),
        ("a\0b", "is binary data, no log"),
    ],
)
def test_what_is_no_log_is_refused_with_the_remedy(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "log"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="log: ") as error:
        read(file)
    assert told in str(error.value)


def test_the_unit_of_time_taken_is_said_of_w3c_logs(tmp_path: Path) -> None:
    file = tmp_path / "u_ex.log"
    file.write_text(W3C, encoding="utf-8")
    log, _ = read(file)
    assert log.found.notices == (
        "time-taken is taken as milliseconds, because other fields are those of IIS; "
        "--duration-unit says otherwise",
    )
    file.write_text(
        "#Fields: date time cs-method cs-uri-stem sc-status time-taken\n"
        "2026-11-20 18:00:00 GET /product/1 200 0.25\n",
        encoding="utf-8",
    )
    log, chunk = read(file)
    assert log.found.notices == (
        "time-taken is taken as seconds, as W3C defines it; --duration-unit says otherwise",
    )
    assert chunk.latency.tolist() == [-1, 250_000]


def test_a_quote_within_a_value_is_nothing_behind_the_format(tmp_path: Path) -> None:
    line = '1.1.1.1 - u"x [20/Nov/2026:18:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "M \\"q\\""'
    for tail, count in (("", 0), (' 0.1 "x"', 1)):
        file = tmp_path / f"{count}.log"
        file.write_text(f"{line}{tail}\n", encoding="utf-8")
        log, _ = read(file)
        assert len(log.found.notices) == count, log.found.notices
