"""Claims about `edgeproof import log` as its users call it."""

from __future__ import annotations

import csv
import gzip
import json
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.logs import write_log
from tests.edgeproof.commands import called, running
from tests.scenarios.intake.samples import CLOUDFLARE, CLOUDFRONT, COMBINED, LOGS

NGINX = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent" $request_time'
)


def line(seconds: int, request: str, status: int = 200, address: str = "203.0.113.9") -> str:
    """Return a combined line, so many seconds after 18:00:00."""
    clock = f"{18 + seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f'{address} - - [20/Nov/2026:{clock} +0000] "{request} HTTP/1.1" {status} 5 "-" "m"\n'


def imported(folder: Path, *arguments: str) -> dict[str, Any]:
    """Import logs in *folder*; return what --json says."""
    done = called("import", "log", *arguments, "--out", "shop.toml", "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def trace(folder: Path) -> list[tuple[str, float, str]]:
    with (folder / "shop.trace.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["key", "time", "endpoint"]
    return [(key, float(time), name) for key, time, name in rows[1:]]


def test_endpoints_mix_latencies_and_hits_are_those_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "cdn.log").write_text(CLOUDFRONT, encoding="utf-8")
    told = imported(tmp_path, "cdn.log")
    assert [(e["rule"], e["requests"], e["hit_ratio"]) for e in told["endpoints"]] == [
        ("product = GET /product/{product_id}", 1, 1.0)
    ]
    assert told["endpoints"][0]["p50_ms"] == pytest.approx(7, rel=0.005)
    assert told["left_out"] == {"no endpoint's rule fits": 1}  # 503 alone is no endpoint
    assert told["recognised"] == ["cdn.log: is a standard log of CloudFront"]


@pytest.mark.parametrize("name", LOGS)
def test_the_scenario_of_each_format_runs_with_its_trace(tmp_path: Path, name: str) -> None:
    (tmp_path / "log").write_text(LOGS[name], encoding="utf-8")
    rules = (
        "--endpoint",
        "product = GET /product/{product_id}",
        "--endpoint",
        "track = POST /track",
    )
    told = imported(tmp_path, "log", *rules)
    assert [e["requests"] for e in told["endpoints"]] == [1, 1]
    done = called("scenario", "check", "shop.toml", "--trace", "shop.trace.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 requests" in done.stdout


def test_times_keys_and_order_are_those_of_the_log(tmp_path: Path) -> None:
    requests = [(0.25, "7"), (0.5, "8"), (2.0, "7"), (70.125, "9")]
    lines = [f'[{1795197600 + t}] "GET /items/{key}" 200\n' for t, key in requests]
    (tmp_path / "b.log").write_text(lines[2] + lines[3], encoding="utf-8")
    (tmp_path / "a.log.gz").write_bytes(gzip.compress((lines[1] + lines[0]).encode()))
    text = '[$msec] "$request_method $request_uri" $status'
    told = imported(tmp_path, "b.log", "a.log.gz", "--log-format", text, "--keep-ids")
    assert trace(tmp_path) == [(key, t - 0.25, "items") for t, key in requests]
    assert any(n.startswith("requests that stood behind later ones: 1;") for n in told["notices"])
    assert (told["first"], told["last"]) == (1795197600.25, 1795197670.125)


def test_personal_data_stay_out_of_every_file_and_keys_are_hashed_anew(tmp_path: Path) -> None:
    secret = "anna@example.com"
    log = "".join(
        line(n, f"GET /users/{secret if n % 3 else n}?token=hush", address="198.51.100.77")
        for n in range(30)
    )
    (tmp_path / "access.log").write_text(log.replace('"m"', '"agent-x"'), encoding="utf-8")
    imported(tmp_path, "access.log")
    written = ["shop.toml", "shop.trace.csv", "shop.rules"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*written, "access.log"])
    text = "".join((tmp_path / name).read_text(encoding="utf-8") for name in written)
    for word in (secret, "anna", "hush", "198.51.100.77", "agent-x"):
        assert word not in text
    keys = [key for key, _, _ in trace(tmp_path)]
    assert len(set(keys)) == 11
    assert all(re.fullmatch("[0-9a-f]{16}", key) for key in keys)
    imported(tmp_path, "access.log", "--force")
    assert not {*keys} & {key for key, _, _ in trace(tmp_path)}
    imported(tmp_path, "access.log", "--force", "--keep-ids")
    assert secret in {key for key, _, _ in trace(tmp_path)}


def test_addresses_and_queries_are_keys_where_a_rule_names_them(tmp_path: Path) -> None:
    log = line(0, "POST /track", address="a") + line(1, "POST /track", address="b")
    log += line(2, "GET /find?q=shoe&x=1") + line(3, "GET /find?x=1")
    (tmp_path / "access.log").write_text(log, encoding="utf-8")
    told = imported(
        tmp_path, "access.log", "--keep-ids", "--endpoint", "track = POST /track by address",
        "--endpoint", "find = GET /find?q={q}",
    )  # fmt: skip
    assert [key for key, _, _ in trace(tmp_path)] == ["a", "b", "shoe", "1"]
    assert "requests of find without a q: 1; they share a key" in told["notices"]
    scenario = tomllib.loads((tmp_path / "shop.toml").read_text(encoding="utf-8"))
    assert scenario["endpoints"]["track"]["subject"] == "client"
    assert scenario["endpoints"]["find"]["path"] == "/find?q={q}"


def test_rules_that_were_written_can_be_given_back(tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text(
        "".join(line(n, f"GET /items/{n % 5}") + line(n, "GET /health") for n in range(20))
    )
    first = imported(tmp_path, "access.log")
    rules = tmp_path / "shop.rules"
    assert (
        imported(tmp_path, "access.log", "--rules", "shop.rules", "--force")["endpoints"]
        == (first["endpoints"])
    )
    rules.write_text(rules.read_text().replace("health = GET", "- = GET"), encoding="utf-8")
    told = imported(tmp_path, "access.log", "--rules", "shop.rules", "--force")
    assert [e["name"] for e in told["endpoints"]] == ["items"]
    assert told["left_out"] == {"a rule leaves them out": 20}


def test_whole_seconds_are_spread_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text(
        "".join(line(n // 50, f"GET /items/{n % 9}") for n in range(500)), encoding="utf-8"
    )
    told = imported(tmp_path, "access.log")
    assert any("spread over it at random" in notice for notice in told["notices"])
    times = [time for _, time, _ in trace(tmp_path)]
    assert times == sorted(times)
    assert len(set(times)) > 450
    assert [sum(n <= t < n + 1 for t in times) for n in range(2, 8)] == pytest.approx(
        [50] * 6, abs=9
    )


def test_compiled_and_plain_readers_write_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path / "access.log", lines=3000)
    options = (
        "access.log",
        "--keep-ids",
        "--ignore-agent",
        "curl",
        "--log-format",
        NGINX,
        "--force",
    )
    told = imported(tmp_path, *options)
    plain = [(tmp_path / f"shop.{end}").read_bytes() for end in ("toml", "trace.csv", "rules")]
    monkeypatch.setattr("scenarios.intake.transfer.COMPILED_FROM", 0)
    assert imported(tmp_path, *options) == told
    for end, content in zip(("toml", "trace.csv", "rules"), plain, strict=True):
        assert (tmp_path / f"shop.{end}").read_bytes() == content


def test_what_is_left_out_is_counted_with_its_first_place(tmp_path: Path) -> None:
    log = line(0, "GET /items/1") + "garbage\n" + line(1, "GET /app.js") + line(2, "GET /items/2")
    log += line(3, "\\x16\\x03") + line(4, "GET /items/3").replace("20/Nov", "32/Nov")
    (tmp_path / "access.log").write_text(log, encoding="utf-8")
    told = imported(tmp_path, "access.log")
    assert (told["lines"], told["requests"]) == (6, 2)
    assert sorted(told["left_out"].values()) == [1, 1, 1, 1]
    assert told["examples"]["the line is not of the format"] == "access.log:2"
    assert sum(told["left_out"].values()) + told["requests"] == told["lines"]


REFUSED = [
    (["none.log"], "none.log: cannot be read (No such file or directory)"),
    (["."], "cannot be read (Is a directory)"),
    (["empty.log"], "empty.log: is empty; give a log with requests"),
    (["bin.log"], "bin.log: is binary data, no log"),
    (["a.log", "a.log"], "a.log: is given twice, and would count twice"),
    (["a.log", "--format", "nginx"], "--format nginx: use combined, common"),
    (["a.log", "--format", "alb"], "a.log: no line is of alb; the first is"),
    (["a.log", "--format", "combined", "--log-format", "$msec $request"], "give one of them"),
    (["a.log", "--log-format", "$status"], "--log-format: names no time"),
    (["a.log", "--columns", "time=ts", "--format", "combined"], "--columns is of --format jsonl"),
    (["a.log", "--columns", "when=ts"], "write FIELD=NAME, each once"),
    (["a.log", "--time-unit", "m"], "--time-unit m: use s, ms, us, ns"),
    (["a.log", "--fields", "date,time"], "--fields is of --format cloudfront-realtime"),
    (["a.log", "--endpoint", "GET /a"], '--endpoint: "GET /a" is no rule; write NAME = GET'),
    (["a.log", "--endpoint", "a = GET /x{id}"], "is part of a segment"),
    (["a.log", "--endpoint", "A = GET /x"], "use 1 to 32 of a-z"),
    (["a.log", "--endpoint", "a = GET /x", "--endpoint", "a = GET /y"], "a stands twice"),
    (["a.log", "--endpoint", "- = GET /x"], "names no endpoint"),
    (["a.log", "--endpoint", "a = GET /none"], "no line is a request of an endpoint; 2 lines"),
    (["a.log", "--rules", "none"], "--rules none: cannot be read"),
    (["a.log", "--window", "0s"], "--window 0s: "),
    (["a.log", "--ignore-agent", " "], "--ignore-agent is empty"),
    (["common.log", "--ignore-agent", "bot"], "common.log holds no user agents"),
    (["bad.log"], "of 5 lines 3 cannot be read"),
    (["a.log", "--out", "a.txt"], "a scenario is called NAME.toml"),
    (["a.log", "--out", "no/a.toml"], "there is no folder no; make it first"),
    (["a.log", "--out", "there.toml"], "there.toml: is there already"),
]


@pytest.mark.parametrize(("arguments", "told"), REFUSED)
def test_what_cannot_be_used_is_one_line_and_writes_nothing(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "a.log").write_text(COMBINED, encoding="utf-8")
    (tmp_path / "bad.log").write_text(COMBINED + "x\ny\nz\n", encoding="utf-8")
    (tmp_path / "common.log").write_text(LOGS["common"], encoding="utf-8")
    (tmp_path / "empty.log").write_bytes(b"")
    (tmp_path / "bin.log").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "there.toml").write_bytes(b"")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    out = () if "--out" in arguments else ("--out", "x.toml")
    done = called("import", "log", *arguments, *out, "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_rotated_log_that_is_empty_is_passed_over_and_said(tmp_path: Path) -> None:
    (tmp_path / "access.log").write_bytes(b"")
    (tmp_path / "access.log.1").write_text(CLOUDFLARE, encoding="utf-8")
    assert "access.log: is empty" in imported(tmp_path, "access.log", "access.log.1")["notices"]


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    write_log(tmp_path / "access.log", lines=120_000)
    options = ("--out", "shop.toml", "--plain", "--endpoint", "product = GET /product/{id}")
    with running("import", "log", "access.log", *options, cwd=tmp_path) as command:
        command.wait_for("importing")
        command.interrupt()
        code, out, said = command.end()
    assert (code, out) == (130, "")
    assert said.splitlines()[-1] == "edgeproof: interrupted; nothing was written"
    assert [path.name for path in tmp_path.iterdir()] == ["access.log"]


@pytest.mark.parametrize("name", ["combined", "cloudfront", "cloudflare", "alb"])
@pytest.mark.parametrize("ending", ["log", "csv", "jsonl", "tsv"])
def test_an_access_log_given_as_a_trace_or_events_is_told_the_way(
    tmp_path: Path, name: str, ending: str
) -> None:
    (tmp_path / f"a.{ending}").write_text(LOGS[name], encoding="utf-8")
    hint = "an access log: edgeproof import log FILE --out NAME.toml reads it"
    done = called("scenario", "check", "baseline", "--trace", f"a.{ending}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(re.findall("access log.*edgeproof import log", done.stderr)) == 1
    assert done.stderr.count("import log") == 1
    if name != "cloudflare":  # JSON lines are no table, and are named as such
        done = called("attribute", "--paths", f"a.{ending}", cwd=tmp_path)
        assert done.returncode == 2
        assert hint in done.stderr
    done = called("import", "events", f"a.{ending}", "--db", "e.sqlite", cwd=tmp_path)
    assert done.returncode == 2
    assert hint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_copy_of_a_log_is_refused_and_would_count_twice(tmp_path: Path) -> None:
    text = "".join(line(n, f"GET /product/{n}") for n in range(60))
    (tmp_path / "a.log").write_text(text, encoding="utf-8")
    # Members one behind another are one file.
    members = gzip.compress(text[:2000].encode()) + gzip.compress(text[2000:].encode())
    (tmp_path / "a.log.gz").write_bytes(members)
    done = called("import", "log", "a.log", "a.log.gz", "--out", "shop.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "a.log.gz: begins with the same requests as a.log, which would count" in done.stderr
    assert imported(tmp_path, "a.log.gz")["requests"] == 60


def test_what_rules_and_latencies_leave_open_is_said(tmp_path: Path) -> None:
    lines = [line(n, "GET /product/1")[:-1] + f" {n % 2 or '-'}\n" for n in range(20)]
    (tmp_path / "a.log").write_text("".join(lines), encoding="utf-8")
    rules = ["a = GET /product/{a}", "b = GET /product/{b}", "c = GET /none", "d = * /product/1"]
    told = imported(
        tmp_path, "a.log", "--log-format",
        '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i" %T',
        *(part for rule in rules for part in ("--endpoint", rule)),
    )  # fmt: skip
    assert [(e["name"], e["requests"]) for e in told["endpoints"]] == [
        ("a", 0), ("b", 0), ("c", 0), ("d", 20),
    ]  # fmt: skip
    said = "\n".join(told["notices"])
    assert "no request is of b = GET /product/{b}: a = GET /product/{a} takes what fits" in said
    assert "no request is of c = GET /none; it is not in the scenario" in said
    assert "10 of 20 requests tell no latency" in said
    assert "latencies are whole seconds" in said


def test_the_unit_of_time_taken_in_a_w3c_log_can_be_stated(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(
        "#Fields: date time time-taken sc-status cs-method cs-uri-stem\n"
        + "".join(f"2026-11-20 18:00:{n:02d} 250 200 GET /product/{n}\n" for n in range(20)),
        encoding="utf-8",
    )
    told = imported(tmp_path, "a.log", "--duration-unit", "ms")
    assert told["endpoints"][0]["p50_ms"] == pytest.approx(250, rel=0.005)
    assert not any("time-taken" in notice for notice in told["notices"])
    told = imported(tmp_path, "a.log", "--force")
    assert told["endpoints"][0]["p50_ms"] == pytest.approx(250_000, rel=0.005)
    assert any("--duration-unit says otherwise" in notice for notice in told["notices"])
    (tmp_path / "b.log").write_text(line(0, "GET /product/1"), encoding="utf-8")
    done = called("import", "log", "b.log", "--out", "b.toml", "--duration-unit", "ms",
                  cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2
    assert "b.log: --duration-unit is of JSON durations and time-taken" in done.stderr


def test_json_lines_of_nginx_end_at_their_time_and_units_are_read(tmp_path: Path) -> None:
    rows = [
        {"time_iso8601": f"2026-11-20T18:00:{n:02d}.5+01:00", "request": "GET /a/1 HTTP/2.0",
         "status": "200", "request_time": "0.250"} for n in range(10)
    ]  # fmt: skip
    (tmp_path / "a.json").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    told = imported(tmp_path, "a.json")
    at = datetime(2026, 11, 20, 17, tzinfo=UTC).timestamp()
    assert told["first"] == pytest.approx(at + 0.25)
    # Google Cloud's httpRequest writes seconds as text.
    columns = "time=timestamp,path=r.url,status=r.status,duration=r.latency"
    for latency in ("0.0123s", "12.3ms"):
        row = {"timestamp": "2026-11-20T18:00:00.5Z",
               "r": {"url": "https://x/a/1", "status": 200, "latency": latency}}  # fmt: skip
        (tmp_path / "b.json").write_text((json.dumps(row) + "\n") * 4, "utf-8")
        told = imported(tmp_path, "b.json", "--force", "--columns", columns)
        assert told["endpoints"][0]["p50_ms"] == pytest.approx(12.3, rel=0.005)


def test_the_busiest_time_of_so_long_may_begin_within_a_minute(tmp_path: Path) -> None:
    lines = [
        line(n, "GET /product/1") for n in range(900) for _ in range(9 if 330 <= n < 390 else 1)
    ]
    (tmp_path / "a.log").write_text("".join(lines), encoding="utf-8")
    done = called("import", "log", "a.log", "--out", "a.toml", "--window", "60s", cwd=tmp_path)
    assert done.returncode == 0
    assert "runs the busiest 60 s from 2026-11-20 18:05:30: 540 requests" in done.stdout
