"""The kinds of faults, each described once: its value, where it strikes, and what it does there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.endpoints import EndpointTable
from core.errors import InputError
from core.extensions import installed, installed_names

GROUP = "edgeproof.fault_kinds"
"""The entry points through which an installed package adds kinds of its own."""

Tier = Literal["l2", "l3", "destination"]
TIERS: tuple[Tier, ...] = ("l2", "l3", "destination")


class Call(NamedTuple):
    """An operation on a tier: how long it takes, inf for ever, and whether it fails."""

    seconds: float
    failed: bool = False


CallEffect = Callable[[Call, float, float, Callable[[], float]], Call]
"""What a fault makes of a call: `effect(call, value, since, draw)`.

since: seconds since the fault began. draw: returns the call's random number in [0, 1), which is
addressed by the operation; draw at most once a call.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the requests of a run ask for; both columns have shape (n,).

    endpoint: position in `endpoints` (u1). subject: of the kind that the endpoint states, such as a
    user or a conversion (u4). users, conversions: how many the database must hold.
    """

    endpoints: EndpointTable
    endpoint: NDArray[np.uint8]
    subject: NDArray[np.uint32]
    users: int
    conversions: int


TrafficEffect = Callable[[Asked, str | None, NDArray[np.bool_]], Asked]
"""What a fault makes of the traffic: `effect(asked, endpoint, struck)`.

endpoint: the one that the fault is of, None for all. struck: which requests it turns, shape (n,):
the share *value* of those within its time. It returns new columns, and changes none.
"""


def _always_acts(_: float) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One kind of fault. It is of tiers (`call`) or of the traffic (`traffic`), never of both.

    name: as the scenario file has it. value: what its value is, with its bounds, in words that
    follow "is not". least, most: the bounds of the value; those of traffic kinds lie in 0 to 1.
    tiers: where a kind of tiers may strike. endpoint: of traffic kinds, which one is meant where
    the file names none; None for all of them. idle: returns why a value has no effect, with the
    remedy, "" if it has one. label: its name in the report's timeline; default: *name*.

    Functions stand at the top of a module, no lambdas: simulations run in several processes.
    """

    name: str
    value: str
    least: float = 0.0
    most: float = inf
    call: CallEffect | None = None
    tiers: tuple[Tier, ...] = TIERS
    traffic: TrafficEffect | None = None
    endpoint: str | None = None
    idle: Callable[[float], str] = _always_acts
    label: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a kind that cannot be."""
        if (self.call is None) is (self.traffic is None):
            raise ValueError(f"fault kind {self.name!r} needs an effect: either call or traffic")
        unknown = [tier for tier in self.tiers if tier not in TIERS]
        if unknown or not self.tiers:
            raise ValueError(f"fault kind {self.name!r} strikes {unknown}; tiers are {TIERS}")
        if self.traffic is not None and not 0 <= self.least <= self.most <= 1:
            raise ValueError(f"fault kind {self.name!r} turns a share; set least and most in 0..1")
        for function in (self.call, self.traffic, self.idle):
            # Simulations pickle it by its place in a module: a lambda has none.
            if "<" in getattr(function, "__qualname__", ""):
                raise ValueError(
                    f"fault kind {self.name!r} has a function without a place in a module, which "
                    "other processes cannot find; write it with def at the top of one"
                )

    @property
    def is_of_traffic(self) -> bool:
        """Whether it changes what is asked, and no tier."""
        return self.traffic is not None

    def shown(self, tier: str | None, endpoint: str | None) -> str:
        """Return what the report calls a fault of this kind: "L2 slow", "hot key of track"."""
        label = self.label or self.name
        if not self.is_of_traffic:
            return f"{str(tier).upper()} {label}"
        endpoint = endpoint or self.endpoint
        return label if endpoint is None else f"{label} of {endpoint}"


class FaultKinds:
    """A table of kinds by name, which does not change."""

    __slots__ = ("_kinds",)

    def __init__(self, *kinds: FaultKind) -> None:
        """Raise ValueError if two kinds have one name."""
        self._kinds = {kind.name: kind for kind in kinds}
        if len(self._kinds) < len(kinds):
            names = [kind.name for kind in kinds]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"there are two fault kinds named {twice!r}; rename one")

    def __iter__(self) -> Iterator[FaultKind]:
        return iter(self._kinds.values())

    def __or__(self, other: FaultKinds) -> FaultKinds:
        """Return a table with the kinds of both; ValueError if they share a name."""
        return FaultKinds(*self, *other)

    def find(self, name: str) -> FaultKind | None:
        """Return the kind of that name, from here or an installed package; None if there is none.

        A name that stands here is never looked for elsewhere. Raise InputError if what a package
        gives is no kind of that name.
        """
        kind = self._kinds.get(name)
        if kind is not None:
            return kind
        found = installed(GROUP, name)
        if found is None:
            return None
        if not isinstance(found, FaultKind) or found.name != name:
            raise InputError(
                f"the entry point {name!r} of {GROUP} is {found!r:.80}; it has to be a FaultKind "
                "of that name"
            )
        return found

    def names(self) -> tuple[str, ...]:
        """Return every name that `find` knows."""
        return tuple(dict.fromkeys((*self._kinds, *installed_names(GROUP))))


def _slow(call: Call, value: float, _: float, __: Callable[[], float]) -> Call:
    # A dead tier stays so: no answer times 0 is no number.
    return call if call.seconds == inf else Call(call.seconds * value, call.failed)


def _error(call: Call, value: float, _: float, draw: Callable[[], float]) -> Call:
    return Call(call.seconds, call.failed or draw() < value)


def _dead(call: Call, _: float, __: float, ___: Callable[[], float]) -> Call:
    return Call(inf, call.failed)


def _turn_to_one_subject(asked: Asked, endpoint: str | None, struck: NDArray[np.bool_]) -> Asked:
    # One more subject than there are, so that no cache holds it when it becomes hot.
    subject = asked.subject.copy()
    if endpoint is not None and asked.endpoints[endpoint].subject == "conversion":
        subject[struck] = asked.conversions
        return replace(asked, subject=subject, conversions=asked.conversions + 1)
    subject[struck] = asked.users
    return replace(asked, subject=subject, users=asked.users + 1)


def _no_share(value: float) -> str:
    if value:
        return ""
    return "its value is 0, the share that it concerns; give a share above 0, or leave it out"


def _as_fast(value: float) -> str:
    if value != 1:
        return ""
    return "its value is 1, which is as fast as without it; say how many times slower"


def _has_value(value: float) -> str:
    return "" if value == 1 else f"dead has no value, and it is {value:g}; leave it out"


BUILT_IN = FaultKinds(
    FaultKind(name="slow", value="how many times slower", call=_slow, idle=_as_fast),
    FaultKind(
        name="error", value="a share of operations between 0 and 1", most=1.0,
        call=_error, idle=_no_share,
    ),
    FaultKind(name="dead", value="a value that dead has", call=_dead, idle=_has_value),
    FaultKind(
        name="hot_key", value="a share of requests between 0 and 1", most=1.0,
        traffic=_turn_to_one_subject, endpoint="track", idle=_no_share, label="hot key",
    ),
)  # fmt: skip
