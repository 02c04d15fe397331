"""Recorded traces on the command line: units, rates, and files that are not what they seem."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.metrics.kpi import parse_metric
from core.scenario.file import load_scenario
from edgeproof.main import main
from scenarios.catalogue import shipped
from sim.simulate import simulate

SHORT = ["--set", "duration=2s", "--set", "warm_up=500ms"]
OFFSETS_MS = [3 * index + (index % 7) // 6 for index in range(900)]


def trace(folder: Path, base_ms: int, unit: str = "s", name: str = "t.csv") -> str:
    """Write a trace of 333 accesses a second from *base_ms* on, and return its name."""
    digits = {"s": "{0}.{1:03d}", "ms": "{0}{1:03d}", "us": "{0}{1:03d}000",
              "ns": "{0}{1:03d}000000"}[unit]  # fmt: skip
    rows = (
        f"u{index % 40},{digits.format(*divmod(base_ms + ms, 1000))}"
        for index, ms in enumerate(OFFSETS_MS)
    )
    (folder / name).write_text("\n".join(["key,time", *rows, "", ""]))
    return name


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Return the hash of the requests that *arguments* make, and what is said of them."""
    assert main(["scenario", "check", "baseline", *SHORT, *arguments]) == 0
    shown = capsys.readouterr()
    match = re.search(r"requests ([0-9a-f]{64})", shown.out)
    assert match is not None
    return match[1], shown.out + shown.err


def test_same_trace_in_any_unit_gives_the_same_requests(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = set()
    for unit, word in (("s", ""), ("ms", "milli"), ("us", "micro"), ("ns", "nano")):
        name = trace(folder, 1_763_900_000_000, unit)
        found, said = checked("--trace", name, capsys=capsys)
        hashes.add(found)
        assert ("look like" in said) == bool(word)
        assert not word or f"look like {word}seconds since 1970 and are taken so" in said
        assert "(accesses 1 to 834), 334 requests/s on average" in said
        assert checked("--trace", name, "--time-unit", unit, capsys=capsys)[0] == found
    assert len(hashes) == 1


@pytest.mark.parametrize("command", ["simulate", "plan", "load", "prove", "serve", "scenario data"])
def test_relative_times_in_milliseconds_are_refused_until_they_are_called_so(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (folder / "t.csv").write_text("key,time\n" + "".join(f"a,{25 * i}\n" for i in range(90)))
    more = {"scenario data": ["--out", "rows"], "load": ["--host", "http://127.0.0.1:1"]}
    arguments = [*command.split(), "baseline", "--trace", "t.csv", "--rate", "2x"]
    assert main([*arguments, *more.get(command, [])]) == 2
    err = capsys.readouterr().err
    assert "say --time-unit ms if they are milliseconds, --time-unit s if they are seconds" in err
    assert "Traceback" not in err
    assert checked("--trace", "t.csv", "--time-unit", "ms", capsys=capsys)


def test_rate_scales_recorded_times_and_judges_the_same_accesses(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = trace(folder, 0)
    plain, _ = checked("--trace", name, capsys=capsys)
    faster, said = checked("--trace", name, "--rate", "4x", capsys=capsys)
    assert faster != plain
    assert "(accesses 1 to 834), 1,334 requests/s on average" in said
    assert "run 4 times as fast as recorded: 1,334 requests/s on average instead of 334." in said
    assert "--rate 4x: warm-up and duration are 0.125 s and 0.5 s, for 0.5 s and 2 s of" in said
    assert checked("--trace", name, "--rate", "1x", capsys=capsys)[0] == plain


def test_figures_of_a_timed_trace_follow_the_rate(folder: Path) -> None:
    name = trace(folder, 0)
    overrides = [text for text in SHORT if text != "--set"]
    records = [
        simulate(
            load_scenario(
                shipped()["baseline"], overrides=overrides, rate=rate, trace={"file": name}
            ),
            replications=0,
        ).record
        for rate in ("20", "4000")
    ]
    slow, fast = records
    assert slow.planned == fast.planned
    assert slow.scenario_hash != fast.scenario_hash
    p95 = parse_metric("p95_track")
    before, after = slow.metric(p95), fast.metric(p95)
    assert before is not None
    assert after is not None
    assert after > 3 * before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("blocks.trace", "".join(f"{7 * i}\n" for i in range(2_208)), "say --format lirs"),
        ("twitter.csv", "1000000,key:a,10,120,7,get,0\n", "say --format twitter"),
        ("kvcache.csv", "key,op,size,op_count\n1,GET,1,1\n", "say --format cachelib"),
        (
            "comment.csv",
            "# timestamp (ms), op, object, size\n0,1,A,8\n",
            "say which column is what, by name or number: --columns",
        ),
    ],
)
def test_published_trace_of_another_dialect_is_refused_with_the_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, words: str
) -> None:
    (folder / name).write_text(content)
    assert main(["scenario", "check", "baseline", "--trace", name]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
    assert len(shown.err.splitlines()) == 1
