"""Starts the Locust processes that carry out a plan, and fetches what they found."""

from __future__ import annotations

import json
import os
import selectors
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from core.errors import EdgeproofError, InputError
from scenarios.crew import WORKERS_SECONDS, Crew, Fleet, Member
from scenarios.hosts import check_reachable
from scenarios.plan import LoadPlan
from scenarios.recorder import Recorder
from scenarios.rendering import secret_names
from scenarios.result import AUDIT_FILE, LoadResult
from scenarios.tokens import Tokens

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
_TICK_SECONDS = 0.1
_EXIT_SECONDS = 20.0
_LOCAL_SECONDS = 60.0
_EXPECTED_CODES = (0, 3)
_REFUSED = 2
_TOLD_CODES = (0, _REFUSED)
"""Of a worker that has told its master what is wrong, or was told to end."""

_NOT_TO_WORKERS = ("LOCUST_", "EDGEPROOF_PLAN", "EDGEPROOF_SCENARIO")
"""How names of variables begin that would change what a worker does."""


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
    fleet: Fleet | None = None,
) -> LoadResult:
    """Carry out *plan* in a Locust process of its own; its files and log go into *folder*.

    *on_progress* is given {"t", "planned", "sent", "done", "answered", "failed", "dropped",
    "p50", "p95", "phase"} about once a second. Setting *stop*, or Ctrl-C, ends the load: the result
    then holds what was done and is marked interrupted. Raise HostUnreachable before anything
    starts, InputError where a request sent ahead shows that all would fail, GeneratorDied if
    Locust fails. No process is left behind. tokens: of variables that headers name, instead of
    those of the environment; they are fetched again when they are refused or due. fleet: the
    processes that share the load, which then has a master that sends nothing itself.
    """
    check_reachable(plan.hosts, plan.transport)
    tokens = tokens or Tokens({})
    names, known = secret_names(plan.scenario), {**os.environ, **tokens.ready()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / AUDIT_FILE).unlink(missing_ok=True)
    plan.write(folder)
    crew = Crew(_command(), {name: known[name] for name in names if name in known})
    listens = bool(tokens) and fleet is None
    first = crew.start(folder, *_master_options(fleet), listens=listens)
    following = _Following(crew, tokens, on_progress, stop)
    if fleet is not None and fleet.are_local:
        following.on_port = lambda port: [
            crew.start(
                folder / f"worker-{number}", *_worker_options(fleet.bind, port),
                listens=bool(tokens),
            )
            for number in range(1, fleet.workers + 1)
        ]  # fmt: skip
    was_stopped = following.follow([first])
    if was_stopped and not (folder / AUDIT_FILE).exists():
        return nothing_done(plan)
    code = first.process.returncode
    if code == _REFUSED and (told := _told(first.log)):
        raise InputError(told)
    if code not in _EXPECTED_CODES or not (folder / AUDIT_FILE).exists():
        raise GeneratorDied(
            f"Locust ended with code {code}: {_last_line(first.log)} (all of it in {first.log})"
        )
    return LoadResult.read(folder)


def run_workers(
    master: tuple[str, int],
    number: int,
    *,
    on_progress: Progress | None = None,
    tokens: Tokens | None = None,
) -> bool:
    """Take part in the load of the master at *master* with *number* processes, until it ends.

    *on_progress* is given what each says of its part. Return whether Ctrl-C ended it. Raise
    GeneratorDied with the reason of the first process that could not do its part. Headers take
    their secrets from the environment and from *tokens*.
    """
    tokens = tokens or Tokens({})
    # Which of its variables the headers name, the plan says later.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_NOT_TO_WORKERS) and not name.lower().endswith("_proxy")
    }
    crew = Crew(_command(), {**kept, **tokens.ready()})
    with tempfile.TemporaryDirectory(prefix="edgeproof-worker-") as place:
        members = [
            crew.start(
                Path(place) / str(each), *_worker_options(*master), listens=bool(tokens)
            )
            for each in range(1, number + 1)
        ]  # fmt: skip
        was_stopped = _Following(crew, tokens, on_progress, None).follow(members)
        for member in members:
            if not was_stopped and member.process.returncode:
                raise GeneratorDied(worker_fault(_last_line(member.log), *master))
    return was_stopped


def worker_fault(said: str, host: str, port: int) -> str:
    """Return why a worker of the master at *host* and *port* ended, of what it *said* last."""
    if "Failed to connect to the Locust master" in said:
        return (
            f"--worker {host}:{port}: no master answers there; start `edgeproof load --master` "
            "first, with --bind for other machines, or check the address"
        )
    return f"a worker could not do its part: {said}"


