"""What a run says it was asked for: whole, without secrets, the same when it is drawn again."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from core.secrets import masked
from edgeproof.invocation import Invocation
from edgeproof.main import main

SCENARIO = """
name = "asked"
duration = "1s"
warm_up = "0s"

[traffic]
stages = [{ rate = 20.0 }]
users = 10
conversions = 5
"""
TRACE = "key\n" + "".join(f"k{i % 7}\n" for i in range(60))


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--host", "http://me:pw@h:1/x?token=abc&b=1"], ["--host", "http://***@h:1/x?token=***&b=***"]),
        (["--set", "destination.url=https://u@x.y/h?sig=z"], ["--set", "destination.url=https://***@x.y/h?sig=***"]),
        (["--set", "a.token=abc def"], ["--set", "a.token=***"]),
        (["--set=a.b_secret = 'x'"], ["--set=a.b_secret =***"]),
        (["--token", "abc", "next"], ["--token", "***", "next"]),
        (["--auth-token=abc"], ["--auth-token=***"]),
        (["--token-command", "API=curl -u me:pw"], ["--token-command", "***"]),
        (["--token-command=API=curl -u me:pw"], ["--token-command=***"]),
        (["--set", 'h={Authorization="Bearer abcdefgh", x-api-key="k1"}'],
         ["--set", 'h={Authorization="***", x-api-key="***"}']),
        (["Authorization: Bearer abcdefgh"], ["Authorization: *** ***"]),
        (["http://me:p@ss@h:1/x"], ["http://***@h:1/x"]),
        (["endpoints.track.path=/a?key=abc&user={user_id}"],
         ["endpoints.track.path=/a?key=***&user={user_id}"]),
        (["t={Cookie='a=b; c=d', Authorization=\"Token x y\"}"],
         ["t={Cookie='***', Authorization=\"***\"}"]),
        ([r'body="{\"api_key\": \"a b\", \"user\": \"{user_id}\"}"'],
         [r'body="{\"api_key\": \"***\", \"user\": \"{user_id}\"}"']),
        ([r"""body='{"pwd":"a\"b","n":1}'"""], ["""body='{"pwd":"***","n":1}'"""]),
        (["a.headers.X-Auth=a b"], ["a.headers.X-Auth=***"]),
        (["--set", 'h={X-Auth="a", Author="b"}'], ["--set", 'h={X-Auth="***", Author="b"}']),
        (["t={token='''a b'''}"], ["t={token='''***'''}"]),
    ],
)  # fmt: skip
def test_secrets_are_masked(arguments: list[str], shown: list[str]) -> None:
    assert masked(arguments) == shown


@pytest.mark.parametrize(
    "argument",
    [
        "destination.token_variable=MY_TOKEN", "tiers.l1.max_entries=500", "name=basic model",
        "endpoints.track.path=/a?user={user_id}", "attribution.order=2", "http://127.0.0.1:8787",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(argument: str) -> None:
    assert masked([argument]) == [argument]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "s.toml").write_text(SCENARIO)
    (tmp_path / "t.csv").write_text(TRACE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_and_reports_say_what_was_asked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "simulate", "s.toml", "--trace", "t.csv", "--trace-limit", "15", "--seed", "7",
        "--rate", "30", "--set=destination.url=local", "--out", "run", "--json",
    ]  # fmt: skip
    assert main(arguments) in (0, 1)
    asked = json.loads((here / "run" / "run.json").read_text())["asked"]
    record = json.loads((here / "run" / "record.json").read_text())
    assert asked["command"] == " ".join(["edgeproof", *arguments])
    assert asked["scenario"] == "s.toml"
    assert asked["scenario_hash"] == record["scenario_hash"]
    assert asked["changes"] == [
        "--trace t.csv", "--trace-limit 15", "--seed 7", "--rate 30",
        "--set destination.url=local",
    ]  # fmt: skip
    assert (asked["seed"], asked["highest_stage_rate"], asked["requests"]) == (7, 30, 15)
    digest = hashlib.sha256(TRACE.encode()).hexdigest()
    assert asked["trace"]["sha256"] == digest
    assert "asked" not in record
    texts = [asked["command"], asked["scenario_hash"], digest]

    def told(folder: Path) -> None:
        data = json.loads((folder / "report.json").read_text())
        facts = {fact["label"]: fact["value"] for fact in data["facts"]}
        assert facts["Command"] == asked["command"]
        assert facts["Seed"] == "7"
        for name in ("report.html", "report.md"):
            content = (folder / name).read_text()
            assert all(text in content for text in texts)

    told(here / "run")
    assert main(["report", "run", "--out", "again", "--json"]) in (0, 1)
    told(here / "again")
    assert main(["report", "run", "--json"]) in (0, 1)
    told(here / "run")
    capsys.readouterr()


def test_trace_with_times_of_its_own_has_its_rate_and_no_stage_s(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"k{index % 7},{index / 20}\n" for index in range(60))
    (here / "timed.csv").write_text(f"key,time\n{rows}")
    arguments = ["simulate", "s.toml", "--trace", "timed.csv", "--rate", "2x", "--out", "run"]
    assert main(arguments) in (0, 1)
    data = json.loads((here / "run" / "report.json").read_text())
    facts = {fact["label"]: fact["value"] for fact in data["facts"]}
    assert facts["Rate"] == "40 requests/s on average (20 in 0.5 s); the trace's own times"
    assert facts["Trace"].endswith("), 2 times as fast as recorded")
    capsys.readouterr()


@pytest.mark.parametrize("command", ["simulate", "plan"])
def test_a_trace_with_times_has_no_rate_of_the_stages(
    here: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    rows = "".join(f"k{i % 7},{i * 0.05:.2f}\n" for i in range(80))
    (here / "timed.csv").write_text(f"key,time\n{rows}")
    more = ["--max-rate", "20"] if command == "plan" else []
    arguments = [command, "s.toml", "--trace", "timed.csv", "--out", "run", "--json", *more]
    assert main(arguments) in (0, 1), capsys.readouterr().err
    capsys.readouterr()
    facts = json.loads((here / "run" / "report.json").read_text())["facts"]
    rate = {fact["label"]: fact["value"] for fact in facts}["Rate"]
    assert "the trace's own times" in rate
    assert "stages" not in rate


def test_run_of_an_older_version_is_still_drawn(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "s.toml", "--out", "run", "--json"]) in (0, 1)
    path = here / "run" / "run.json"
    data = json.loads(path.read_text())
    del data["asked"]
    path.write_text(json.dumps(data))
    assert main(["report", "run", "--json"]) in (0, 1)
    facts = json.loads((here / "run" / "report.json").read_text())["facts"]
    assert facts[0] == {"label": "Command", "value": "simulate"}
    capsys.readouterr()


def test_interrupted_command_says_what_is_kept(tmp_path: Path) -> None:
    run, database = tmp_path / "run", tmp_path / "cdp.sqlite"
    run.mkdir()
    database.write_bytes(b"rows")
    invocation = Invocation()
    invocation.watch(run, is_new=True)
    invocation.watch(database)
    (tmp_path / "cdp.sqlite-wal").touch()  # made by whoever opens it
    (run / "load").mkdir()
    assert invocation.written() == []
    (run / "load" / "plan.json").write_text("{}")
    assert invocation.end_early() == f"what was written is kept in {run}"
    (tmp_path / "cdp.sqlite-wal").write_bytes(b"row")
    assert invocation.written() == [run, database]


def test_interrupted_command_leaves_no_empty_folder(tmp_path: Path) -> None:
    made, given = tmp_path / "made", tmp_path / "given"
    made.mkdir()
    given.mkdir()
    invocation = Invocation()
    invocation.watch(made, is_new=True)
    invocation.watch(given)
    assert invocation.end_early() == "nothing was written"
    assert os.listdir(tmp_path) == ["given"]
