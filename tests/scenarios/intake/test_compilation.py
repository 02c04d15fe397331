"""Claims about where the reader of lines is compiled."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scenarios.intake import compiled
from scenarios.intake.compilation import compile_reader, is_cached
from scenarios.intake.log_file import compiled_chunk
from scenarios.intake.log_format import parse_log_format
from scenarios.intake.rules import parse_rule
from scenarios.intake.tables import tables_of


def test_what_is_compiled_ahead_is_what_every_log_needs() -> None:
    compile_reader()
    rules = [parse_rule(text, "test") for text in ("a = GET /a/{a}", "b = * /b?q={q}", "c = GET /")]
    layout = parse_log_format('[$msec] "$request" $status $upstream_response_time $host')
    line = b'[1795197600.5] "GET /a/1 HTTP/1.1" 200 0.1, 0.2 x\n'
    tables = tables_of(layout, rules, (b"bot",), (2**63, 1))
    assert compiled_chunk(line, tables, with_keys=True).latency.tolist() == [300_000]
    assert len(compiled.scan.signatures) == 1


def test_code_that_is_older_than_its_source_is_not_cached(tmp_path: Path) -> None:
    source = tmp_path / "compiled.py"
    source.touch()
    assert not is_cached(tmp_path, source)
    assert not is_cached(tmp_path / "none", source)
    index = tmp_path / f"compiled.scan-9.py3{sys.version_info[1]}.nbi"
    index.touch()
    assert is_cached(tmp_path, source)
    os.utime(index, (1, 1))
    assert not is_cached(tmp_path, source)
