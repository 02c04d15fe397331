"""Claims about `edgeproof serve`: how many processes it runs, and how all of them end."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.core.service.serving import await_end
from tests.edgeproof.commands import (
    LIMIT_SECONDS,
    SMALL_SERVICE,
    Running,
    Watched,
    called,
    descendants,
    edgeproof,
    environment,
    running,
)

SERVE = ("serve", "baseline", *SMALL_SERVICE, "--port", "0")
POLLS = 20_000
FINISHING = "Finishing what is in flight; another Ctrl-C ends at once.\n"


@contextmanager
def serving(*arguments: str, cwd: Path) -> Iterator[tuple[Running, list[str]]]:
    """Yield a service that serves, and its URLs."""
    with running(*SERVE, *arguments, cwd=cwd) as command:
        urls = []
        while True:
            line = command.wait_for("Serving baseline on|Ctrl-C ends it", on_stdout=True)
            if "Ctrl-C" in line:
                break
            urls.append(line.split()[-1])
        command.said.clear()
        yield command, urls


def end(command: Running) -> tuple[int, str]:
    """Wait for the end; return the exit code and what was said on standard error."""
    code, _, said = command.end()
    return code, said.replace(FINISHING, "")


def asked(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data=data), timeout=60) as answer:
            return json.loads(answer.read())
    except HTTPError as error:
        error.close()  # it is the answer, socket and all
        raise


class Asking(threading.Thread):
    """A request that is in flight, and what came of it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = asked(self.url)
        except OSError as error:
            self.answer = error


def await_loads(url: str, number: int) -> None:
    """Return once *number* loads have begun on the worker at *url*."""
    for _ in range(POLLS):
        data = asked(f"{url}/api/performance/cache-stats?scope=process")["data"]
        if data["cache"]["loads"]["started"] >= number:
            return
    pytest.fail("no load has begun")


def test_workers_are_processes_with_a_port_each(tmp_path: Path) -> None:
    with serving("--workers", "3", cwd=tmp_path) as (command, urls):
        assert len(set(urls)) == 3
        children = Watched(descendants(command.process.pid))
        # Three workers, the L2 that they share, the consumer, the local destination.
        assert len(children.pids) == 6
        for position, url in enumerate(urls):
            asked(f"{url}/journey/u1")
            alone = asked(f"{url}/api/performance/stats?scope=process")["data"]
            assert alone["workers"]["answered"] == [position]
            assert alone["cumulative"]["counters"]["requests_journey"] == 1
        data = asked(f"{urls[1]}/api/performance/stats")["data"]
        assert data["workers"] == {"answered": [0, 1, 2], "silent": []}
        assert data["cumulative"]["counters"]["requests_journey"] == 3
        command.interrupt(group=True)
        code, said = end(command)
        assert children.left() == []
    assert (code, said) == (0, "")


