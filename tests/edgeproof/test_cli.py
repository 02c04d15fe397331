"""The command line: its help, its refusals, its output, its exit codes and its folders."""

from __future__ import annotations

import csv
import itertools
import json
import lzma
import math
import os
import pty
import re
import socket
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.application.seeding import seed_database
from core.attribution.models import MODELS
from core.ledger.stored_credits import credit_rows
from core.metrics.kpi import ALIASES, Outcome
from core.metrics.record import RunRecord, read_record, write_record
from core.query.database import SqliteDatabase
from core.query.statements import CHANNEL_TOTALS
from core.scenario.file import load_scenario, parse_scenario, scenario_data
from core.scenario.population import populate
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from edgeproof.finish import exit_code
from edgeproof.main import main
from edgeproof.options import Judging
from scenarios.catalogue import shipped
from sim.simulate import simulate
from tests.edgeproof.commands import (
    SMALL,
    Watched,
    called,
    descendants,
    edgeproof,
    environment,
    running,
)

ESCAPE = "\x1b"
SUMMARY_KEYS = [
    "schema_version", "outcome", "out", "invalid", "doubts", "kpis", "requests", "failures",
    "latencies", "cost",
]  # fmt: skip
KPI_KEYS = [
    "metric", "target", "alert", "predicted", "predicted_interval", "predicted_outcome",
    "predicted_runs", "measured", "measured_interval", "measured_outcome", "measured_runs",
    "measured_possible", "error", "error_possible", "error_interval",
    "error_in_doubt",
]  # fmt: skip
REPORT_FILES = {"report.html", "report.json", "report.md", "junit.xml", "figures"}


# Help.

SCENARIO = [
    "--trace", "--trace-offset", "--trace-limit", "--time-unit", "--seed", "--rate", "--set",
]  # fmt: skip
VERDICT = ["--gate", "--require", "--strict", "--plain", "--json", "--out"]
LOAD = ["--host", "--i-am-allowed-to-load", "--max-rate", "--max-duration"]
OPTIONS: dict[tuple[str, ...], list[str]] = {
    (): [
        "simulate",
        "serve",
        "load",
        "prove",
        "plan",
        "report",
        "compare",
        "attribute",
        "bench",
        "scenario",
        "queue",
        "outbox",
    ],
    ("simulate",): [*SCENARIO, *VERDICT, "--kpi"],
    ("load",): [*SCENARIO, *VERDICT, *LOAD, "--kpi", "--repeat", "--find-capacity", "--step"],
    ("prove",): [*SCENARIO, *VERDICT, *LOAD, "--kpi"],
    ("plan",): ["--kpi", "--seed", "--rate", "--set", "--out", "--plain", "--json"],
    ("report",): VERDICT,
    ("compare",): ["--max-regression", "--strict", "--out", "--json", "--markdown", "--plain"],
    ("serve",): [*SCENARIO, "--bind", "--port", "--data", "--redis", "--no-emulation"],
    ("scenario",): ["new", "list", "check", "schema", "data"],
    ("scenario", "new"): ["--like"],
    ("scenario", "list"): [],
    ("scenario", "check"): SCENARIO,
    ("scenario", "schema"): [],
    ("scenario", "data"): [*SCENARIO, "--out"],
    ("attribute",): [
        "--db",
        "--paths",
        "--from",
        "--to",
        "--model",
        "--order",
        "--without-nulls",
        "--jobs",
        "--out",
        "--plain",
        "--json",
    ],
    ("bench",): ["run", "check", "accept"],
    ("bench", "run"): ["-k", "--json"],
    ("bench", "check"): [],
    ("bench", "accept"): ["--reason"],
    ("queue",): ["status", "dead", "retry"],
    ("queue", "status"): ["--db", "--plain", "--json"],
    ("queue", "dead"): ["--db", "--plain", "--json"],
    ("queue", "retry"): ["--db", "--id", "--json"],
    ("outbox",): ["status", "dead", "retry"],
    ("outbox", "status"): ["--db", "--plain", "--json"],
    ("outbox", "dead"): ["--db", "--plain", "--json"],
    ("outbox", "retry"): ["--db", "--id", "--json"],
}


