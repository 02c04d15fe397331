"""What a Locust process does with the load when its test starts, stops and quits."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.event import Events
from locust.exception import StopTest
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from core.child import die_with_parent, has_parent_mark
from core.errors import EdgeproofError, InputError
from core.metrics.kpi import Outcome
from core.metrics.verdict import compare, outcome
from core.scenario.file import load_scenario
from core.scenario.replay import prepare
from core.wire import service_token
from scenarios.catalogue import find_scenario
from scenarios.connections import MOST_CONNECTIONS, raise_descriptors, warm_number
from scenarios.console import Console
from scenarios.fleet import Found, Master, Worker
from scenarios.gathering import Gathering
from scenarios.hosts import named_hosts, peak_rate
from scenarios.measurement import measure, reason_lines, summary
from scenarios.merging import packed
from scenarios.plan import LoadPlan, make_plan
from scenarios.preflight import preflight
from scenarios.rendering import compiled
from scenarios.renewal import Asking, take_secrets
from scenarios.result import LoadResult
from scenarios.run import LoadRun
from scenarios.tally import Tally
from scenarios.visitor import ConnectionPool, Visitor
from scenarios.warming import open_ahead
from scenarios.watch import until

PLAN_VARIABLE = "EDGEPROOF_PLAN"
STOP_SECONDS = 8.0
CONNECT_SECONDS = 60.0
"""What workers have to connect, where --expect-workers-max-wait says nothing."""

_log = logging.getLogger("edgeproof")


class Session:
    """Carries out a plan in one Locust process: alone, as a worker, or as the master of workers."""

    def __init__(self, environment: Environment, visitor: type[Visitor]) -> None:
        runner = environment.runner
        if runner is None:
            raise RuntimeError("Locust has no runner")
        self._environment, self._runner, self._visitor = environment, runner, visitor
        self._options: Any = environment.parsed_options
        self._run: LoadRun | None = None
        self._task: gevent.Greenlet | None = None
        self._console: Console | None = None
        self._worker: Worker | None = None
        if isinstance(runner, WorkerRunner):
            self._worker = Worker(
                environment, runner, on_end=self._stop_early, on_orphaned=self._leave
            )
        self._gathering: Gathering | None = None
        self._master = (
            Master(runner, begin=self._begin, on_done=self._on_all_done)
            if isinstance(runner, MasterRunner)
            else None
        )

    @classmethod
    def listen(cls, events: Events, visitor: type[Visitor]) -> None:
        """Make one when Locust is set up."""

        def on_init(environment: Environment, **_: Any) -> None:
            session = cls(environment, visitor)
            hooks: Any = environment.events  # Locust gives them no types
            hooks.test_start.add_listener(session.on_test_start)
            hooks.test_stopping.add_listener(session.on_test_stopping)
            hooks.test_stop.add_listener(session.on_test_stop)
            hooks.quitting.add_listener(session.on_quitting)
            session.set_up()

        hooks: Any = events
        hooks.init.add_listener(on_init)

    def set_up(self) -> None:
        """Check the input before anything starts, and size the pool; exit with 2 if it is wrong."""
        options = self._options
        if options.plan_folder:
            if has_parent_mark():  # not where a user runs Locust
                die_with_parent(signal.SIGKILL)
            self._console = Console.take_over(Path(options.plan_folder))
            if isinstance(self._runner, MasterRunner):
                self._gathering = Gathering(Path(options.plan_folder))
                self._console.tell({"port": self._runner.server.port})
        if options.headless and not isinstance(self._runner, WorkerRunner):
            # KeyboardInterrupt would end whichever greenlet runs just then.
            gevent.signal_handler(signal.SIGINT, os.kill, os.getpid(), signal.SIGTERM)
        if isinstance(self._runner, WorkerRunner) and not options.scenario:
            return  # its master tells it when the test starts
        if options.run_id is None and isinstance(self._runner, MasterRunner):
            options.run_id = _new_run_id()
        if isinstance(self._runner, MasterRunner) and (options.headless or options.autostart):
            limit = float(options.expect_workers_max_wait or CONNECT_SECONDS)
            options.expect_workers_max_wait = 0  # Locust's own end names nobody
            gevent.spawn(self._await_workers, self._runner, limit)
        hosts = self._hosts()
        if not hosts and not options.headless:
            hosts = ["http://127.0.0.1"]  # the web page will ask for it; the pool needs a size now
        try:
            plan = self._checked_plan(hosts)
        except EdgeproofError as error:
            sys.exit(_complain(error))
        if options.num_users is None:
            options.num_users = plan.pool_size
        if options.spawn_rate is None:
            options.spawn_rate = float(options.num_users)
        if not self._environment.host and options.headless:
            self._environment.host = plan.hosts[0]

    def _await_workers(self, runner: MasterRunner, limit: float) -> None:
        """End the process with 3 if fewer workers than expected connect within *limit* seconds."""
        wanted: int = self._options.expect_workers
        told = -1

        def are_here() -> bool:
            nonlocal told
            here = len(runner.clients.ready)
            if self._console is not None and here != told:
                told = here
                self._console.tell({"phase": "waiting", "workers": here, "expected": wanted})
            return here >= wanted

        if until(are_here, limit=limit, pause=0.1):
            return
        here = ", ".join(sorted(runner.clients)) or "none"
        print(
            f"edgeproof: INVALID: {len(runner.clients.ready)} of {wanted} workers connected within "
            f"{limit:g} s ({here}); start the others with --worker, or give --expect-workers and "
            "--expect-workers-max-wait",
            file=sys.stderr,
            flush=True,
        )
        runner.quit()
        sys.exit(3)

    def _hosts(self) -> list[str]:
        return [url for url in (self._environment.host or "").split(",") if url.strip()]

    def _checked_plan(self, hosts: Sequence[str]) -> LoadPlan:
        plan = self._plan(hosts)
        compiled(plan.scenario, os.environ)  # every secret that its headers name is there
        return plan

    def _plan(self, hosts: Sequence[str]) -> LoadPlan:
        options = self._options
        if self._worker is not None and self._worker.has_plan:
            return self._worker.plan()
        if options.plan_folder:
            return LoadPlan.read(Path(options.plan_folder))
        if not options.scenario:
            raise InputError("no scenario is given; name one with --scenario FILE")
        scenario = load_scenario(
            find_scenario(options.scenario), overrides=options.set, rate=options.rate,
            on_notice=_log.warning,
        )  # fmt: skip
        workload = prepare(scenario).workload
        for note in workload.notes:
            _log.info(note)
        return make_plan(
            scenario,
            workload,
            hosts,
            run_id=options.run_id or _new_run_id(),
            allowed_hosts=named_hosts(options.i_am_allowed_to_load),
            connections=options.connections,
            max_rate=options.max_rate,
            max_duration=options.max_duration,
        )

    def on_test_start(self, **_: Any) -> None:
        """Take up the plan; users then come to wait for its arrivals."""
        self._environment.process_exit_code = None
        is_alone = isinstance(self._runner, LocalRunner)
        try:
            plan = self._checked_plan(self._hosts())
            pool = ConnectionPool(
                plan.transport,
                concurrency=MOST_CONNECTIONS,  # the users are the bound
                connection_timeout=plan.timeout,
                network_timeout=plan.timeout,
            )
        except EdgeproofError as error:
            self._environment.process_exit_code = _complain(error)
            if self._worker is not None:
                self._worker.fail(str(error))
            if is_alone:
                raise StopTest("the load cannot start") from None
            gevent.spawn(self._end)
            return
        watches = is_alone or self._gathering is not None
        run = LoadRun(plan, token=service_token(), watches=watches)
        self._run = run
        users = self._runner.target_user_count
        if self._worker is None and users < plan.pool_size:
            _log.warning(
                "%d users are started, and the rate needs %d (-u %d); the load adds those that it "
                "lacks, and their first requests may be sent late",
                users, plan.pool_size, plan.pool_size,
            )  # fmt: skip
        if self._master is not None:
            if self._gathering is not None and self._console is not None:
                self._master.hand_out(plan)
                said, master = self._console.tell, self._master
                gevent.spawn(self._gathering.report, run, lambda: master.progress, said)
            self._master.expect(run)
            return
        self._visitor.client_pool = pool
        self._visitor.load_run = run
        raise_descriptors(plan.connections)
        run.arrivals.add_user = lambda inbox: run.more_users.append(
            gevent.spawn(self._visitor(self._environment).serve, inbox)
        )
        self._task = gevent.spawn(self._carry_out, run)
        if self._console is not None:
            gevent.spawn(run.report, self._tell_progress)
            if plan.renews or self._worker is not None:  # its tokens are its machine's own
                run.on_unauthorised = Asking(self._console).ask
                gevent.spawn(take_secrets, run)

    def _tell_progress(self, progress: dict[str, Any]) -> None:
        if self._console is not None:
            self._console.tell(progress)
        if self._worker is not None and self._worker.has_plan:
            self._worker.report(progress)

    def _begin(self, run: LoadRun) -> float:
        return run.prepare() if self._gathering is None else self._gathering.begin(run)

    def _carry_out(self, run: LoadRun) -> None:
        try:
            run.await_pool(lambda: self._runner.target_user_count)
            run.warm_up(lambda: self._connect(run.plan))
            if self._worker is not None:
                self._worker.carry_out(run)
            else:
                if run.plan.preflight:
                    preflight(run, self._visitor.client_pool)
                run.load(run.prepare())
        except (EdgeproofError, gevent.Timeout) as error:
            self._environment.process_exit_code = _complain(error)
            if self._worker is not None:
                self._worker.fail(str(error))
            self._run = None
            run.finished.set()
        if not run.interrupted or run.ended_early:
            gevent.spawn(self._conclude_and_end)

    def _connect(self, plan: LoadPlan) -> None:
        """Open connections and go through the generator's own path; nothing is requested."""
        self._visitor.rehearse(self._environment)
        pool: Any = self._visitor.client_pool
        number = min(plan.connections, warm_number(peak_rate(plan.scenario, plan.workload)))
        open_ahead(pool.get_client, plan.hosts, number)

    def _conclude_and_end(self) -> None:
        self._conclude()
        if self._worker is None:
            self._end()

    def _stop_early(self) -> None:
        """Stop the load and tell the master what was found."""
        self.on_test_stopping()
        self._conclude()

    def _leave(self, reason: str) -> None:
        """End this worker, whose master is gone."""
        _complain(EdgeproofError(reason))
        self.on_test_stopping()
        self._run = None
        self._environment.process_exit_code = 3
        self._runner.quit()

    def _end(self) -> None:
        if self._options.headless:
            self._runner.quit()
        else:
            self._runner.stop()

    def on_test_stopping(self, **_: Any) -> None:
        """Stop handing out arrivals and give the requests on their way a moment."""
        run = self._run
        if run is None or run.finished.is_set() or self._master is not None:
            return
        run.interrupt()
        if not run.has_begun and self._task is not None:
            self._task.kill()
        else:
            run.finished.wait(STOP_SECONDS)

    def on_test_stop(self, **_: Any) -> None:
        """Say what came of it."""
        self._conclude()

    def on_quitting(self, **_: Any) -> None:
        """Do the same where Locust is told to end in the middle of a test."""
        if self._gathering is not None and self._master is not None and self._run is not None:
            self._run.interrupt()
            self._master.stop()
        elif self._master is not None and self._run is not None:
            self._master.forget()
            self._run = None
            self._say([], ("ended before all workers had told what they found",), has_failed=False)
        self.on_test_stopping()
        self._conclude()

    def _conclude(self) -> None:
        """Write the result, print it, set the exit code; once a test."""
        run = self._run
        if run is None or self._master is not None:
            return
        self._run = None
        result = run.result()
        folder = self._options.plan_folder or self._options.result_folder
        if folder and self._worker is None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            result.write(Path(folder))
        if self._worker is not None:
            if self._worker.has_plan:
                self._worker.tell({"files": packed(result), "ended_early": run.ended_early})
            else:
                self._worker.tell(Tally.of(run.plan, result).to_message())
            self._environment.process_exit_code = 0
            return
        self._tell_result(run, result)

    def _tell_result(self, run: LoadRun, result: LoadResult) -> None:
        record, _ = measure(run.plan.scenario, run.plan.workload, result)
        flaws = record.audit.invalid if record.audit else ()
        found = outcome(compare(run.plan.scenario.judged(), None, record))
        reasons = flaws if found is Outcome.INVALID else ()
        in_doubt = [
            f"in doubt: {flaw}; {found} holds in spite of it" for flaw in flaws[len(reasons) :]
        ]
        reasons_of = reason_lines(
            record.failures,
            timeout=run.plan.scenario.timeout,
            own=run.plan.scenario.attempt_limits,
        )
        lines = [*summary(record.latencies), *reasons_of, *record.notes, *in_doubt]
        has_failed = bool(record.failures) and not self._options.plan_folder
        self._say(lines, reasons, has_failed=has_failed)

    def _on_all_done(self, found: Found) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        is_ending = run.interrupted
        if self._gathering is not None:
            try:
                self._tell_result(run, self._gathering.end(run, found))
            except EdgeproofError as error:
                self._environment.process_exit_code = _complain(error)
        else:
            scenario = run.plan.scenario
            tally = Tally(
                lag_limit=run.plan.lag_limit,
                timeout=scenario.timeout,
                timeouts=scenario.attempt_limits,
            )
            for told in found.told.values():
                tally.add(Tally.from_message(told))
            tally.planned = run.arrivals.planned  # those of the lost ones, too
            lines = [
                *summary(tally.latencies),
                *reason_lines(tally.failures, timeout=tally.timeout, own=tally.timeouts),
            ]
            reasons = (*found.lost, *tally.invalid())
            self._say(lines, reasons, has_failed=bool(tally.failures))
        if not is_ending:
            gevent.spawn(self._end)

    def _say(self, lines: list[str], reasons: tuple[str, ...], *, has_failed: bool) -> None:
        print("\n".join(["", *lines, *(f"INVALID: {reason}" for reason in reasons)]), flush=True)
        self._environment.process_exit_code = 3 if reasons else 1 if has_failed else 0


def _new_run_id() -> str:
    return uuid.uuid4().hex[:12]


def _complain(error: BaseException) -> int:
    """Print what is wrong, as the last line of the log; return the exit code for it."""
    print(f"edgeproof: {error}", file=sys.stderr, flush=True)
    return 2 if isinstance(error, InputError) else 1