def test_workers_of_the_option_come_before_those_of_the_scenario(tmp_path: Path) -> None:
    fields = ("topology.processes=3", "destination.url=none")
    options = [text for field in fields for text in ("--set", field)]
    with serving(*options, "--workers", "1", cwd=tmp_path) as (command, urls):
        assert len(urls) == 1
        assert len(descendants(command.process.pid)) == 1
        command.process.terminate()
        assert command.end()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--workers", "0"), r"--workers 0: run 1 to 64"),
        (("--workers", "65"), r"--workers 65: run 1 to 64"),
        (("--workers", "two"), r"'--workers': .*integer"),
        (("--set", "topology.processes=100"), r"100 processes .*at most 64 .*--workers"),
        (
            ("--workers", "40", "--set", "topology.points_of_presence=2"),
            r"80 processes .*at most 64",
        ),
        (("--workers", "3", "--port", "65534"), r"--port 65534: 3 .*65536; choose 65533 or lower"),
    ],
)
def test_number_of_workers_that_cannot_be_is_one_clear_error(
    tmp_path: Path, arguments: tuple[str, ...], what: str
) -> None:
    done = called("serve", "baseline", *SMALL_SERVICE, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert re.search(what, line)


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, "2"), (signal.SIGTERM, "1"), (signal.SIGHUP, "1")]
)
def test_first_signal_lets_requests_and_the_queue_be_finished_in_every_process(
    tmp_path: Path, number: signal.Signals, workers: str
) -> None:
    data = tmp_path / "data"
    # The queue hands nothing out by itself, and every load takes a while.
    slow = ("tiers.l3.round_trip=500ms", "tiers.l3.timeout=30s", "queue.wait=60s")
    options = [part for setting in slow for part in ("--set", setting)]
    stored = ("--data", str(data), "--population")
    with serving("--workers", workers, *stored, *options, cwd=tmp_path) as (command, urls):
        assert len(urls) == int(workers)
        for position, url in enumerate(urls):
            event = {
                "event_id": f"e{position}", "user_id": "buyer", "site_id": "s1", "event_name": "x",
                "timestamp": 1_767_225_600_000 + position, "conversion_id": f"sold-{position}",
                "value": 2.0,
            }  # fmt: skip
            assert asked(f"{url}/track", event)["accepted"] is True
        loads = [
            asked(f"{url}/api/performance/cache-stats?scope=process")["data"]["cache"]["loads"]
            for url in urls
        ]
        children = Watched(descendants(command.process.pid))
        in_flight = [Asking(f"{url}/journey/u{n}") for n, url in enumerate(urls)]
        for url, before in zip(urls, loads, strict=True):
            await_loads(url, before["started"] + 1)
        command.process.send_signal(number)
        command.wait_for(FINISHING, on_stdout=True)
        if number == signal.SIGHUP:  # the shell sends one, and the kernel another
            command.process.send_signal(number)
        code, said = end(command)
        for asking in in_flight:
            asking.join()
            assert asking.answer["events"]
        assert children.left() == []
    assert (code, said) == (0, "")
    with closing(sqlite3.connect(data / "cdp.sqlite")) as connection:
        sql = "SELECT count(*) FROM conversions WHERE conversion_id LIKE 'sold-%' AND processed = 1"
        assert connection.execute(sql).fetchone() == (int(workers),)
        assert connection.execute("SELECT count(*) FROM conversion_queue").fetchone() == (0,)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_attempts_that_are_put_off_do_not_hold_up_the_end(tmp_path: Path, workers: str) -> None:
    options = ("--set", "queue.retry_delay=1000s", "--set", "queue.wait=10ms", "--no-emulation")
    with serving(*options, "--workers", workers, "--data", str(tmp_path), cwd=tmp_path) as (
        command, (url, *_),
    ), closing(sqlite3.connect(tmp_path / "cdp.sqlite")) as database:  # fmt: skip
        database.execute("ALTER TABLE credits RENAME TO elsewhere")
        for number in range(6):
            event = {
                "event_id": f"e{number}", "user_id": f"buyer{number // 2}", "site_id": "s1",
                "event_name": "x", "timestamp": 1_767_225_600_000 + number,
            }  # fmt: skip
            sale = {"conversion_id": f"sold-{number}", "value": 2.0} if number % 2 else {}
            assert asked(f"{url}/track", event | sale)["accepted"] is True
        failed = "SELECT count(*) FROM conversion_queue WHERE last_error IS NOT NULL"
        for _ in range(POLLS // 10):
            asked(f"{url}/api/performance/stats")  # takes a while
            if database.execute(failed).fetchone() == (3,):
                break
        else:
            pytest.fail("the conversions were never tried")
        command.interrupt()
        code, said = end(command)
        free = f"{failed} AND leased_by IS NULL"
        assert database.execute(free).fetchone() == (3,)
    assert (code, said) == (0, "")


def test_requests_that_do_not_end_are_answered_that_the_service_does_and_are_counted(
    tmp_path: Path,
) -> None:
    slow = ("--no-emulation", "--data", str(tmp_path), "--workers", "1")
    event = {
        "event_id": "e1", "user_id": "u1", "site_id": "s1", "event_name": "x",
        "timestamp": 1_767_225_600_000,
    }  # fmt: skip
    with serving(*slow, cwd=tmp_path) as (command, (url,)), ExitStack() as open_until_then:
        database = open_until_then.enter_context(closing(sqlite3.connect(tmp_path / "cdp.sqlite")))
        parts = urlsplit(url)
        lines = [
            open_until_then.enter_context(closing(HTTPConnection(parts.netloc, timeout=60)))
            for _ in range(3)
        ]
        body = json.dumps(event).encode()
        for line, sent in zip(lines[:2], (body[:10], b""), strict=True):
            line.putrequest("POST", "/track")
            line.putheader("Content-Length", str(len(body)))
            line.endheaders(sent)
        lines[2].request("GET", "/journey/u1")
        assert lines[2].getresponse().read()  # an idle connection at the end
        command.process.send_signal(signal.SIGTERM)
        for line in lines[:2]:
            answer = line.getresponse()
            assert (answer.status, answer.headers["Connection"]) == (503, "close")
            assert answer.headers["Content-Type"] == "application/json"
            error = json.loads(answer.read())["error"]
            assert error["code"] == "shutting_down"
            assert "send it again" in error["message"]
        code, said = end(command)
        sql = "SELECT count(*) FROM user_journeys WHERE event_id = 'e1'"
        assert database.execute(sql).fetchone() == (0,)
    assert code == 0
    assert said == "2 requests were cut off after 5 s and told to come again.\n"


@pytest.mark.parametrize(("first", "workers"), [(signal.SIGINT, "2"), (signal.SIGTERM, "1")])
def test_second_ctrl_c_ends_at_once_whatever_is_in_flight(
    tmp_path: Path, first: signal.Signals, workers: str
) -> None:
    slow = ("tiers.l3.round_trip=1000s", "tiers.l3.timeout=2000s")
    options = [part for setting in slow for part in ("--set", setting)]
    with serving("--workers", workers, *options, cwd=tmp_path) as (command, urls):
        children = Watched(descendants(command.process.pid))
        asking = Asking(f"{urls[-1]}/journey/u1")
        await_loads(urls[-1], 1)
        command.process.send_signal(first)
        command.wait_for(FINISHING, on_stdout=True)
        command.interrupt()
        code, said = end(command)
        assert children.left() == []
        asking.join()
        assert isinstance(asking.answer, OSError)
    assert (code, said) == (130, "edgeproof: interrupted; nothing was written\n")


ON_TERMINAL = """
import os, sys
os.login_tty(int(sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-u", "-m", "edgeproof", *sys.argv[2:]])
"""


def test_closed_terminal_lets_the_service_end_in_order(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    terminal, line = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, str(line), *SERVE, "--workers", "2"],
        pass_fds=(line,), cwd=tmp_path, env=environment(TMPDIR=str(temporary)),
    )  # fmt: skip
    os.close(line)
    try:
        said = b""
        while b"Ctrl-C ends it" not in said:
            said += os.read(terminal, 1000)
        children = Watched(descendants(process.pid))
        assert [*temporary.iterdir()]
        os.close(terminal)
        assert process.wait(LIMIT_SECONDS) == 0
        assert children.left() == []
        assert [*temporary.iterdir()] == []
    finally:
        process.kill()
        process.wait()


