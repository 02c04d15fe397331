"""Starts the Locust process that carries out a plan, and fetches what it found."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import IO, Any

from core.child import parent_mark
from core.errors import EdgeproofError, InputError
from core.wire import TOKEN_VARIABLE
from scenarios.console import LOG_FILE
from scenarios.hosts import check_reachable
from scenarios.plan import LoadPlan
from scenarios.recorder import Recorder
from scenarios.rendering import secret_names
from scenarios.result import AUDIT_FILE, LoadResult
from scenarios.tokens import Tokens

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
_ROOT = LOCUSTFILE.parents[1]
_TICK_SECONDS = 0.1
_EXIT_SECONDS = 20.0
_KEPT = (
    "PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR",
    TOKEN_VARIABLE,
)  # fmt: skip
_EXPECTED_CODES = (0, 3)
_REFUSED = 2

Progress = Callable[[Mapping[str, Any]], None]


class GeneratorDied(EdgeproofError):
    """A Locust process that ended without a result."""


def run_load(
    plan: LoadPlan,
    folder: Path,
    *,
    on_progress: Progress | None = None,
    stop: threading.Event | None = None,
    tokens: Tokens | None = None,
) -> LoadResult:
    """Carry out *plan* in a Locust process of its own; its files and log go into *folder*.

    *on_progress* is given {"t", "planned", "sent", "done", "answered", "failed", "dropped",
    "p50", "p95", "phase"} about once a second. Setting *stop*, or Ctrl-C, ends the load: the result
    then holds what was done and is marked interrupted. Raise HostUnreachable before anything
    starts, InputError where a request sent ahead shows that all would fail, GeneratorDied if
    Locust fails. No process is left behind. tokens: of variables that headers name, instead of
    those of the environment; they are fetched again when they are refused or due.
    """
    check_reachable(plan.hosts, plan.transport)
    tokens = tokens or Tokens({})
    names, known = secret_names(plan.scenario), {**os.environ, **tokens.values}
    secrets = {name: known[name] for name in names if name in known}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / AUDIT_FILE).unlink(missing_ok=True)
    plan.write(folder)
    log = folder / LOG_FILE
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(folder),
            cwd=folder,  # no locust.conf and no pyproject.toml of somebody else
            env=_environment(folder, secrets),
            stdin=subprocess.PIPE if tokens else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches this process only, which then ends that one
        )
    was_stopped = False
    try:
        was_stopped = _follow(process, on_progress, stop, tokens)
    except BaseException:
        process.terminate()
        raise
    finally:
        _end(process)
    if was_stopped and not (folder / AUDIT_FILE).exists():
        return nothing_done(plan)
    if process.returncode == _REFUSED and (told := _told(log)):
        raise InputError(told)
    if process.returncode not in _EXPECTED_CODES or not (folder / AUDIT_FILE).exists():
        raise GeneratorDied(
            f"Locust ended with code {process.returncode}: {_last_line(log)} (all of it in {log})"
        )
    return LoadResult.read(folder)


def command(folder: Path) -> list[str]:
    """Return the command that carries out the plan in *folder*."""
    return [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"),
        *("--plan-folder", str(folder.resolve())),
    ]


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


def _follow(
    process: subprocess.Popen[bytes],
    on_progress: Progress | None,
    stop: threading.Event | None,
    tokens: Tokens,
) -> bool:
    """Relay progress until *process* closes its stdout; pass a stop on to it, and return if so.

    New tokens go to its standard input.
    """

    def say(**said: Any) -> None:
        if process.stdin is not None:
            with suppress(OSError, ValueError):  # it has just ended
                process.stdin.write(json.dumps(said).encode() + b"\n")
                process.stdin.flush()

    def renew(*, is_asked: bool) -> None:
        tokens.renew(
            lambda values: say(secrets=values), lambda fault: say(fault=fault), is_asked=is_asked
        )

    pipe = process.stdout
    if pipe is None:
        raise ValueError("the process has no pipe")
    deadline = None
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while deadline is None or monotonic() < deadline:
            try:
                if stop is not None and stop.is_set() and deadline is None:
                    raise KeyboardInterrupt
                renew(is_asked=False)
                if not selector.select(_TICK_SECONDS):
                    continue
                data = os.read(pipe.fileno(), 65_536)
                if not data:
                    break
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    said = _said(line)
                    if said.get("renew"):
                        renew(is_asked=True)
                    elif said and on_progress is not None:
                        on_progress(said)
            except KeyboardInterrupt:
                if deadline is not None:
                    process.kill()  # asked twice: do not wait for it
                    break
                process.send_signal(signal.SIGTERM)
                deadline = monotonic() + _EXIT_SECONDS
    return deadline is not None


def nothing_done(plan: LoadPlan) -> LoadResult:
    """Return the result of a load that was stopped before its first request."""
    unknown = (None,) * len(plan.hosts)
    return LoadResult(
        rows=Recorder(plan.scenario).rows(()),
        before=unknown,
        after=unknown,
        polls=((),) * len(plan.hosts),
        audit={
            "run_id": plan.run_id,
            "planned": len(plan.workload),
            "handed": 0,
            "pool_size": plan.pool_size,
            "connections": plan.connections,
            "connections_used": 0,
            "cpu_seconds": 0.0,
            "wall_seconds": 0.0,
            "speed": {"count": 0, "seconds": 0.0, "median": 0.0},
            "clean_start": "not asked for",
            "lag_limit": plan.lag_limit,
        },
        interrupted=True,
    )


def _said(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line) if line.startswith(b"{") else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for *process*, and kill it if it does not end."""
    pipe: IO[bytes] | None = process.stdout
    try:
        process.wait(_EXIT_SECONDS if process.poll() is None else 0)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()
    finally:
        for each in (pipe, process.stdin):
            if each is not None:
                with suppress(OSError):
                    each.close()


def _told(log: Path) -> str:
    """Return what the load itself said was wrong, "" if it said nothing."""
    lines = log.read_text(errors="replace").splitlines()
    told = [line for line in lines if line.startswith("edgeproof: ")]
    return told[-1].removeprefix("edgeproof: ") if told else ""


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    # Locust's own tables and closing words say nothing about the cause.
    told = [line for line in lines if line.startswith("edgeproof: ")] or lines
    return told[-1].removeprefix("edgeproof: ") if told else "it said nothing"