def _command() -> list[str]:
    return [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary")
    ]


def _master_options(fleet: Fleet | None) -> list[str]:
    if fleet is None:
        return []
    limit = _LOCAL_SECONDS if fleet.are_local else WORKERS_SECONDS
    return [
        *("--master", "--master-bind-host", fleet.bind, "--master-bind-port", str(fleet.port)),
        *("--expect-workers", str(fleet.workers), "--expect-workers-max-wait", f"{limit:.0f}"),
    ]


def _worker_options(host: str, port: int) -> list[str]:
    return ["--worker", "--master-host", host, "--master-port", str(port)]


class _Following:
    """Relays what processes say until those that matter close their output.

    on_port: starts the workers of a master that says where it listens.
    """

    def __init__(
        self,
        crew: Crew,
        tokens: Tokens,
        on_progress: Progress | None,
        stop: threading.Event | None,
    ) -> None:
        self._crew, self._tokens = crew, tokens
        self._given: Mapping[str, str] = tokens.values
        self._on_progress, self._stop = on_progress, stop
        self._pending: dict[int, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._has_begun = False
        self.on_port: Callable[[int], list[Member]] | None = None

    def follow(self, members: list[Member]) -> bool:
        """Relay until each of *members* ends, then end the others; return whether it was stopped.

        A stop is passed on to *members*. A token that is being fetched goes on unless the load was
        stopped: one that follows waits for it.
        """
        was_stopped = True
        try:
            with self._selector:
                was_stopped = self._relay(members)
        except BaseException:
            self._crew.terminate()
            raise
        finally:
            if was_stopped:
                self._tokens.close()
            self._crew.end()
        return was_stopped

    def _relay(self, members: list[Member]) -> bool:
        open_ones = {self._listen(member) for member in members}
        deadline = None
        while open_ones and (deadline is None or monotonic() < deadline):
            try:
                if self._stop is not None and self._stop.is_set() and deadline is None:
                    raise KeyboardInterrupt
                self._renew(is_asked=False)
                for key, _ in self._selector.select(_TICK_SECONDS):
                    if not self._take(key.fd, is_followed=key.fd in open_ones):
                        self._selector.unregister(key.fd)
                        open_ones.discard(key.fd)
                self._mind_the_workers(members)
            except KeyboardInterrupt:
                if deadline is not None:
                    for member in members:
                        member.process.kill()  # asked twice: do not wait for it
                    break
                for member in members:
                    member.process.terminate()
                deadline = monotonic() + _EXIT_SECONDS
        return deadline is not None

    def _listen(self, member: Member) -> int:
        pipe = member.process.stdout
        if pipe is None:
            raise ValueError("the process has no pipe")
        self._selector.register(pipe.fileno(), selectors.EVENT_READ)
        self._pending[pipe.fileno()] = b""
        return pipe.fileno()

    def _take(self, descriptor: int, *, is_followed: bool) -> bool:
        """Act on what a process said; return whether it can say more."""
        data = os.read(descriptor, 65_536)
        if not data:
            return False
        *lines, self._pending[descriptor] = (self._pending[descriptor] + data).split(b"\n")
        for said in map(_said, lines):
            if said.get("renew"):
                self._renew(is_asked=True)
            elif "port" in said:
                if self.on_port is not None:
                    for member in self.on_port(said["port"]):
                        self._listen(member)
            elif said and is_followed:
                self._has_begun = self._has_begun or said.get("phase") != "waiting"
                if self._on_progress is not None:
                    self._on_progress(said)
        return True

    def _renew(self, *, is_asked: bool) -> None:
        self._tokens.renew(
            self._give,
            lambda fault: self._crew.say(fault=fault),
            given=self._given,
            is_asked=is_asked,
        )

    def _give(self, secrets: Mapping[str, str]) -> None:
        self._given = secrets
        self._crew.renew(secrets)

    def _mind_the_workers(self, members: list[Member]) -> None:
        """Raise GeneratorDied for a worker that ended before its master knew it."""
        if self._has_begun:
            return  # its master then names it
        for member in self._crew.members:
            if member not in members and member.process.poll() not in (None, *_TOLD_CODES):
                raise GeneratorDied(
                    f"{member.folder.name} ended with code {member.process.returncode} before the "
                    f"load began: {_last_line(member.log)} (all of it in {member.log})"
                )


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
