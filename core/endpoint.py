"""An endpoint: what it is asked for, what it reads and writes, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Literal

Subject = str
"""What a request is about: user, conversion, model, none, or a subject of the scenario's own."""

Method = str

KeyedBy = Literal["subject", "site", "none"]
"""What an entry is about: the request's subject, the site of its event, or one entry for all."""

STATED = "core.application.stated:stated"
"""The behaviour of an endpoint that its description alone defines: it does what that states."""

PLACEHOLDERS: Mapping[Subject, tuple[str, ...]] = MappingProxyType(
    {
        "user": ("user_id", "model"),
        "conversion": ("conversion_id", "model"),
        "model": ("model",),
        "none": (),
    }
)
"""What the path of an endpoint may name, by its subject; the first one names the subject."""

STORE_SLOT = 2
"""The slot of a request's write, and of its look for a newer model."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_RESERVED = ("default", "per_l2_operation", "per_l3_operation", "write", "model")
_OWN_PATHS = ("api", "metrics", "openapi.json")
_PATH = re.compile(
    r"/(?P<segment>[A-Za-z0-9_.-]+)(?:/\{(?P<identifier>\w+)\})?(?:\?(?P<query>[^?#]+))?"
)
_PARAMETER = re.compile(r"(\w+)=\{(\w+)\}")
_BEHAVIOUR = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def check(is_right: bool, text: str) -> None:
    """Raise ValueError with *text* unless *is_right*."""
    if not is_right:
        raise ValueError(text)


def check_name(name: object, what: str) -> None:
    """Raise ValueError unless *name*, of *what*, can stand in a scenario and in a KPI."""
    is_name = isinstance(name, str) and _NAME.fullmatch(name) is not None
    check(
        is_name and name not in _RESERVED,
        f"{what} {name!r}: use 1 to 32 of a-z, 0-9 and _, a letter first, and none of "
        f"{', '.join(_RESERVED)}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A cache read of an endpoint; ValueError if it cannot be one.

    name: of the read, in Cache-Status and reports; cache_type: what the entry holds; ttl: seconds
    that L2 keeps it unless the scenario says otherwise; key: what the entry is about. queries and
    size: of a load, the queries that it makes and the bytes that it finds, where the endpoint's
    description defines what it does; queries is None where nobody knows.
    """

    name: str
    cache_type: str
    ttl: float = 600.0
    key: KeyedBy = "subject"
    queries: int | None = None
    size: int = 0

    def __post_init__(self) -> None:
        check_name(self.name, "read")
        check_name(self.cache_type, f"read {self.name}: cache type")
        check(
            isinstance(self.ttl, int | float) and isfinite(self.ttl) and self.ttl > 0,
            f"read {self.name}: ttl is {self.ttl!r}; a TTL is more than 0 s",
        )
        check(
            self.key in ("subject", "site", "none"),
            f"read {self.name}: key is {self.key!r}; use subject, site or none",
        )

    def number(self, subject: int, sites: int) -> int:
        """Return which of its entries a request about *subject* reads, where there are *sites*."""
        if self.key == "site":
            return subject % sites
        return subject if self.key == "subject" else 0


