"""Workers, from the side of the comparing process: fresh ones, with a deadline."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from edgeproof.paired.timing import Cost, timed_pairs
from edgeproof.paired.versions import Unusable

# Loads this package by its path: an import path entry would expose our other packages.
_BOOT = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
folder = sys.argv.pop(1)
spec = spec_from_file_location(
    "edgeproof", folder + "/__init__.py", submodule_search_locations=[folder]
)
sys.modules["edgeproof"] = module = module_from_spec(spec)
spec.loader.exec_module(module)
from edgeproof.paired.worker import main
main()
"""
_ENGINE = str(Path(__file__).parents[1])
ROUNDS_APART = 60
"""Fewer than in one process: on a busy machine the switch takes longer than the timing."""
_NOT_INHERITED = (
    "COV_CORE",
    "PYTEST_CURRENT_TEST",
    "PYTEST_VERSION",
    "PYTEST_XDIST",
    "PYTHONHASHSEED",
    "PYTHONPYCACHEPREFIX",
)

Clock = Callable[[], float]
Event = dict[str, Any]


class TimeUp(Exception):
    """The deadline passed while a worker was still measuring."""


class Crashed(Exception):
    """A worker ended before it was done; the message has the last lines that it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The request to workers; `worlds` are base and head."""

    project: Path
    worlds: tuple[dict[str, Any], dict[str, Any]]
    pythons: tuple[str, str]
    paths: tuple[str, ...]
    options: tuple[str, ...]
    shared_suites: tuple[str, ...]
    distributions: tuple[str, ...]
    is_together: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One repetition: its benchmarks, and the order of the versions."""

    number: int
    only: tuple[str, ...] | None
    deadline: float

    @property
    def is_head_loaded_first(self) -> bool:
        return self.number % 2 == 1

    @property
    def is_turned(self) -> bool:
        return self.number // 2 % 2 == 1


class Worker:
    """A process that measures."""

    def __init__(
        self,
        python: str,
        asked: dict[str, Any],
        scratch: Path,
        deadline: float,
        *,
        under: Sequence[str] = (),
        hash_seed: str = "random",
    ) -> None:
        self.deadline = deadline
        self._log = (scratch / "log").open("w+b")
        reading, writing = os.pipe()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_NOT_INHERITED)
            and not (name == "PYTEST_ADDOPTS" and "--paired" in value)
        }
        self._process = subprocess.Popen(
            [*under, python, "-P", "-c", _BOOT, _ENGINE, str(writing)],
            cwd=asked["project"],
            env={**kept, "PYTHONHASHSEED": hash_seed, "PYTEST_DEBUG_TEMPROOT": str(scratch)},
            stdin=subprocess.PIPE, stdout=self._log, stderr=self._log, pass_fds=[writing],
            start_new_session=True,  # Ctrl-C is handled by the process that keeps the results
        )  # fmt: skip
        os.close(writing)
        self._events, self._rest = reading, b""
        self.tell({**asked, "scratch": str(scratch / "cache")})

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # its events say why
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()

    def hear(self) -> Event:
        """Return the next event. Raise TimeUp at the deadline, Crashed if there is none."""
        while b"\n" not in self._rest:
            left = self.deadline - monotonic()
            if left <= 0 or not select.select([self._events], [], [], left)[0]:
                raise TimeUp
            part = os.read(self._events, 1 << 16)
            if not part:
                raise Crashed(self._last_words())
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        event: Event = json.loads(line)
        if event["event"] == "fault":
            raise Unusable(event["reason"])
        return event

    def expect(self, kind: str) -> Event:
        """Return the next event of *kind*."""
        while (event := self.hear())["event"] != kind:
            pass
        return event

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        told = " | ".join(line.strip() for line in lines if line.strip()[:1] not in ("", "~", "^"))
        code = self._process.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"a measuring process ended with {how}: {told[-600:] or 'it said nothing'}"

    def close(self) -> None:
        """End the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._events)
        self._log.close()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()


def job(task: Task, turn: Turn, group: Sequence[int]) -> dict[str, Any]:
    """Return the job of a worker that holds the versions of *group*."""
    return {
        "project": str(task.project),
        "worlds": [task.worlds[index] for index in group],
        "paths": task.paths,
        "options": task.options,
        "shared_suites": task.shared_suites,
        "distributions": task.distributions,
        "only": turn.only,
        "turned": turn.is_turned,
        "is_checked": turn.number < 2,  # once in each order of loading
    }


@contextmanager
def workers(task: Task, turn: Turn, *, of: Sequence[Sequence[int]]) -> Iterator[list[Worker]]:
    """Yield a worker for each group of versions in *of*, and end them."""
    with tempfile.TemporaryDirectory(prefix="edgeproof-", ignore_cleanup_errors=True) as folder:
        started: list[Worker] = []
        try:
            for number, group in enumerate(of):
                scratch = Path(folder) / str(number)
                scratch.mkdir()
                python = task.pythons[group[0]]
                started.append(Worker(python, job(task, turn, group), scratch, turn.deadline))
            yield started
        finally:
            for worker in started:
                worker.close()


def repetition(task: Task, turn: Turn) -> Iterator[Event]:
    """Yield the events of one repetition: one process for both versions, or one for each.

    Raise TimeUp, Crashed or Unusable.
    """
    order = (1, 0) if turn.is_head_loaded_first else (0, 1)
    if task.is_together:
        with workers(task, turn, of=[order]) as (worker,):
            while (event := worker.hear())["event"] != "end":
                yield event
        return
    with workers(task, turn, of=[(0,), (1,)]) as both:
        yield from _apart(both, turn)


def _apart(both: Sequence[Worker], turn: Turn) -> Iterator[Event]:
    sides: dict[str, list[str]] = {}
    for worker in both:
        sides.update(worker.expect("collected")["sides"])
    base, head = sides.values()
    chosen = [name for name in base if name in head and (turn.only is None or name in turn.only)]
    yield {"event": "collected", "chosen": chosen, "sides": sides}
    for worker in both:
        worker.tell({"benchmarks": chosen})
    for name in chosen:
        at = [worker.hear() for worker in both]
        calls = [_Distant(worker) for worker in both]
        if all(event["event"] == "at" for event in at):
            with suppress(_Raised):
                pairs = timed_pairs(*calls, turned=turn.is_turned, most=ROUNDS_APART)
                speed = min(event["speed"] for event in at)
                yield {"event": "measured", "benchmark": name, "pairs": pairs, "speed": speed}
        for worker, event, call in zip(both, at, calls, strict=True):
            if event["event"] == "tested":
                continue
            if not call.has_raised:
                worker.tell({"do": "go on"})
            worker.expect("tested")
    for worker in both:
        while (event := worker.hear())["event"] != "end":
            yield event


class _Raised(Exception):
    """A worker's call raised; its test reports the error."""


class _Distant:
    """A call in another process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.has_raised = False

    def warm_up(self) -> Cost:
        told = self._asked({"do": "warm up"})
        return Cost(timed=told["timed"], whole=told["whole"], most_calls=told["most"])

    def block(self, calls: int) -> float:
        return float(self._asked({"do": "time", "calls": calls})["nanoseconds"])

    def _asked(self, command: dict[str, Any]) -> Event:
        self._worker.tell(command)
        event = self._worker.hear()
        if event["event"] == "raised":
            self.has_raised = True
            raise _Raised
        return event
