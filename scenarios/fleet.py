"""Locust's distributed mode: workers start together and the master adds up what they found."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import gevent
import psutil
from gevent.event import AsyncResult
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from core.errors import EdgeproofError
from scenarios.run import PREPARE_SECONDS, LoadRun
from scenarios.tally import Tally
from scenarios.watch import until

IDLE, BEGIN, DONE = "edgeproof_idle", "edgeproof_begin", "edgeproof_done"
FAILED, END = "edgeproof_failed", "edgeproof_end"
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
        hooks: Any = environment.events  # Locust gives them no types
        hooks.heartbeat_received.add_listener(self._on_heartbeat)
        gevent.spawn(self._watch_master)

    def _on_begin(self, msg: Any, **_: Any) -> None:
        self._begin.set((perf_counter(), msg.data))

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
        self._runner.send_message(IDLE, {"pid": os.getpid()})
        received, data = self._begin.get(timeout=PREPARE_SECONDS)
        run.arrivals.share(data["position"], data["of"])
        run.load(received + data["starts_in"])

    def tell(self, tally: Tally) -> None:
        """Send the master what this worker found."""
        self._runner.send_message(DONE, tally.to_message())

    def fail(self, reason: str) -> None:
        """Tell the master that this worker cannot do its part."""
        self._runner.send_message(FAILED, {"reason": reason})


@dataclass(slots=True)
class _Test:
    """One test: its plan, who takes part in it, and what they told."""

    run: LoadRun
    members: set[str]
    tally: Tally
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
    """Waits until every worker's pool waits, asks for the clean start, and adds up the tallies.

    on_done: called once a test with the sum, and with why it proves nothing where a worker was
    lost: then the others are told to end, and what they still tell is in the sum.
    """

    def __init__(
        self, runner: MasterRunner, on_done: Callable[[Tally, tuple[str, ...]], None]
    ) -> None:
        self._runner = runner
        self._on_done = on_done
        self._test: _Test | None = None
        runner.register_message(IDLE, self._on_idle, concurrent=True)
        runner.register_message(DONE, self._on_tally)
        runner.register_message(FAILED, self._on_failed, concurrent=True)

    def expect(self, run: LoadRun) -> None:
        """Take up a new test, of which *run* is the plan."""
        self.forget()
        tally = Tally(lag_limit=run.plan.lag_limit, timeout=run.plan.timeout)
        self._test = _Test(run, self._present(), tally)
        gevent.spawn(self._watch_workers, self._test)

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
        if test.members != set(test.idle):
            return
        test.began = perf_counter()
        try:
            test.began = begins = test.run.prepare()
        except EdgeproofError as error:
            self._give_up(test, str(error))
            return
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
        test.tally.add(Tally.from_message(msg.data))
        if test.told >= test.members:
            self._finish(test)

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

    def _give_up(self, test: _Test, reason: str) -> None:
        test.reasons.append(reason)
        for worker in sorted(test.members - test.told):
            self._runner.send_message(END, client_id=worker)
        until(lambda: test.is_over or test.told >= test.members, limit=TELL_SECONDS, pause=0.05)
        self._finish(test)

    def _finish(self, test: _Test) -> None:
        if not test.is_over:
            test.is_over = True
            test.tally.planned = test.run.arrivals.planned  # those of the lost ones, too
            self._on_done(test.tally, tuple(test.reasons))

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
