"""The runs of several scenarios on the same random numbers, spread over places."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from core.errors import EdgeproofError
from core.scenario.scenario import Scenario
from sim.kept_runs import KeptRuns
from sim.places import Places
from sim.replications import Found

MOST_TRIES = 3
"""Of a run whose process is killed."""
LOOK_EVERY = 10.0
"""Seconds without a finished run after which the places are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A run that is to be made: replication *number* of *scenario*, which messages call *name*."""

    scenario: Scenario
    number: int
    name: str

    @property
    def shown(self) -> str:
        """How messages call it."""
        return f"replication {self.number + 1} of {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """What a grid tells of itself.

    on_done: called after each run with the runs that are done and all. on_lost: called with a
    sentence when a process was killed and its run is made again.
    """

    on_done: Callable[[int, int], None] = lambda _, __: None
    on_lost: Callable[[str], None] = lambda _: None


def run_grid(
    scenarios: Sequence[tuple[str, Scenario]],
    numbers: Sequence[int],
    places: Places,
    kept: KeptRuns,
    listener: Listener | None = None,
) -> None:
    """Make the runs of replications *numbers* of every one of *scenarios*, by name, into *kept*.

    Runs that *kept* has are not made again. Every scenario gets its first replication before any
    gets its second one: what is interrupted has a little of all. Runs of one replication go to one
    place as far as they can, which then has its data. Raise EdgeproofError if the process of a run
    is killed MOST_TRIES times, and what a run raises; *kept* then holds what was found before.
    """
    tell = listener or Listener()
    tasks = [
        Task(scenario=scenario, number=number, name=name)
        for number in numbers
        for name, scenario in scenarios
        if number not in kept.of(scenario, (number,))
    ]
    total, done = len(tasks), 0
    waiting: list[deque[Task]] = [deque() for _ in range(places.count)]
    for task in tasks:
        waiting[task.number % places.count].append(task)
    running: dict[Future[Found], tuple[int, Task]] = {}
    tries: dict[int, int] = {}

    def begin(place: int) -> None:
        queue = waiting[place] or max(waiting, key=len)
        if queue:
            # Of another place's queue the end: its own beginning is what it has data for.
            task = queue.popleft() if queue is waiting[place] else queue.pop()
            running[places.submit(place, task.scenario, task.number)] = (place, task)

    try:
        for place in range(places.count):
            begin(place)
        while running:
            ended = wait(running, timeout=LOOK_EVERY, return_when=FIRST_COMPLETED).done
            if not ended:
                places.check()
            for future in ended:
                place, task = running.pop(future)
                if future.cancelled():
                    raise EdgeproofError(
                        f"{task.shown}: it was cancelled where it ran; other runs are kept: the "
                        "same command goes on from there"
                    )
                error = future.exception()
                if error is None:
                    kept.keep(task.scenario, {task.number: future.result()})
                    done += 1
                    tell.on_done(done, total)
                elif places.is_lost(error):
                    tries[id(task)] = tries.get(id(task), 1) + 1
                    _again(task, tries[id(task)], tell)
                    places.renew(place)
                    waiting[place].appendleft(task)
                else:
                    raise error
                begin(place)
    finally:
        places.cancel()


def _again(task: Task, tries: int, tell: Listener) -> None:
    """Say that *task* is tried again; EdgeproofError if it was tried often enough."""
    if tries > MOST_TRIES:
        raise EdgeproofError(
            f"{task.shown}: its process was killed {MOST_TRIES} times, as the system does where "
            "memory runs out; free some, or make the run smaller (duration, rate). Other runs are "
            "kept: the same command goes on from there"
        )
    tell.on_lost(
        f"a process was killed while it simulated {task.shown}: simulated again (try {tries} of "
        f"{MOST_TRIES})"
    )