def test_hangups_that_are_ignored_stay_so(tmp_path: Path) -> None:
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from edgeproof.serve import Interrupts\n"
        "Interrupts(); print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "True\n"


def test_ctrl_c_while_it_starts_ends_what_has_started(tmp_path: Path) -> None:
    with running(*SERVE, "--workers", "2", cwd=tmp_path) as command:
        found: list[int] = []
        while not found:
            found = descendants(command.process.pid)
        children = Watched(found)
        command.interrupt()
        code, out, said = command.end()
        assert children.left() == []
        assert descendants(command.process.pid) == []
    assert (code, out) == (130, "")
    assert "Traceback" not in said


def test_unexpected_error_tells_where_its_traceback_is(tmp_path: Path) -> None:
    options = ("--no-emulation", "--workers", "1", "--data", str(tmp_path))
    with serving(*options, cwd=tmp_path) as (command, (url,)):
        with closing(sqlite3.connect(tmp_path / "cdp.sqlite")) as database, database:
            database.execute("UPDATE sites SET max_event_bytes = 'abc'")
        event = {
            "event_id": "e1", "user_id": "u1", "site_id": "s1", "event_name": "x",
            "timestamp": 1_767_225_600_000,
        }  # fmt: skip
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=60)) as line:
            line.request("POST", "/track", json.dumps(event))
            answer = line.getresponse()
            assert answer.status == 500
            error = json.loads(answer.read())["error"]
        assert error["code"] == "internal"
        assert "TypeError" in error["message"]
        assert error["message"].endswith("its traceback is in the output of edgeproof serve")
        command.wait_for("TypeError: .*not supported")
        command.interrupt()
        code, said = end(command)
    assert code == 0
    assert said.count("TypeError: ") == 1


def child_running(parent: int, module: str) -> int:
    """Return the last started of the processes of *parent* that run *module*."""
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(parent)}
    return max(pid for pid, line in lines.items() if module.encode() in line)


def test_worker_and_consumer_that_are_killed_are_replaced_at_their_ports(tmp_path: Path) -> None:
    with serving("--workers", "2", cwd=tmp_path) as (command, urls):
        for name, module in (("worker 1", "worker"), ("the consumer", "consumer")):
            killed = child_running(command.process.pid, f"core.service.{module}")
            os.kill(killed, signal.SIGKILL)
            await_end(killed)
            # Sent at once: it waits for the process that takes the place of the killed one.
            with closing(HTTPConnection(urlsplit(urls[1]).netloc, timeout=60)) as line:
                line.request("GET", "/journey/u1")
                assert line.getresponse().status == 200
            command.wait_for(
                rf"edgeproof: {name} \(process {killed}\) ended with SIGKILL; process \d+ takes its"
            )
        command.interrupt()
        code, said = end(command)
    assert (code, said.count("takes its place")) == (0, 2)


