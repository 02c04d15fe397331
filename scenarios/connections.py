"""How many connections a load may hold, and how many it opens ahead."""

from __future__ import annotations

import resource
from math import ceil

import numpy as np

from core.errors import InputError
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload

MOST_CONNECTIONS = 65_536
OWN_DESCRIPTORS = 128
"""What the generator opens beside its connections, at most."""

_SLACK_SECONDS = 0.1
_WARM_SPAN = 0.05
_MOST_WARM = 64


def descriptors() -> int:
    """Return how many connections the limit of open files (ulimit -Hn) leaves."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, hard - OWN_DESCRIPTORS))


def raise_descriptors(connections: int) -> None:
    """Let this process open as many files as *connections* need, up to its hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + OWN_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        possible = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))


def needed_connections(scenario: Scenario, workload: Workload) -> int:
    """Return how many connections *workload* takes if no answer comes within the time limit.

    That is rate x timeout, counted: the most arrivals in any span of that length. A load with so
    many connections always has a free one.
    """
    span = round((scenario.timeout + _SLACK_SECONDS) * 1e9)
    ends = np.searchsorted(workload.intended_ns, workload.intended_ns + span)
    return max(1, int((ends - np.arange(len(workload))).max(initial=0)))


def checked_connections(asked: int | None, needed: int) -> int:
    """Return how many connections a load may hold: *asked*, or *needed* as far as files allow.

    Raise InputError for more than this machine lets a process open.
    """
    possible = descriptors()
    if asked is None:
        return min(needed, possible)
    if not 1 <= asked <= possible:
        raise InputError(
            f"--connections {asked}: use 1 to {possible:,}; more takes a higher limit of open "
            "files (ulimit -Hn)"
        )
    return asked


def warm_number(rate: float) -> int:
    """Return how many connections are opened ahead for *rate* requests/s: those of 50 ms."""
    return min(_MOST_WARM, 1 + ceil(rate * _WARM_SPAN))