class Slots(dict[str, int]):
    """Slots by the name of an operation; ValueError for a name that is none."""

    def __missing__(self, name: str) -> int:
        raise ValueError(f"{name!r} is no read of the endpoint: name it among the endpoint's reads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint; ValueError if it cannot be one.

    path: "/journey/{user_id}", "/channels?model={model}". Its placeholders, in their order, are
    the arguments of what the endpoint does. title: what reports call its requests. reads: in
    their order; those whose key is the subject are what a trace's accesses feed.
    writes: "event" stores the event that the body is. cpu: seconds of CPU before store operations,
    weight: of the mix, unless the scenario says otherwise. status: of its good answers.
    behaviour: "module:NAME" of what it does (`core.application.behaviour`). It is named, not held:
    a table is data, which goes to other processes and into records. summary: for OpenAPI.
    queries and stores: the queries and writes of a request beside its cache reads, where the
    behaviour is STATED; None where nobody knows.
    """

    name: str
    path: str
    title: str
    subject: Subject
    behaviour: str
    method: Method = "GET"
    reads: tuple[Read, ...] = ()
    writes: Literal["event"] | None = None
    cpu: float = 240e-6
    weight: float = 0.0
    status: int = 200
    summary: str = ""
    queries: int | None = None
    stores: int | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "endpoint")
        where = f"endpoint {self.name}: "
        check(bool(self.title) and self.title.isprintable(), f"{where}title is needed, on one line")
        check(
            self.subject in PLACEHOLDERS
            or (self.is_stated and _NAME.fullmatch(self.subject) is not None),
            f"{where}subject is {self.subject!r}; use {', '.join(PLACEHOLDERS)}",
        )
        for name, figure in (("cpu", self.cpu), ("weight", self.weight)):
            check(
                isinstance(figure, int | float) and isfinite(figure) and figure >= 0,
                f"{where}{name} is {figure!r}; it is a number from 0 on",
            )
        check(
            isinstance(self.status, int) and 200 <= self.status <= 299,
            f"{where}status is {self.status!r}; use 200 to 299",
        )
        check(
            isinstance(self.behaviour, str) and _BEHAVIOUR.fullmatch(self.behaviour) is not None,
            f"{where}behaviour is {self.behaviour!r}; write it as module:NAME",
        )
        self._check_path(where)
        self._check_reads(where)

    def _check_path(self, where: str) -> None:
        if self.is_stated:  # no route of the service leads to it
            check(self.path.startswith("/"), f"{where}path is {self.path!r}; it begins with /")
            return
        match = _PATH.fullmatch(self.path)
        pairs = [_PARAMETER.fullmatch(pair) for pair in self._query()] if match else []
        check(
            match is not None and all(pair and pair[1] == pair[2] for pair in pairs),
            f"{where}path is {self.path!r}; write it as /segment, /segment/{{placeholder}} or "
            "/segment?name={name}",
        )
        check(
            self.segment not in _OWN_PATHS,
            f"{where}path is {self.path!r}; the service's own paths begin with "
            f"{', '.join(_OWN_PATHS)}",
        )
        if self.writes is not None:
            check(self.writes == "event", f"{where}writes is {self.writes!r}; use event")
            check(
                self.method == "POST" and self.subject == "user" and not self.arguments,
                f"{where}an event is written by POST; its subject is a user, whom the body names, "
                "and its path has no placeholder",
            )
            return
        check(
            self.method in ("GET", "POST", "PUT", "DELETE"),
            f"{where}method is {self.method!r}; use GET, POST, PUT or DELETE",
        )
        allowed = PLACEHOLDERS[self.subject]
        check(
            set(self.arguments) <= set(allowed)
            and len(set(self.arguments)) == len(self.arguments)
            and (not allowed or allowed[0] in self.arguments),
            f"{where}path is {self.path!r}; a {self.subject} is asked for with "
            f"{', '.join(f'{{{name}}}' for name in allowed) or 'no placeholder'}, once each"
            + (", the first one in any case" if len(allowed) > 1 else ""),
        )

    def _check_reads(self, where: str) -> None:
        names = [read.name for read in self.reads]
        check(len(set(names)) == len(names), f"{where}two reads have one name")
        check(
            self.writes == "event" or all(read.key != "site" for read in self.reads),
            f"{where}a read by site needs the event that names it (writes event)",
        )

    def _query(self) -> list[str]:
        query = self.path.partition("?")[2]
        return query.split("&") if query else []

    @property
    def is_stated(self) -> bool:
        """Whether its description alone says what it does."""
        return self.behaviour == STATED

    @property
    def asks_database(self) -> bool:
        """Whether each of its requests goes to the database, whatever its reads find."""
        return self.writes is not None or bool(self.stores or (self.queries and not self.reads))

    @property
    def unknown(self) -> str:
        """What nobody knows of what it does, so that it is not predicted; "" if nothing."""
        if not self.is_stated:
            return ""
        if self.queries is None and self.stores is None and not self.reads and not self.writes:
            return "reads, queries and writes"
        return "queries" if any(read.queries is None for read in self.reads) else ""

    @property
    def segment(self) -> str:
        """The first part of its path."""
        return self.path[1:].partition("?")[0].partition("/")[0]

    @property
    def identifier(self) -> str | None:
        """The placeholder in its path, None without one."""
        match = re.search(r"/\{(\w+)\}", self.path.partition("?")[0])
        return match[1] if match else None

    @property
    def parameters(self) -> tuple[str, ...]:
        """The placeholders of its query, in their order; each is called as its parameter."""
        return tuple(pair.partition("=")[0] for pair in self._query())

    @property
    def arguments(self) -> tuple[str, ...]:
        """All placeholders of its path, in their order; what names the subject, if it is stated."""
        if self.is_stated:
            return PLACEHOLDERS.get(self.subject, (self.subject,))[:1]
        identifier = self.identifier
        return ((identifier,) if identifier else ()) + self.parameters

    @property
    def primary(self) -> tuple[Read, ...]:
        """The reads whose key is the subject."""
        return tuple(read for read in self.reads if read.key == "subject")

    @property
    def primary_read(self) -> int:
        """The position of the read that an answer's one unnamed read is about.

        It is the first one whose key is the subject, and 0 where there is none.
        """
        keyed = (place for place, read in enumerate(self.reads) if read.key == "subject")
        return next(keyed, 0)

    @property
    def slots(self) -> dict[str, int]:
        """The slot of random numbers of each named operation of a request, by its name.

        A request's reads are sequential. A single read has the slot of a second one, and the
        third has the one after the write, so that no endpoint moves the numbers of another.
        """
        count = len(self.reads)
        slots = {
            read.name: 1 if count == 1 else place if place < STORE_SLOT else place + 1
            for place, read in enumerate(self.reads)
        }
        return Slots({**slots, "write": STORE_SLOT, "model": STORE_SLOT})