def test_death_of_the_shared_l2_ends_the_service_with_an_error(tmp_path: Path) -> None:
    with serving("--workers", "2", cwd=tmp_path) as (command, _):
        children = Watched(descendants(command.process.pid))
        killed = child_running(command.process.pid, "core.service.fake_redis")
        os.kill(killed, signal.SIGKILL)
        code, said = end(command)
        assert children.left() == []
    assert code == 2
    assert re.fullmatch(
        rf"edgeproof: the shared L2 \(process {killed}\) ended with SIGKILL.*\n", said
    )


RAW_EVENTS = (
    ("u1", "2026-11-01T10:00:00+00:00", "google", None),
    ("u1", "2026-11-02T10:00:00+00:00", "email", None),
    ("u1", "2026-11-03T10:00:00+00:00", None, 80),
    ("u2", "2026-11-01T11:00:00+00:00", "facebook", None),
)
"""Two users of a shop, and one order of 80."""


def track_raw_events(url: str) -> None:
    for number, (user, time, channel, value) in enumerate(RAW_EVENTS):
        event = {
            "event_id": f"e{number}", "user_id": user, "site_id": "s1", "utm_source": channel,
            "event_name": "view" if value is None else "purchase",
            "timestamp": round(datetime.fromisoformat(time).timestamp() * 1000),
        }  # fmt: skip
        sale = {} if value is None else {"conversion_id": "order", "value": value}
        assert asked(f"{url}/track", event | sale)["accepted"] is True


def own_account(file: Path, *options: str) -> Any:
    told = called(
        "attribute", "--db", str(file), "--model", "linear", "--json", *options, cwd=file.parent
    )
    assert (told.returncode, told.stderr) == (0, "")
    found = json.loads(told.stdout)
    assert (found["conversions"], found["value"]) == (1, 80)
    credits = {row["channel"]: row["value"] for row in found["rows"]}
    assert credits == {"google": 40, "email": 40, "facebook": 0}
    return found["notices"]


def test_attribution_of_one_s_own_events_holds_no_invented_ones(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving("--no-emulation", "--data", str(data), cwd=tmp_path) as (command, (url,)):
        track_raw_events(url)
        with pytest.raises(HTTPError, match="404"):
            asked(f"{url}/attribution/c1?model=linear")
        command.interrupt()
        assert end(command) == (0, "")
    assert own_account(data / "cdp.sqlite") == []
    with serving("--no-emulation", "--data", str(data), cwd=tmp_path) as (command, (url,)):
        found = asked(f"{url}/channels?model=linear")
        assert sum(row["total_value"] for row in found["channels"]) == 80
        command.interrupt()
        assert end(command) == (0, "")
    told = edgeproof(*SERVE, "--data", str(data), "--population", cwd=tmp_path)
    assert told.returncode == 2
    assert "cdp.sqlite holds events already" in told.stderr


def test_events_beside_a_population_are_attributed_alone_and_that_is_said(tmp_path: Path) -> None:
    data = tmp_path / "data"
    options = ("--no-emulation", "--data", str(data), "--population")
    with serving(*options, cwd=tmp_path) as (command, (url,)):
        assert asked(f"{url}/attribution/c1?model=linear")["conversion_id"] == "c1"
        command.interrupt()
        assert end(command) == (0, "")
    file = data / "cdp.sqlite"
    told = called("attribute", "--db", str(file), "--model", "linear", "--json", cwd=tmp_path)
    found = json.loads(told.stdout)
    assert found["conversions"] + found["conversions_without_touch"] == 30
    assert "holds 30 invented conversions" in found["notices"][0]
    with serving(*options, cwd=tmp_path) as (command, (url,)):
        track_raw_events(url)  # of users that the population has, too
        command.interrupt()
        assert end(command) == (0, "")
    (notice,) = own_account(file)
    assert "30 invented conversions of a scenario's population are left out" in notice
    assert own_account(file, "--jobs", "2") == [notice]
    assert own_account(file, "--lookback", "40d") == [notice]
    with running(*SERVE, *options[:3], cwd=tmp_path) as command:
        said = command.wait_for("Notice|Ctrl-C ends it", on_stdout=True)
        assert "holds invented users beside your events" in said
        command.interrupt()
        assert end(command)[0] == 0


@pytest.mark.parametrize("options", [(), ("--no-population",)])
def test_service_without_conversions_serves(tmp_path: Path, options: tuple[str, ...]) -> None:
    none = ("--no-emulation", "--set", "traffic.conversions=0")
    with serving(*none, *options, cwd=tmp_path) as (command, (url,)):
        track_raw_events(url)
        answer = asked(f"{url}/attribution/order?model=linear")
        assert [touch["utm_source"] for touch in answer["touchpoints"]] == ["google", "email"]
        command.interrupt()
        assert end(command) == (0, "")
