"""Locust's distributed mode: workers start together and the master adds up what they found."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from time import perf_counter
from typing import Any

import gevent
import psutil
from gevent.event import AsyncResult
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from core.errors import EdgeproofError, InputError
from scenarios.plan import LoadPlan
from scenarios.run import PREPARE_SECONDS, LoadRun
from scenarios.watch import until

IDLE, BEGIN, DONE = "edgeproof_idle", "edgeproof_begin", "edgeproof_done"
FAILED, END = "edgeproof_failed", "edgeproof_end"
PLAN, PROGRESS = "edgeproof_plan", "edgeproof_progress"
MASTER_SECONDS = 10.0
"""Without a word of its master for so long, a worker ends."""

TELL_SECONDS = 5.0
"""What the other workers have to tell what they found, once one is lost."""

LATE_SECONDS = 30.0
"""Beyond the last answer; a worker waits for the service's queue in this time."""

_LOOK_SECONDS = 0.25


class Worker:
    """This worker's part: it tells that its pool waits, and begins when the master says so.

    on_end: stops the load and tells what was found. on_orphaned: called with the reason when the
    master has fallen silent.
    """

    def __init__(
        self,
        environment: Environment,
        runner: WorkerRunner,
        *,
        on_end: Callable[[], None],
        on_orphaned: Callable[[str], None],
    ) -> None:
        self._runner = runner
        self._on_end, self._on_orphaned = on_end, on_orphaned
        self._begin: AsyncResult[dict[str, Any]] = AsyncResult()
        self._heard = perf_counter()  # the master has just taken this worker up
        runner.register_message(BEGIN, self._on_begin)
        runner.register_message(END, self._on_end_message, concurrent=True)
        runner.register_message(PLAN, self._on_plan)
        self._sent: dict[str, Any] | None = None
        hooks: Any = environment.events  # Locust gives them no types
        hooks.heartbeat_received.add_listener(self._on_heartbeat)
        gevent.spawn(self._watch_master)

    def _on_begin(self, msg: Any, **_: Any) -> None:
        self._begin.set((perf_counter(), msg.data))

    def _on_plan(self, msg: Any, **_: Any) -> None:
        self._sent = msg.data

    @property
    def has_plan(self) -> bool:
        """Whether the master has sent its plan, so that it also takes whole results."""
        return self._sent is not None

    def plan(self) -> LoadPlan:
        """Return the plan that the master has sent; InputError if this worker cannot use it."""
        sent = self._sent or {}
        if sent["version"] != version("edgeproof"):
            raise InputError(
                f"it runs edgeproof {version('edgeproof')}, the master {sent['version']}; install "
                "the same version on every machine"
            )
        return LoadPlan.unpack(sent["files"])

    def _on_end_message(self, **_: Any) -> None:
        self._on_end()

    def _on_heartbeat(self, **_: Any) -> None:
        self._heard = perf_counter()

    def _watch_master(self) -> None:
        # Locust's own limit is a minute, in which nobody watches what this process sends.
        while perf_counter() - self._heard < MASTER_SECONDS:
            gevent.sleep(_LOOK_SECONDS)
        self._on_orphaned(
            f"the master {self._runner.master_host}:{self._runner.master_port} has been silent "
            f"for {MASTER_SECONDS:g} s; this worker ends"
        )

    def carry_out(self, run: LoadRun) -> None:
        """Load this worker's share, and tell the master what came of it; blocks."""
        self._begin = AsyncResult()
        told = {"pid": os.getpid(), "version": version("edgeproof")}
        self._runner.send_message(IDLE, told)
        received, data = self._begin.get(timeout=PREPARE_SECONDS)
        run.arrivals.share(data["position"], data["of"])
        run.load(received + data["starts_in"])

    def tell(self, found: dict[str, Any]) -> None:
        """Send the master what this worker found."""
        self._runner.send_message(DONE, found)

    def report(self, progress: dict[str, Any]) -> None:
        """Send the master where this worker's part stands."""
        self._runner.send_message(PROGRESS, progress)

    def fail(self, reason: str) -> None:
        """Tell the master that this worker cannot do its part."""
        self._runner.send_message(FAILED, {"reason": reason})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a test came to: what each worker told, by its name, and who was lost, and why.

    has_begun: whether the workers were told to begin.
    """

    told: Mapping[str, Any]
    lost: tuple[str, ...]
    has_begun: bool


@dataclass(slots=True)
class _Test:
    """One test: its plan, who takes part in it, and what they told."""

    run: LoadRun
    members: set[str]
    found: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    has_begun: bool = False
    idle: dict[str, int] = field(default_factory=dict)  # process id of each, in order of coming
    told: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    began: float | None = None
    is_over: bool = False

    @property
    def ends(self) -> float:
        """When every worker has told what it found, on the scale of perf_counter()."""
        if self.began is None:
            return math.inf
        plan = self.run.plan
        return self.began + plan.scenario.total_time + plan.timeout + LATE_SECONDS


class Master:
    """Waits until every worker's pool waits, begins the load, and gathers what they found.

    begin: asks for the clean start and returns when the load begins, on the scale of
    perf_counter(). on_done: called once a test with what was found; where a worker was lost, the
    others were told to end, and what they still told is there.
    """

    def __init__(
        self,
        runner: MasterRunner,
        *,
        begin: Callable[[LoadRun], float],
        on_done: Callable[[Found], None],
    ) -> None:
        self._runner = runner
        self._begin, self._on_done = begin, on_done
        self._test: _Test | None = None
        runner.register_message(IDLE, self._on_idle, concurrent=True)
        runner.register_message(DONE, self._on_tally)
        runner.register_message(FAILED, self._on_failed, concurrent=True)
        runner.register_message(PROGRESS, self._on_progress)

    def expect(self, run: LoadRun) -> None:
        """Take up a new test, of which *run* is the plan."""
        self.forget()
        self._test = _Test(run, self._present())
        gevent.spawn(self._watch_workers, self._test)

    def hand_out(self, plan: LoadPlan) -> None:
        """Send *plan* to every worker, before Locust tells it to begin."""
        message = {"version": version("edgeproof"), "files": plan.pack()}
        for worker in sorted(self._present()):
            self._runner.send_message(PLAN, message, client_id=worker)

    def stop(self) -> None:
        """End the test now, with what the workers tell within seconds; blocks."""
        if self._test is not None and not self._test.is_over:
            self._give_up(self._test)

    @property
    def progress(self) -> list[Mapping[str, Any]]:
        """What each worker last said of its part."""
        return [] if self._test is None else list(self._test.progress.values())

    def forget(self) -> None:
        """Wait for nobody any more."""
        if self._test is not None:
            self._test.is_over = True

    def _on_idle(self, msg: Any, **_: Any) -> None:
        test = self._test
        if test is None or test.is_over:
            return
        if test.began is not None:
            return  # it came too late, which ends the test
        test.idle[msg.node_id] = msg.data["pid"]
        test.members.add(msg.node_id)
        ours, theirs = version("edgeproof"), msg.data.get("version", "an older version")
        if theirs != ours:
            name = self._name(test, msg.node_id)
            self._give_up(
                test,
                f"{name} runs edgeproof {theirs}, its master {ours}; install the same version on "
                "every machine",
            )
            return
        if test.members != set(test.idle):
            return
        test.began = perf_counter()
        try:
            test.began = begins = self._begin(test.run)
        except EdgeproofError as error:
            self._give_up(test, str(error))
            return
        if test.is_over:
            return  # somebody ended it meanwhile
        test.has_begun = True
        for position, worker in enumerate(test.idle):
            message = {
                "position": position,
                "of": len(test.idle),
                "starts_in": max(0.0, begins - perf_counter()),
            }
            self._runner.send_message(BEGIN, message, client_id=worker)

    def _on_tally(self, msg: Any, **_: Any) -> None:
        test = self._test
        if test is None or test.is_over or msg.node_id in test.told:
            return
        test.told.add(msg.node_id)
        test.found[self._name(test, msg.node_id)] = msg.data
        if test.told >= test.members:
            self._finish(test)
        elif msg.data.get("ended_early"):
            gevent.spawn(self._give_up, test)

    def _on_progress(self, msg: Any, **_: Any) -> None:
        if self._test is not None:
            self._test.progress[msg.node_id] = msg.data

    def _on_failed(self, msg: Any, **_: Any) -> None:
        test = self._test
        if test is not None and not test.is_over:
            test.told.add(msg.node_id)  # all that it ever will
            self._give_up(test, f"{self._name(test, msg.node_id)} failed: {msg.data['reason']}")

    def _watch_workers(self, test: _Test) -> None:
        """End *test* when Locust misses a worker that has not told, or has one more of them."""
        while not test.is_over:
            late = self._present() - test.members
            if test.began is not None and late:
                name = self._name(test, min(late))
                self._give_up(
                    test,
                    f"{name} joined after the start, and Locust moved connections to it; start "
                    "every worker before the load",
                )
                return
            for worker in sorted(test.members - test.told):
                node = self._runner.clients.get(worker)
                why = None
                if node is None:
                    why = "ended"
                elif node.state == STATE_MISSING:
                    why = "sends no heartbeat any more"
                elif perf_counter() > test.ends:
                    why = f"did not tell what it found within {LATE_SECONDS:g} s of the end"
                if why is not None:
                    self._lose(test, worker, why)
                    return
            gevent.sleep(_LOOK_SECONDS)

    def _lose(self, test: _Test, worker: str, why: str) -> None:
        name = self._name(test, worker)
        test.told.add(worker)  # all that it ever will
        when = "before the load began"
        if test.began is not None and perf_counter() >= test.began:
            when = f"{perf_counter() - test.began:.1f} s after the start"
        _kill_child(test.idle.get(worker))
        self._give_up(test, f"{name} was lost: it {why}, noticed {when}; its requests are unknown")

    def _give_up(self, test: _Test, reason: str | None = None) -> None:
        """End *test* with what is told within seconds; reason: why it proves nothing."""
        if reason is not None:
            test.reasons.append(reason)
        for worker in sorted(test.members - test.told):
            self._runner.send_message(END, client_id=worker)
        until(lambda: test.is_over or test.told >= test.members, limit=TELL_SECONDS, pause=0.05)
        if not test.is_over and test.has_begun:
            test.reasons += [
                f"{self._name(test, worker)} did not tell what it found within {TELL_SECONDS:g} s; "
                "its requests are unknown"
                for worker in sorted(test.members - test.told)
            ]
        self._finish(test)

    def _finish(self, test: _Test) -> None:
        if not test.is_over:
            test.is_over = True
            self._on_done(
                Found(told=test.found, lost=tuple(test.reasons), has_begun=test.has_begun)
            )

    def _present(self) -> set[str]:
        return {node.id for node in self._runner.clients.all if node.state != STATE_MISSING}

    def _name(self, test: _Test, worker: str) -> str:
        pid = test.idle.get(worker)
        process = "" if pid is None else f", process {pid}"
        runner: Any = self._runner  # this method has no types
        return f"worker {runner.get_worker_index(worker)} ({worker}{process})"


def _kill_child(pid: int | None) -> None:
    """Kill the process *pid* if this one made it: a stopped one would stay for ever."""
    try:
        if pid is not None and psutil.Process(pid).ppid() == os.getpid():
            os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, psutil.NoSuchProcess):
        pass
