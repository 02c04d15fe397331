"""Claims about the processes of a service: who is replaced, and when it is given up."""

from __future__ import annotations

from typing import Any, cast

import pytest

from core.errors import EdgeproofError
from core.service.crew import MOST_ENDS, Crew, ServiceProcess


class Ended:
    """A process that has ended, or has not."""

    def __init__(self, name: str, how: str = "", *, starts: bool = True) -> None:
        self.name, self.how, self.pid, self.starts = name, how, 7, starts

    def ended(self) -> str:
        return f"{self.name} ended with {self.how}" if self.how else ""

    def was_killed(self) -> bool:
        return self.how.startswith("SIG")

    def ready(self) -> str:
        if not self.starts:
            raise EdgeproofError(f"the service ended while starting ({self.how})")
        return "http://127.0.0.1:1"


def crew_of(**groups: list[Ended]) -> Crew:
    crew = Crew()
    for name, group in groups.items():
        setattr(crew, name, group)
    return crew


def fresh(ended: ServiceProcess) -> Any:
    return Ended(ended.name)


def test_those_that_ended_are_replaced_in_their_places() -> None:
    first, second, consumer = Ended("worker 0"), Ended("worker 1", "SIGKILL"), Ended("the consumer")
    crew = crew_of(workers=[first, second], consumers=[consumer])
    assert crew.replace(fresh) == ["worker 1 ended with SIGKILL; process 7 takes its place"]
    assert crew.workers[0] is cast(Any, first)
    assert crew.workers[1] is not cast(Any, second)
    assert crew.replace(fresh) == []


def test_many_ends_within_a_minute_give_the_service_up() -> None:
    crew = crew_of(workers=[Ended("worker 0", "exit code 1")])
    for _ in range(MOST_ENDS):
        crew.replace(lambda _: cast(Any, Ended("worker 0", "exit code 1")))
    with pytest.raises(EdgeproofError, match="exit code 1; 6 processes ended within 60 s"):
        crew.replace(fresh)


def test_store_that_ended_cannot_be_replaced() -> None:
    with pytest.raises(EdgeproofError, match="the shared L2 ended with SIGKILL"):
        crew_of(stores=[Ended("the shared L2", "SIGKILL")]).replace(fresh)


def test_one_that_is_killed_while_it_starts_is_replaced_like_any_other() -> None:
    crew = crew_of(workers=[Ended("worker 0", "exit code 1")])
    starts = [Ended("worker 0", "SIGKILL", starts=False), Ended("worker 0")]
    told = crew.replace(lambda _: cast(Any, starts.pop(0)))
    assert [line.partition(";")[0] for line in told] == [
        "worker 0 ended with exit code 1", "worker 0 ended with SIGKILL",
    ]  # fmt: skip
    assert crew.replace(fresh) == []


def test_one_that_cannot_start_is_given_up() -> None:
    crew = crew_of(workers=[Ended("worker 0", "SIGKILL")])
    with pytest.raises(EdgeproofError, match=r"while starting \(exit code 1\)"):
        crew.replace(lambda _: cast(Any, Ended("worker 0", "exit code 1", starts=False)))
