"""Claims about the disk: what `synchronous` promises is seen in the system calls of the service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import find_program
from tests.core.service.serving import event_of
from tests.edgeproof.commands import SMALL_SERVICE, descendants, environment

CALLS = "fsync,fdatasync,sendto,sendmsg,write"
EVENTS = 3


def traced_calls(strace: Path, folder: Path, mode: str) -> list[str]:
    """Return the calls of a service that answers EVENTS events in turn, see `calls_of`."""
    log = folder / f"{mode}.strace"
    command = [
        *(str(strace), "-f", "--seccomp-bpf", "-y", "-qq", "-s", "32", "-e", f"trace={CALLS}"),
        *("-e", "signal=none", "-o", str(log)),
        *(sys.executable, "-m", "edgeproof", "serve", "baseline", *SMALL_SERVICE, "--port", "0"),
        *("--no-emulation", "--data", str(folder / mode), "--synchronous", mode),
    ]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line and "ptrace" in (said := process.communicate()[1]):
                pytest.skip(f"strace may not trace here: {said.strip().splitlines()[-1]}")
            url = re.search(r"http://\S+", line)
            assert url is not None, line
            connection = HTTPConnection(urlsplit(url[0]).netloc, timeout=60)
            for number in range(EVENTS):
                event = event_of(f"e{number}")
                connection.request("POST", "/track", json.dumps(event))
                answer = connection.getresponse()
                assert answer.status == 202, answer.read()
                answer.read()
            connection.close()
        finally:
            for pid in descendants(process.pid)[:1]:  # strace itself would let go of it
                os.kill(pid, signal.SIGTERM)
            process.communicate(timeout=60)
    return calls_of(log.read_text(errors="replace"))


def calls_of(text: str) -> list[str]:
    """Return "answer" for each 202 that is sent, "sync" for the log that has reached the disk."""
    found: list[str] = []
    pending: set[str] = set()  # threads whose call stands in two lines
    for line in text.splitlines():
        thread = line.split(maxsplit=1)[0]
        if "HTTP/1.1 202" in line:
            found.append("answer")
        elif "sync(" in line and "cdp.sqlite-wal" in line:
            if "<unfinished" in line:
                pending.add(thread)
            elif line.endswith("= 0"):
                found.append("sync")
        elif "sync resumed>" in line and thread in pending:
            pending.remove(thread)
            found.append("sync")
    return found


def test_full_waits_for_the_disk_before_each_answer_and_normal_does_not(tmp_path: Path) -> None:
    strace = find_program("strace", package="strace")
    full = traced_calls(strace, tmp_path, "full")
    answers = [position for position, call in enumerate(full) if call == "answer"]
    assert len(answers) == EVENTS
    for start, end in zip([-1, *answers[:-1]], answers, strict=True):
        assert "sync" in full[start + 1 : end], full
    normal = traced_calls(strace, tmp_path, "normal")
    first, *_, last = [position for position, call in enumerate(normal) if call == "answer"]
    assert "sync" not in normal[first:last], normal


def test_sync_that_ends_after_the_answer_comes_after_it() -> None:
    text = (
        "7 fdatasync(12</x/cdp.sqlite-wal> <unfinished ...>\n"
        '5 sendto(9<socket:[1]>, "HTTP/1.1 202 Accepted", 20) = 20\n'
        "7 <... fdatasync resumed>) = 0\n"
        "7 fdatasync(12</x/cdp.sqlite-wal>) = 0\n"
        "7 fdatasync(13</x/other>) = 0\n"
        "7 fdatasync(12</x/cdp.sqlite-wal>) = -1 EIO\n"
    )
    assert calls_of(text) == ["answer", "sync", "sync"]
