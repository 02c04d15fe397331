"""Loading a deployed service from the command line: secrets, tokens, checks before and during."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from core.errors import InputError
from core.metrics.record import read_record
from edgeproof.loading import progress_reasons, progress_text
from edgeproof.main import main
from scenarios.driver import LOCUSTFILE
from scenarios.tokens import Tokens
from tests.edgeproof.commands import called, edgeproof, environment
from tests.scenarios.conftest import ROOT

SECRET = "s3cr3t/tok+en=&'9876543210zyxw"
SCENARIO = """
name = "guarded"
duration = "3s"
warm_up = "0s"
start = "cold"
timeout = "2s"
[traffic]
stages = [{ rate = 30 }]
users = 50
conversions = 20
"""
HEADERS = "".join(
    f'[endpoints.{name}.headers]\nAuthorization = "Bearer ${{STAGING_TOKEN}}"\n'
    for name in ("track", "attribution", "journey", "channels")
)


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    """Return a scenario file whose requests carry a token."""
    path = tmp_path / "guarded.toml"
    path.write_text(SCENARIO + HEADERS)
    return str(path)


def started(*arguments: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.scenarios.misbehaving", *arguments],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def echo() -> Iterator[str]:
    """Yield the URL of a service that writes the secret back in headers and bodies."""
    yield from started("echo")


@pytest.fixture
def rotating() -> Iterator[str]:
    """Yield the URL of a service that refuses a token after its first 30 requests."""
    yield from started("rotating")


def forms(secret: str) -> list[bytes]:
    """Return *secret*, and long parts of it, as a service may write them."""
    written = (
        secret, secret[:16], secret[8:], quote(secret, safe=""), escape(secret),
        json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode().rstrip("="),
    )  # fmt: skip
    return [form.encode() for form in written]


def files_with(folder: Path, secret: str) -> list[str]:
    """Return the files under *folder* that hold *secret* in any form, within archives too."""
    found = []
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        parts = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                parts += [archive.read(name) for name in archive.namelist()]
        if any(form in part for form in forms(secret) for part in parts):
            found.append(path.name)
    return found


def test_no_file_and_no_output_of_a_run_shows_a_secret(
    scenario: str, echo: str, tmp_path: Path
) -> None:
    variables = {"STAGING_TOKEN": SECRET, "EDGEPROOF_TOKEN": "another-secret-0123456789"}
    out = tmp_path / "run"
    done = edgeproof(
        "load", scenario, "--host", echo, "--no-preflight", "--out", str(out),
        cwd=tmp_path, variables=variables,
    )  # fmt: skip
    assert done.returncode in (1, 3), done.stderr
    record = read_record(out / "record.json")
    examples = [failure.example for failure in record.failures]
    assert {example.status for example in examples if example} >= {302, 403, 418, 500}
    notes = "\n".join(record.notes)
    assert "caches that the scenario does not name tell nothing: edge Bearer *** (" in notes
    assert "no structured field (RFC 9651)" in notes
    assert "that the endpoint does not have are not counted: Bearer *** (" in notes
    assert '"count Bearer ***"' in (out / "load" / "polls.json").read_text()
    assert "-> 500 " in done.stdout
    assert "***" in done.stdout
    assert "e.g. POST /track -> " in done.stderr  # the live view has its reasons, too
    as_json = edgeproof("report", str(out), "--out", str(tmp_path / "again"), cwd=tmp_path)
    csv = subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"),
            *("--scenario", scenario, "--host", echo, "--csv", str(out / "locust")),
        ],
        cwd=tmp_path, env=environment(HOME=str(tmp_path), **variables), capture_output=True,
        text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    assert (out / "locust_failures.csv").read_text().count("status 500") >= 1
    outputs = (done.stdout, done.stderr, as_json.stdout, as_json.stderr, csv.stdout, csv.stderr)
    for secret in variables.values():
        for form in forms(secret):
            assert all(form.decode() not in text for text in outputs)
        assert files_with(tmp_path, secret) == []


def test_wrong_token_ends_the_run_before_it_begins(
    scenario: str, echo: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = edgeproof(
        "load", scenario, "--host", echo, "--out", str(out),
        "--set", "endpoints.track.status=[204]", cwd=tmp_path, variables={"STAGING_TOKEN": SECRET},
    )  # fmt: skip
    # 200, 500, 403 ... in turns: the second and third request sent ahead decide.
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("edgeproof: ")]
    assert "preflight: " in line
    assert "--no-preflight" in line
    assert not (out / "record.json").exists()
    assert files_with(tmp_path, SECRET) == []


def test_token_that_expires_is_fetched_again(scenario: str, rotating: str, tmp_path: Path) -> None:
    script = tmp_path / "fetch_token.py"
    script.write_text(
        "import pathlib, sys\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "n = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(n))\n"
        f"print({SECRET!r} + str(n)); print({SECRET!r}, file=sys.stderr)\n"
    )
    done = edgeproof(
        "load", scenario, "--host", rotating, "--out", str(tmp_path / "run"), "--no-preflight",
        "--token-command", f"STAGING_TOKEN={sys.executable} {script}",
        "--set", "duration=13s",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode in (1, 3), done.stderr
    assert (tmp_path / "count").read_text() == "2"  # not sooner than 10 s after the first one
    record = read_record(tmp_path / "run" / "record.json")
    assert "tokens were fetched again during the load: 1 times" in record.notes
    rejected = sum(failure.count for failure in record.failures if failure.status == 401)
    total = sum(histogram.count for histogram in record.latencies.values())
    assert 0 < rejected < total - 30  # the new token is taken
    script.unlink()  # which names the secret on purpose
    assert files_with(tmp_path, SECRET) == []
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ([], "the environment variable STAGING_TOKEN is not set"),
        (["--token-command", "STAGING_TOKEN=false"], "false ended with code 1"),
        (["--token-command", "STAGING_TOKEN=true"], "true printed nothing"),
        (["--token-command", "STAGING_TOKEN=/no/such"], "such cannot be started"),
        (["--token-command", "STAGING_TOKEN"], "write VARIABLE=COMMAND"),
        (["--token-command", "OTHER=echo a"], "no header of the scenario names it"),
        (["--token-command", "STAGING_TOKEN=echo 'a"], "quote it as in a shell"),
        (["--token-command", "STAGING_TOKEN=seq 9"], "holds a line break"),
        (["--token-refresh", "5m"], "without --token-command no token is fetched"),
        (["--token-command", "STAGING_TOKEN=echo a", "--token-refresh", "1s"], "every 10 s"),
        (["--cert-key", "k.pem"], "add --cert FILE"),
        (["--ca", "ca.pem", "--insecure"], "--ca ca.pem has no effect"),
        (["--resolve", "nobody:1"], "HOST:PORT:ADDRESS"),
    ],
)
def test_unfit_option_is_one_line(
    options: list[str], fault: str, scenario: str, tmp_path: Path
) -> None:
    host = "http://127.0.0.1:1"
    # Of the first case the check of the host comes before that of the environment.
    arguments = ["load", scenario, *([] if not options else ["--host", host]), *options]
    if not options:
        arguments[0:1] = ["prove"]
    done = called(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert fault in line


@pytest.mark.parametrize("ending", [KeyboardInterrupt, InputError("no"), OSError("no"), None])
def test_token_command_is_ended_however_the_command_ends(
    ending: BaseException | None, scenario: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    closed: list[Tokens] = []

    def close(tokens: Tokens) -> None:
        closed.append(tokens)

    def end(*_: Any) -> None:
        assert closed == []
        if ending is not None:
            raise ending

    monkeypatch.setattr(Tokens, "close", close)
    monkeypatch.setattr("edgeproof.load.check_hosts", end)
    arguments = ["load", scenario, "--host", "http://127.0.0.1:1"]
    with suppress(OSError):
        assert main([*arguments, "--token-command", "STAGING_TOKEN=echo a"]) in (2, 130)
    assert len(closed) == 1
    capsys.readouterr()


def test_sigterm_ends_a_command_as_ctrl_c_does(scenario: str, tmp_path: Path) -> None:
    """CI systems stop jobs with it; the token command would run on by itself."""
    script = tmp_path / "token.sh"
    script.write_text("echo $$ > pid\nkill -TERM $PPID\nexec sleep 600\n")
    done = called(
        "load", scenario, "--host", "http://127.0.0.1:1", "--token-command",
        f"STAGING_TOKEN=sh {script}", cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        130, "edgeproof: interrupted; nothing was written\n"
    )  # fmt: skip
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_live_view_tells_rates_in_flight_tiers_and_reasons() -> None:
    said = {
        "answered": 1234, "rate": 98.2, "planned_rate": 100.0, "in_flight": 3, "p95": 0.012,
        "hits": {"l1": 0.85, "l2": 0.12}, "failed": 2, "dropped": 0,
        "reasons": [{"count": 2, "endpoint": "track", "reason": "status 500", "example": "x"}],
    }  # fmt: skip
    assert progress_text(said, 3000) == (
        "1,234 of 3,000 answered, 98/s of 100/s planned, 3 in flight, p95 12.0 ms, "
        "hits 97 % (L1 85, L2 12), 2 failed"
    )
    assert progress_reasons(said) == ["  2 track: status 500, e.g. x"]
    assert progress_text({}, 10) == "0 of 10 answered"


def test_insecure_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    done = called(
        "load", "baseline", "--host", "https://127.0.0.1:1", "--insecure", cwd=tmp_path
    )  # fmt: skip
    first, second = done.stderr.splitlines()
    assert (
        first == "edgeproof: --insecure: no TLS certificate is verified, so that anybody can answer"
    )
    assert "takes no connection" in second
    assert done.returncode == 2
