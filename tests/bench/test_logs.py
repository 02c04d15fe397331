"""Claims about `bench.logs`: its two sides read the same, and a difference is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import logs


def test_the_loop_and_the_reader_find_the_same_and_a_difference_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    assert logs.write_log(file, lines=3000) == 3000
    rows, chunks = logs.loop(file), logs.read(file)
    assert len(rows[0]) > 2500
    assert logs.same(chunks, rows)
    numbers, keys, times, statuses = rows
    for column in (numbers, times, statuses):
        column[7] += 1
        assert not logs.same(chunks, rows)
        column[7] -= 1
    assert logs.same(chunks, rows)
    keys[next(at for at, key in enumerate(keys) if key)] = b"another"
    assert not logs.same(chunks, rows)


def test_the_bench_says_both_speeds_and_fails_below_its_limit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LEAST", 1e9)
    assert logs.main(["--lines", "2000", "--rounds", "1", "--gigabytes", "0"]) == 1
    assert "speed   2,000 lines: reader " in capsys.readouterr().out