@pytest.mark.parametrize("command", OPTIONS, ids=" ".join)
def test_help_exits_0_and_names_every_option(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--help"]) == 0
    shown = capsys.readouterr()
    words = set(re.findall(r"--?[a-z][a-z-]*|\b[a-z]+\b", shown.out))
    assert set(OPTIONS[command]) <= words
    assert "--help" in words
    assert shown.err == ""


def test_exit_codes_stand_in_the_help_of_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-h"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("0 all targets met", "1 a KPI misses", "2 usage", "3 the run cannot", "4 incon"):
        assert words in out


# Refusals.


def write_scenario(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what *arguments* are refused with: exit code 2 and lines of edgeproof's only."""
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines
    assert all(line.startswith("edgeproof:") for line in lines), shown.err
    assert "Traceback" not in shown.err
    return shown.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    for name in ("EDGEPROOF_TOKEN", "EDGEPROOF_ALLOWED_HOSTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("nothing", "No such command 'nothing'"),
        ("simulate", "Missing argument 'SCENARIO'"),
        ("simulate baseline --nothing", "No such option: --nothing"),
        ("simulate baseline --seed", "--seed"),
        ("simulate baseline --seed one", "valid integer"),
        ("simulate baseline --seed -1", "--seed"),
        ("simulate baseline --rate fast", "--rate"),
        ("simulate baseline --rate -5", "--rate is -5"),
        ("simulate baseline --rate 0", "--rate is 0"),
        ("simulate baseline --rate nan", "--rate is nan"),
        ("simulate baseline --rate inf", "--rate is inf"),
        ("simulate nothing", "nothing: no such scenario file"),
        ("simulate .", "is a folder"),
        ("simulate baseline --set traffic", "--set traffic"),
        ("simulate baseline --set =3", "write it as PATH=VALUE"),
        ("simulate baseline --set traffic.userz=3", "traffic.userz is not a known key"),
        ("simulate baseline --set kpis[9].target=3", "leads nowhere"),
        ("simulate baseline --set kpis[x].target=3", "not a field"),
        ("simulate baseline --set traffic.stages[0].rate=-1", "at least 0"),
        ("simulate baseline --set duration=5", "duration"),
        ("simulate baseline --set duration=-5s", "'-5s' is negative"),
        ("simulate baseline --set endpoints.track.cpu=fast", "endpoints.track.cpu"),
        ("simulate baseline --set topology.cpu=fast", "write endpoints.NAME.cpu"),
        ("simulate baseline --set traffic.stages[0].rate=1e6", "requests"),
        ("simulate baseline --require p95_nothing", "--require 'p95_nothing' is not a metric"),
        ("simulate baseline --gate never", "--gate never: use one of target, alert"),
        ("simulate baseline --gate model", "--gate model: use one of target, alert"),
        ("simulate baseline --trace nothing.csv", "nothing.csv"),
        ("simulate baseline --trace .", "a folder or a device"),
        ("simulate baseline --trace notes.txt", "no trace format"),
        ("simulate baseline --rate 8xx", "--rate is '8xx'; give requests/s, such as 400, or"),
        ("simulate baseline --trace-limit 0", "--trace-limit"),
        ("plan nothing", "no such scenario file"),
        ("plan baseline --gate target", "No such option: --gate"),
        ("load baseline", "--host is missing"),
        ("load baseline --host nothing", "not an http or https URL"),
        ("load baseline --host ftp://127.0.0.1", "not an http or https URL"),
        ("load baseline --host http://me:secret@127.0.0.1", "credentials"),
        ("load baseline --host http://127.0.0.1:1/?a=b", "a query or fragment"),
        ("load baseline --host http://192.0.2.1", "--i-am-allowed-to-load 192.0.2.1"),
        ("load baseline --host http://127.0.0.1:1 --max-duration long", "--max-duration"),
        ("load baseline --host http://127.0.0.1:1", "http://127.0.0.1:1 takes no connection"),
        ("prove baseline --host http://127.0.0.1:1", "takes no connection"),
        ("prove baseline --gate nothing", "use one of target, alert, model"),
        ("serve baseline --port 70000", "--port"),
        ("serve nothing", "no such scenario file"),
        ("serve baseline --port 0 --redis nothing", "nothing"),
        ("report", "Missing argument"),
        ("report nothing", "nothing: no such folder"),
        ("report .", "no such record"),
        ("scenario data baseline", "Missing option '--out'"),
        ("scenario check nothing", "no such scenario file"),
        ("bench accept", "Missing option '--reason'"),
    ],
)
def test_bad_input_is_refused_in_words_and_leaves_nothing_behind(
    arguments: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(arguments.split(), capsys)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "not valid TOML"),
        ("", "name is missing"),
        ('name = "x"\nspeed = 3', "speed is not a known key"),
        ('name = "../x"', "name is"),
        ('name = "x"\n[traffic]\nstages = [{rate = -5}]', "traffic.stages[0].rate is -5"),
        ('name = "x"\n[tiers.l1]\nmax_entries = 0', "tiers.l1.max_entries is 0"),
        ('name = "x"\n[[kpis]]\nmetric = "p95"\ntarget = "1"\nalert = "2"', "not a metric"),
    ],
)
def test_fault_of_a_scenario_file_is_named_with_its_file_and_field(
    text: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_scenario(folder, text)
    said = refused(["simulate", path], capsys)
    assert words in said
    assert said.startswith(f"edgeproof: {path}: ")


def test_every_fault_of_a_scenario_file_has_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'name = "x"\nspeed = 3\nseed = -1\n[traffic]\nusers = 0\n'
    said = refused(["scenario", "check", write_scenario(folder, text)], capsys)
    assert len(said.splitlines()) == 3


def test_file_that_is_no_scenario_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "image.toml").write_bytes(bytes(range(256)))
    assert "not valid TOML" in refused(["simulate", "image.toml"], capsys)
    (folder / "large.toml").write_bytes(b"#" * 2_000_000)
    assert "larger than" in refused(["simulate", "large.toml"], capsys)


