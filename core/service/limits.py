"""What bounds the connections that a process of the service holds."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Any

from core.errors import InputError

MOST_CONNECTIONS = 1_000_000
SHORTEST, LONGEST = 0.1, 86_400.0
GRACE_SECONDS = 5.0
"""What requests in flight have once the end was asked for; then they are cut off."""

_OWN_DESCRIPTORS = 256
"""What a process opens beside its connections, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """The limits of one process; InputError for one that cannot be.

    most: connections at a time; one more is answered 503. idle: seconds without a request after
    which a connection is closed. receive: seconds in which the head of a request must arrive, and
    then its body, and in which a client must take an answer.

    The generator of a load adds connections while the service is slow, up to its rate times its
    timeout, and may leave them idle for minutes.
    """

    most: int = 10_000
    idle: float = 120.0
    receive: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.most <= MOST_CONNECTIONS:
            raise InputError(f"--max-connections {self.most}: give 1 to {MOST_CONNECTIONS:,}")
        for option, value in (("--idle-timeout", self.idle), ("--receive-timeout", self.receive)):
            if not SHORTEST <= value <= LONGEST:
                raise InputError(f"{option} is {value:g} s; give 100ms to 24h")

    @property
    def interval(self) -> float:
        """Seconds between two looks at the connections: what a limit may be exceeded by."""
        return min(2.0, max(0.1, min(self.idle, self.receive) / 10))

    def to_json(self) -> dict[str, Any]:
        """Return plain data that makes the same limits as keyword arguments."""
        return {"most": self.most, "idle": self.idle, "receive": self.receive}

    def raise_descriptors(self) -> None:
        """Let the process open as many files as its connections need, up to its hard limit."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = self.most + _OWN_DESCRIPTORS
        if soft != resource.RLIM_INFINITY and soft < needed:
            possible = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))


DEFAULT_LIMITS = ConnectionLimits()
