"""Running the command line as its users do: processes, their output, signals and children."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from unittest import mock

from edgeproof.main import main

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 120.0
"""A process that takes longer hangs: a guard, not a claim."""

SMALL_SERVICE = (
    "--rate", "60", "--set", "traffic.users=60", "--set", "traffic.conversions=30",
)  # fmt: skip
SMALL = (*SMALL_SERVICE, "--set", "duration=2s", "--set", "warm_up=1s")


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a command: no token, no colour setting, no CI of the host.

    Nor are runs of other tests taken.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EDGEPROOF_", "GITHUB_", "CI_"))
        and name not in ("NO_COLOR", "FORCE_COLOR")
    }
    return {**kept, "PYTHONPATH": str(ROOT), "EDGEPROOF_RUNS": "", **variables}


def edgeproof(
    *arguments: str, cwd: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m edgeproof` to its end, with pipes for its output."""
    return subprocess.run(
        [sys.executable, "-m", "edgeproof", *arguments],
        cwd=cwd,
        env=environment(**(variables or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def called(
    *arguments: str, cwd: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Call the command line in this process; return what `edgeproof` would.

    For claims about what is said and written: a process of its own starts in about a second.
    """
    out, said = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with (
        chdir(cwd),
        mock.patch.dict(os.environ, environment(**(variables or {})), clear=True),
        redirect_stdout(out),
        redirect_stderr(said),
    ):
        code = main(arguments)
    shown = []
    for stream in (out, said):
        stream.seek(0)
        shown.append(stream.read())
    return subprocess.CompletedProcess(arguments, code, *shown)


def on_terminal(*arguments: str, cwd: Path, columns: int = 120) -> tuple[int, str]:
    """Run a command with all streams on a terminal; return its exit code and what it showed.

    Without colours and carriage returns.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeproof", *arguments],
        cwd=cwd, env=environment(TERM="xterm"), stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # what a terminal says once all its writers have gone
        while select.select([ours], [], [], LIMIT_SECONDS)[0] and (part := os.read(ours, 65536)):
            shown += part
    os.close(ours)
    code = process.wait(timeout=LIMIT_SECONDS)
    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown.decode())


class Running:
    """A command that runs: what it said so far, its descendants, and how it ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []

    def wait_for(self, pattern: str, *, on_stdout: bool = False) -> str:
        """Read lines until one has *pattern*, and return it; fail if the output ends before."""
        stream = self.process.stdout if on_stdout else self.process.stderr
        assert stream is not None
        while line := stream.readline():
            self.said.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"{pattern!r} was never said, but: {''.join(self.said)}")

    def interrupt(self, *, group: bool = False) -> None:
        """Press Ctrl-C: SIGINT to the process, or to all of its group as a terminal does."""
        (os.killpg if group else os.kill)(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return the exit code, the rest of stdout and all of stderr."""
        out, rest = self.process.communicate(timeout=LIMIT_SECONDS)
        return self.process.returncode, out, "".join([*self.said, rest])


@contextmanager
def running(
    *arguments: str, cwd: Path, module: str = "edgeproof", **variables: str
) -> Iterator[Running]:
    """Yield a command that was started, in a process group of its own; kill what is left."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", module, *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    command = Running(process)
    try:
        yield command
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def descendants(pid: int) -> list[int]:
    """Return the processes that *pid* started, and those that they started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found, wave = [], [pid]
    while wave:
        wave = [child for child, parent in parents.items() if parent in wave]
        found += wave
    return found


class Watched:
    """Processes that must end; their descriptors tell, so that no id is taken for another's."""

    def __init__(self, pids: list[int]) -> None:
        self.pids = pids
        self._descriptors = {pid: os.pidfd_open(pid) for pid in pids}

    def left(self) -> list[int]:
        """Return those that have not ended, after a while in which all may."""
        found = []
        for pid, descriptor in self._descriptors.items():
            if not select.select([descriptor], [], [], 10.0)[0]:
                found.append(pid)
            os.close(descriptor)
        return found