def test_trace_that_was_cut_in_half_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = np.random.default_rng(1).integers(0, 500, 40_000).astype(">u4").tobytes()
    whole = lzma.compress(keys)
    (folder / "whole.trace.xz").write_bytes(whole)
    (folder / "cut.trace.xz").write_bytes(whole[: len(whole) // 2])
    arguments = ["scenario", "check", "baseline", "--rate", "60", *SMALL[-4:]]  # without users
    assert main([*arguments, "--trace", "whole.trace.xz"]) == 0
    assert "Real keys from" in capsys.readouterr().out
    assert "cannot be read on" in refused([*arguments, "--trace", "cut.trace.xz"], capsys)
    said = refused([*arguments, "--trace", "whole.trace.xz", "--trace-offset", "39999"], capsys)
    assert "lower --rate, the duration or --trace-offset" in said


@pytest.mark.parametrize("option", ["--trace-offset", "--trace-limit"])
def test_part_of_a_trace_needs_a_trace(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["simulate", "baseline", option, "5"], capsys)
    field = option.removeprefix("--").replace("-", ".")
    assert f"{option} 5: {field} needs a trace; give --trace FILE" in said


def test_out_that_cannot_be_used_is_refused_before_anything_runs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("mine", encoding="utf-8")
    (folder / "full").mkdir()
    (folder / "full" / "mine").write_text("mine", encoding="utf-8")
    for out, words in [
        ("file", "is a file"),
        ("full", "is not empty"),
        ("file/under", "cannot be made"),
    ]:
        assert words in refused(["simulate", "baseline", *SMALL, "--out", out], capsys)
        assert words in refused(["scenario", "data", "baseline", "--out", out], capsys)
    assert (folder / "file").read_text(encoding="utf-8") == "mine"
    assert [path.name for path in (folder / "full").iterdir()] == ["mine"]
    (folder / "runs").write_text("mine", encoding="utf-8")
    assert "runs: is a file" in refused(["simulate", "baseline", *SMALL], capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_out_that_may_not_be_written_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "locked").mkdir(mode=0o555)
    for out in ("locked", "locked/under"):
        said = refused(["simulate", "baseline", *SMALL, "--out", out], capsys)
        assert f"--out {out}" in said


def test_port_that_is_taken_is_refused_by_serve(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = edgeproof("serve", "baseline", *SMALL, "--port", port, cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.endswith(
        f"edgeproof: 127.0.0.1:{port}: Address already in use; choose another --port\n"
    )


def test_refusal_of_a_process_is_its_exit_code_and_one_line_on_stderr(folder: Path) -> None:
    done = edgeproof("simulate", "baseline", "--set", "traffic.userz=3", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"edgeproof: --set \S+: traffic\.userz is not a .*\n", done.stderr)


def test_interrupt_is_one_line_whatever_it_strikes_before_its_start(folder: Path) -> None:
    code = """
import sys, edgeproof.main as entry
async def never(): pass
def app(**_):
    made = never()
    raise KeyboardInterrupt
entry.app = app
sys.exit(entry.main([]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    said = "edgeproof: interrupted; nothing was written\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)


def test_output_that_has_no_room_is_one_line(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgeproof", "scenario", "list"],
            cwd=folder, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    said = "the output cannot be written (No space left on device); make room for it"
    assert (done.returncode, done.stderr) == (2, f"edgeproof: {said}\n")


def test_full_standard_error_does_not_look_like_a_missed_target(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgeproof", "simulate", "nowhere"],
            cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=full, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")


def test_reader_that_goes_away_ends_the_command_quietly(folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "edgeproof", "scenario", "schema"],
            cwd=folder, env=environment(), stdout=write, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


# Exit codes.

OUTCOMES = [Outcome.PASS, Outcome.WARN, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.NOT_MEASURED]


def options(gate: Any = "target", *, strict: bool = False) -> Judging:
    return Judging(gate=gate, required=(), strict=strict, plain=True, as_json=False)


@pytest.mark.parametrize("gate", ["target", "alert", "model"])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("model_holds", [False, True])
def test_exit_code_is_3_before_1_before_4_before_0(
    gate: str, strict: bool, model_holds: bool
) -> None:
    """Against the rule as the design states it, over every set of three outcomes."""
    from core.metrics.kpi import overall

    for outcomes in itertools.product(OUTCOMES, repeat=3):
        misses = Outcome.FAIL in outcomes or (gate != "alert" and Outcome.WARN in outcomes)
        if misses or (gate == "model" and not model_holds):
            expected = 1
        elif strict and Outcome.INCONCLUSIVE in outcomes:
            expected = 4
        else:
            expected = 0
        judged = options(gate, strict=strict)
        assert (
            exit_code(overall(outcomes), outcomes, judged, model_holds=model_holds) == expected
        ), outcomes
        invalid = [Outcome.INVALID] * 3
        assert exit_code(Outcome.INVALID, invalid, judged, model_holds=model_holds) == 3


def test_required_kpi_that_was_not_measured_fails() -> None:
    assert exit_code(Outcome.FAIL, [Outcome.PASS, Outcome.NOT_MEASURED], options()) == 1
    assert exit_code(Outcome.FAIL, [Outcome.PASS, Outcome.NOT_MEASURED], options("alert")) == 1
    assert exit_code(Outcome.PASS, [Outcome.PASS, Outcome.NOT_MEASURED], options("alert")) == 0


# Real runs.


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the runs of this module lie."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def simulated(home: Path) -> subprocess.CompletedProcess[str]:
    """Return how the first `edgeproof simulate` ended; its run is runs/baseline-1."""
    return edgeproof("simulate", "baseline", *SMALL, cwd=home)


@pytest.fixture(scope="module")
def as_json(
    home: Path, simulated: subprocess.CompletedProcess[str]
) -> subprocess.CompletedProcess[str]:
    """Return how the same with --json ended; its run is runs/baseline-2."""
    return edgeproof("simulate", "baseline", *SMALL, "--json", cwd=home)


def parsed(text: str) -> dict[str, Any]:
    """Return the JSON object that *text* is, with every key as documented."""
    assert text.count("\n") == 1
    data: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    assert list(data) == SUMMARY_KEYS
    for kpi in data["kpis"]:
        assert list(kpi) == KPI_KEYS
    return data


def test_run_leaves_its_record_its_requests_its_facts_and_a_report(
    home: Path, simulated: subprocess.CompletedProcess[str]
) -> None:
    assert simulated.returncode == 0, simulated.stderr
    run = home / "runs" / "baseline-1"
    names = {path.name for path in run.iterdir()}
    assert names == {"record.json", "requests.npz", "run.json", *REPORT_FILES}
    assert simulated.stdout.splitlines()[-1] == "Report: runs/baseline-1/report.html"
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert facts["command"] == "simulate"
    assert socket.gethostname() not in (run / "run.json").read_text(encoding="utf-8")
    with np.load(run / "requests.npz") as columns:
        assert columns["intended"].size == read_record(run / "record.json").planned


def test_piped_output_is_a_plain_table_and_plain_progress(
    simulated: subprocess.CompletedProcess[str],
) -> None:
    assert ESCAPE not in simulated.stdout + simulated.stderr
    assert simulated.stdout.startswith("KPI ")
    for name in ALIASES:
        assert re.search(rf"^{name} .* (PASS|WARN|FAIL|INCONCLUSIVE)", simulated.stdout, re.M)
    phases = [line.split(":")[0] for line in simulated.stderr.splitlines()]
    assert list(dict.fromkeys(phases)) == ["simulating", "replicating"]


def test_json_is_one_object_with_the_documented_keys_and_nothing_else(
    as_json: subprocess.CompletedProcess[str],
) -> None:
    assert (as_json.returncode, as_json.stderr) == (0, "")
    data = parsed(as_json.stdout)
    assert (data["schema_version"], data["outcome"]) == (1, "PASS")
    assert {kpi["metric"] for kpi in data["kpis"]} == set(ALIASES)
    for kpi in data["kpis"]:
        low, high = kpi["predicted_interval"]
        assert low <= high
        assert kpi["measured"] is kpi["measured_interval"] is kpi["measured_outcome"] is None


def test_second_run_has_a_folder_of_its_own_and_the_same_bytes(
    home: Path, as_json: subprocess.CompletedProcess[str]
) -> None:
    first, second = home / "runs" / "baseline-1", home / "runs" / "baseline-2"
    assert parsed(as_json.stdout)["out"] == "runs/baseline-2"
    for name in ("record.json", "requests.npz"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.fixture(scope="module")
def judged_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run with a KPI of each outcome."""
    data = scenario_data(load_scenario(shipped()["baseline"]))
    data |= {"duration": "2s", "warm_up": "1s"}
    data["traffic"] |= {
        "stages": [{"rate": 60}], "users": 60, "conversions": 30,
        "mix": {"track": 1, "attribution": 0, "journey": 1, "channels": 0},
    }  # fmt: skip
    scenario = parse_scenario(data, source="test")
    record = simulate(scenario, replications=3).record
    p50 = record.replications[0]["p50(track)"]
    data["kpis"] = [
        {"metric": "error_ratio", "target": "< 1%", "alert": "> 2%"},
        {"metric": "p50(query)", "target": "< 1ms", "alert": "> 10s"},
        {"metric": "p50(track)", "target": f"< {p50:.9f}s", "alert": "> 10s"},
        {"metric": "p95_attribution", "target": "< 1s", "alert": "> 2s"},
    ]
    record = simulate(parse_scenario(data, source="test"), replications=3).record
    folder = tmp_path_factory.mktemp("judged") / "run"
    folder.mkdir()
    write_record(record, folder / "record.json")
    return folder


def outcomes_of(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, str]]:
    """Judge *run* again with --json into a new folder; return exit code and outcomes."""
    out = folder / f"report-{len(list(folder.iterdir()))}"
    code = main(["report", str(run), "--json", "--out", str(out), *arguments])
    shown = capsys.readouterr()
    assert shown.err == ""
    assert {path.name for path in out.iterdir()} == REPORT_FILES
    return code, {kpi["metric"]: kpi["predicted_outcome"] for kpi in parsed(shown.out)["kpis"]}


def test_gate_strict_and_require_decide_on_the_exit_code_of_one_run(
    judged_run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {
        "error_ratio": "PASS",
        "p50(query)": "WARN",
        "p50(track)": "INCONCLUSIVE",
        "p95_attribution": "NOT_MEASURED",
    }
    assert outcomes_of(judged_run, folder, capsys, "--strict") == (1, expected)
    alert = ("--gate", "alert", "--strict")
    assert outcomes_of(judged_run, folder, capsys, *alert) == (4, expected)
    required = (*alert, "--require", "p95(attribution)")
    assert outcomes_of(judged_run, folder, capsys, *required) == (1, expected)


def run_with(record: RunRecord, folder: Path) -> str:
    folder.mkdir()
    write_record(record, folder / "record.json")
    return str(folder)


@pytest.mark.parametrize("name", ["run.json", "plan.json", "record.json"])
@pytest.mark.parametrize("text", ["[" * 2_000, "9" * 5_000, '{"workers": 1e999}'])
def test_report_of_files_that_are_none_is_refused_by_their_name(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    run = folder / "broken"
    run.mkdir()
    (run / name).write_text(text)
    assert str(run / name) in refused(["report", str(run)], capsys)


def test_report_refuses_what_cannot_be_compared_and_makes_no_folder(
    judged_run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    record = read_record(judged_run / "record.json")
    other = run_with(replace(record, engine="load", workload_hash="0" * 64), folder / "other")
    said = refused(["report", str(judged_run), other, "--out", "new"], capsys)
    assert "not the same requests" in said
    assert not (folder / "new").exists()
    assert "a second run that is predicted" in refused(
        ["report", str(judged_run), str(judged_run)], capsys
    )
    (folder / "broken").mkdir()
    for name, text in itertools.product(
        ("record.json", "run.json", "plan.json"), ("{", "[]", "3", '{"schema": 1}')
    ):
        for path in (folder / "broken").iterdir():
            path.unlink()
        (folder / "broken" / "record.json").write_bytes((judged_run / "record.json").read_bytes())
        (folder / "broken" / name).write_text(text, encoding="utf-8")
        assert name in refused(["report", "broken"], capsys)
    (folder / "broken" / "plan.json").unlink()


def test_report_of_a_run_that_cannot_be_trusted_goes_into_the_run_and_exits_3(
    judged_run: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    from core.metrics.record import Audit

    record = read_record(judged_run / "record.json")
    audit = Audit(
        lag_p50=0.0, lag_p99=1.0, lag_limit=0.005, cpu_share=0.1, planned=record.planned,
        sent=record.planned, dropped=(), rendered_hash=record.workload_hash, inversions=0,
        largest_displacement=0, delay_error_mean=None, generator_speed=None, service_speed=None,
        invalid=("the generator sent 1 % of the requests more than 1,000 ms late",),
    )  # fmt: skip
    run = run_with(replace(record, engine="load", audit=audit, replications=()), tmp_path / "run")
    done = edgeproof("report", run, "--gate", "alert", cwd=tmp_path)
    assert done.returncode == 3
    assert "INVALID: the generator sent 1 % of the requests" in done.stdout
    assert done.stdout.splitlines()[-1] == f"Report: {run}/report.html"
    assert {path.name for path in Path(run).iterdir()} == {"record.json", *REPORT_FILES}
    asked = called("report", run, "--json", cwd=tmp_path)
    assert asked.returncode == 3
    told = json.loads(asked.stdout)
    assert told["outcome"] == "INVALID"
    assert told["invalid"] == list(audit.invalid)
    assert json.loads((Path(run) / "report.json").read_text())["invalid"] == list(audit.invalid)
    for name in ("report.md", "report.html", "junit.xml"):
        assert audit.invalid[0] in (Path(run) / name).read_text(), name


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("clean start: not possible: http://h: the host answered 405", True),
        ("clean start: clean", False),
        ("clean start: fresh service processes", False),
    ],
)
def test_a_start_that_was_not_clean_is_said_on_the_terminal(
    judged_run: Path, tmp_path: Path, note: str, said: bool
) -> None:
    from dataclasses import replace

    record = read_record(judged_run / "record.json")
    measured = replace(record, engine="load", replications=(), notes=(*record.notes, note))
    run = run_with(measured, tmp_path / "run")
    done = called("report", run, cwd=tmp_path)
    assert ("Start not clean: " in done.stdout) == said
    if said:
        assert "(http://h: the host answered 405)." in done.stdout


# A terminal.

SHOW = """
from edgeproof.finish import show_table
rows = [("KPI", "target", "verdict"), ("p95_track", "< 100ms", "FAIL"), ("x", "< 1s", "PASS")]
show_table(rows, plain={plain})
"""


def on_a_terminal(folder: Path, *, plain: bool, **variables: str) -> str:
    """Return what a table looks like on a terminal."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", SHOW.format(plain=plain)],
            cwd=folder, env=environment(TERM="xterm-256color", **variables),
            stdout=theirs, stderr=theirs, check=True,
        )  # fmt: skip
        return os.read(ours, 100_000).decode()
    finally:
        os.close(theirs)
        os.close(ours)


def test_verdicts_have_colour_on_a_terminal_unless_it_is_not_wanted(tmp_path: Path) -> None:
    colour = re.compile(r"\x1b\[[0-9;]*\b3[0-7]m")
    assert colour.search(on_a_terminal(tmp_path, plain=False))
    bare = on_a_terminal(tmp_path, plain=False, NO_COLOR="1")
    assert not colour.search(bare)
    assert "FAIL" in bare
    assert ESCAPE not in on_a_terminal(tmp_path, plain=True)


# Scenarios.


def test_list_names_every_shipped_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped())


@pytest.mark.parametrize("name", shipped())
def test_check_says_what_a_shipped_scenario_asks_for(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenario", "check", name]) == 0
    out = capsys.readouterr().out
    workload = prepare(load_scenario(shipped()[name])).workload
    assert f"{name}: {len(workload):,} requests in " in out
    assert f"requests {workload.identity()}" in out


def faults(schema: dict[str, Any], value: Any, root: dict[str, Any], place: str = "$") -> list[str]:
    """Return where *value* breaks *schema*: the part of JSON Schema that pydantic writes."""
    if "$ref" in schema:
        return faults(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root, place)
    if "anyOf" in schema and all(faults(one, value, root, place) for one in schema["anyOf"]):
        return [f"{place}: none of anyOf"]
    found = []
    kinds: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
        "number": (int, float), "null": type(None),
    }  # fmt: skip
    if "type" in schema:
        is_bool = isinstance(value, bool) and schema["type"] != "boolean"
        if is_bool or not isinstance(value, kinds[schema["type"]]):
            return [f"{place}: not of type {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{place}: not in enum")
    if isinstance(value, dict):
        found += [f"{place}: {n} is missing" for n in schema.get("required", ()) if n not in value]
        for name, item in value.items():
            inner = f"{place}.{name}"
            patterns = schema.get("patternProperties", {})
            matching = [part for pattern, part in patterns.items() if re.search(pattern, name)]
            if name in schema.get("properties", {}):
                found += faults(schema["properties"][name], item, root, inner)
            elif matching:
                found += faults(matching[0], item, root, inner)
            elif schema.get("additionalProperties") is False:
                found.append(f"{inner}: not allowed")
            elif isinstance(schema.get("additionalProperties"), dict):
                found += faults(schema["additionalProperties"], item, root, inner)
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            found.append(f"{place}: too few")
        for number, item in enumerate(value):
            found += faults(schema.get("items", {}), item, root, f"{place}[{number}]")
    elif isinstance(value, str):
        if not re.search(schema.get("pattern", ""), value):
            found.append(f"{place}: does not match")
    elif isinstance(value, int | float) and not (
        schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
        and value < schema.get("exclusiveMaximum", math.inf)
    ):
        found.append(f"{place}: out of range")
    return found


@pytest.fixture
def schema(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what `scenario schema` prints."""
    assert main(["scenario", "schema"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("name", shipped())
def test_schema_takes_every_shipped_scenario(name: str, schema: dict[str, Any]) -> None:
    assert faults(schema, tomllib.loads(shipped()[name].read_text(encoding="utf-8")), schema) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("speed",), 3),
        (("traffic", "userz"), 3),
        (("traffic", "users"), 0),
        (("traffic", "stages"), []),
        (("traffic", "stages"), [{"rate": -1}]),
        (("start",), "lukewarm"),
        (("name",), "a/b"),
        (("tiers", "l1", "scope"), "process"),
        (("tiers", "l2", "read"), {"p50": 4}),
        (("tiers", "single_flight"), []),
        (("faults",), [{"at": "1s", "for": "1s", "tier": "l4", "kind": "dead"}]),
    ],
)
def test_schema_refuses_what_the_program_refuses(
    path: tuple[str, ...], value: Any, schema: dict[str, Any]
) -> None:
    from core.errors import InputError

    data = tomllib.loads(shipped()["reference"].read_text(encoding="utf-8"))
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert faults(schema, data, schema)
    with pytest.raises(InputError):
        parse_scenario(data, source="test")


READABLE = {"credits": "touch_credits", "channel_totals": "channel_performance"}
"""The views that are written in place of tables whose rows are packed."""


def test_data_holds_what_the_service_is_seeded_with(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenario", "data", "baseline", *SMALL, "--out", "rows"]) == 0
    out = capsys.readouterr().out
    scenario = small()
    connection = SqliteDatabase(None, inline=True).connection
    seed_database(connection, populate(scenario, prepare(scenario).workload))
    tables = {
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if connection.execute(f"SELECT 1 FROM {name}").fetchone()
    }
    assert tables >= READABLE.keys()
    files = {READABLE.get(table, table) for table in tables}
    assert {path.name for path in (folder / "rows").iterdir()} == {f"{name}.csv" for name in files}
    read: dict[str, list[dict[str, str]]] = {}
    for name in files:
        with (folder / "rows" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        seeded = connection.execute(f"SELECT {', '.join(header)} FROM {name}").fetchall()
        assert rows == [["" if cell is None else str(cell) for cell in row] for row in seeded]
        assert f"{name}.csv: {len(rows):,} rows" in out
        # Columns that are left out hold nothing.
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        for column in set(columns) - {*header, "id"}:
            values = {row[0] for row in connection.execute(f"SELECT {column} FROM {name}")}
            assert values == {None}
        read[name] = [dict(zip(header, row, strict=True)) for row in rows]
    assert_packed(connection, read["touch_credits"], read["channel_performance"])
    connection.close()


def assert_packed(
    connection: sqlite3.Connection,
    touches: Sequence[dict[str, str]],
    totals: Sequence[dict[str, str]],
) -> None:
    """Assert that the rows of the views hold all that the packed tables do."""
    packed = []
    for name, found in itertools.groupby(touches, key=lambda row: row["conversion_id"]):
        of_one = sorted(found, key=lambda row: int(row["touchpoint_index"]))
        shares = [[float(row[model]) for row in of_one] for model in MODELS]
        packed += credit_rows(name, [row["utm_source"] for row in of_one], shares)
    columns = "conversion_id, first_touch, touchpoints, touches"
    assert packed == connection.execute(f"SELECT {columns} FROM credits ORDER BY 1, 2").fetchall()
    of_models = {(row["utm_source"], row["attribution_model"]): row for row in totals}
    names = [f"total_{what}" for what in ("attribution", "conversions", "value")]
    kept = connection.execute(CHANNEL_TOTALS.sql).fetchall()
    assert {channel for channel, _ in of_models} == {channel for channel, *_ in kept}
    for channel, *sums in kept:
        rows = [of_models.get((channel, model), dict.fromkeys(names, "0")) for model in MODELS]
        assert [float(row[name]) for row in rows for name in names] == sums


def small() -> Scenario:
    """Return the scenario that SMALL makes of the baseline."""
    overrides = [text for text in SMALL if "=" in text]
    return load_scenario(shipped()["baseline"], overrides=overrides, rate=60.0)


# A service, and loads of it.

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[str]:
    """Yield the URL of `edgeproof serve` with a token."""
    with running(
        "serve", "baseline", *SMALL, "--port", "0", cwd=home, EDGEPROOF_TOKEN=TOKEN
    ) as command:
        yield command.wait_for("Serving baseline on ", on_stdout=True).split()[-1]
        command.interrupt()
        code, _, said = command.end()
        assert code == 0
        assert "Traceback" not in said


def test_load_of_a_service_starts_clean_and_compares_with_its_prediction(
    home: Path, service: str, simulated: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    done = edgeproof(
        "load", "baseline", *SMALL, "--host", service, "--out", str(tmp_path / "load"), "--json",
        cwd=home, variables={"EDGEPROOF_TOKEN": TOKEN},
    )  # fmt: skip
    data = parsed(done.stdout)
    assert (done.returncode, done.stderr) in [(0, ""), (1, ""), (3, "")]
    measured = read_record(tmp_path / "load" / "record.json")
    predicted = read_record(home / "runs" / "baseline-1" / "record.json")
    assert measured.workload_hash == predicted.workload_hash
    assert measured.audit is not None
    assert measured.audit.rendered_hash == measured.workload_hash
    assert "clean start: clean" in measured.notes
    assert all(kpi["measured"] is not None for kpi in data["kpis"])
    assert all(kpi["predicted"] is None for kpi in data["kpis"])
    out = tmp_path / "both"
    both = called(
        "report", str(home / "runs" / "baseline-1"), str(tmp_path / "load"), "--json",
        "--out", str(out), cwd=home,
    )  # fmt: skip
    # Judged by the measurement; the prediction stands beside it.
    assert both.returncode == done.returncode
    for kpi, alone in zip(parsed(both.stdout)["kpis"], data["kpis"], strict=True):
        assert kpi["measured"] == alone["measured"]
        assert kpi["predicted"] is not None
        assert kpi["error"] is not None
    assert "Model: " in (out / "report.html").read_text(encoding="utf-8")


# Ctrl-C.


@pytest.mark.parametrize(("engine", "duration"), [("reference", "300s"), ("compiled", "4000s")])
def test_ctrl_c_while_simulating_exits_130_without_a_traceback(
    tmp_path: Path, engine: str, duration: str
) -> None:
    options = ("--set", f"duration={duration}", "--set", "attribution.fit_every=0")
    with running("simulate", "baseline", *options, "--engine", engine, cwd=tmp_path) as command:
        command.wait_for("simulating: 0 %")
        command.interrupt()
        code, out, said = command.end()
    assert (code, out) == (130, "")
    assert said.splitlines()[-1] == "edgeproof: interrupted; nothing was written"
    assert "Traceback" not in said
    assert "Task" not in said


@pytest.mark.parametrize("words", ["simulating: 100 %", "replicating: 11 %"])
def test_ctrl_c_while_replicating_ends_every_worker(tmp_path: Path, words: str) -> None:
    with running("simulate", "baseline", "--set", "duration=25s", cwd=tmp_path) as command:
        command.wait_for(words)
        children = Watched(descendants(command.process.pid))
        command.interrupt(group=True)
        code, out, said = command.end()
        assert children.left() == []
    assert (code, out) == (130, "")
    assert said.splitlines()[-1] == "edgeproof: interrupted; nothing was written"
    assert "Traceback" not in said


def test_ctrl_c_ends_serve_and_everything_it_started(tmp_path: Path) -> None:
    arguments = ("serve", "baseline", *SMALL, "--port", "0", "--set")
    with running(*arguments, "topology.processes=2", cwd=tmp_path) as command:
        command.wait_for("Ctrl-C ends it.", on_stdout=True)
        children = Watched(descendants(command.process.pid))
        assert len(children.pids) == 5  # two workers, L2, the consumer, the destination
        command.interrupt(group=True)
        code, _, said = command.end()
        assert children.left() == []
    assert code == 0
    assert "Traceback" not in said
