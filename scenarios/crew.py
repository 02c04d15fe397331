"""The Locust processes of one load on this machine: how they are started, told and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from core.child import parent_mark
from core.wire import TOKEN_VARIABLE
from scenarios.console import LOG_FILE

LOOPBACK = "127.0.0.1"
PORT = 5557
"""Of a master, where nothing else is said: Locust's own."""

WORKERS_SECONDS = 600.0
"""What workers that somebody starts have to connect."""

_ROOT = Path(__file__).parents[1]
_EXIT_SECONDS = 20.0
_WORKER_SECONDS = 3.0
_KEPT = (
    "PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR",
    TOKEN_VARIABLE,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Several processes that share a load.

    workers: how many take part. bind, port: where their master listens; port 0 takes an unused one.
    are_local: this machine starts them; otherwise somebody does.
    """

    workers: int
    bind: str = LOOPBACK
    port: int = 0
    are_local: bool = True


@dataclass(frozen=True, slots=True)
class Member:
    """A process, and the folder of its files."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def log(self) -> Path:
        """Where it writes what it has to say."""
        return self.folder / LOG_FILE


class Crew:
    """Starts Locust processes and ends them together; the first is the one that others follow."""

    def __init__(self, command: Sequence[str], secrets: Mapping[str, str]) -> None:
        self._command = command
        self._secrets = dict(secrets)
        self._lock = threading.Lock()  # a thread fetches secrets while processes are started
        self.members: list[Member] = []

    def start(self, folder: Path, *options: str, listens: bool) -> Member:
        """Start a process whose files go into *folder*; listens: to lines on its input."""
        folder.mkdir(parents=True, exist_ok=True)
        with self._lock, (folder / LOG_FILE).open("wb") as output:
            process = subprocess.Popen(
                [*self._command, "--plan-folder", str(folder.resolve()), *options],
                cwd=folder,  # no locust.conf and no pyproject.toml of somebody else
                env=_environment(folder, self._secrets),
                stdin=subprocess.PIPE if listens else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches this process only, which ends that one
            )
            member = Member(process, folder)
            self.members.append(member)
        return member

    def renew(self, secrets: Mapping[str, str]) -> None:
        """Give every process that listens new values of *secrets*, and those started later."""
        with self._lock:
            self._secrets |= secrets
            self.say(secrets=dict(secrets))

    def say(self, **said: Any) -> None:
        """Tell every process that listens."""
        for member in self.members:
            pipe = member.process.stdin
            if pipe is not None:
                with suppress(OSError, ValueError):  # it has just ended
                    pipe.write(json.dumps(said).encode() + b"\n")
                    pipe.flush()

    def terminate(self) -> None:
        """Ask every process to end."""
        for member in self.members:
            with suppress(ProcessLookupError):
                member.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Wait for every process, and kill those that do not end: workers soon after the first."""
        deadline = monotonic() + _EXIT_SECONDS
        for member in self.members:
            process = member.process
            try:
                process.wait(max(0.0, deadline - monotonic()) if process.poll() is None else 0)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
                process.wait()
            finally:
                for pipe in (process.stdout, process.stdin):
                    if pipe is not None:
                        with suppress(OSError):
                            pipe.close()
            deadline = min(deadline, monotonic() + _WORKER_SECONDS)


def _environment(folder: Path, secrets: Mapping[str, str]) -> dict[str, str]:
    """Return what Locust needs: no option of Locust's, no proxy, no home with a locust.conf."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    path = [str(_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **secrets,
        **kept,
        "HOME": str(folder.resolve()),
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONUNBUFFERED": "1",
        **parent_mark(),
    }
