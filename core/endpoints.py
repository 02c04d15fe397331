"""The table of endpoints: every list of them, of their reads and of cache types comes from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from core.endpoint import Endpoint, Read, Slots, check

_MOST = 255  # codes of a workload's rows are u1


@dataclass(frozen=True, slots=True)
class EndpointTable:
    """The endpoints of a scenario, in their order; ValueError if they contradict each other.

    The position of an endpoint is its code in a workload. names: of all; read_names: by endpoint;
    cache_types: their TTLs in seconds, in the order of the reads; slots: of every named operation,
    slot_count: how many there are; read_width: the most reads of an endpoint, at least 2.
    """

    endpoints: tuple[Endpoint, ...]
    names: tuple[str, ...] = field(init=False, compare=False, repr=False)
    read_names: Mapping[str, tuple[str, ...]] = field(init=False, compare=False, repr=False)
    cache_types: Mapping[str, float] = field(init=False, compare=False, repr=False)
    slots: Mapping[str, int] = field(init=False, compare=False, repr=False)
    slot_count: int = field(init=False, compare=False, repr=False)
    read_width: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        table = self.endpoints
        check(0 < len(table) <= _MOST, f"{len(table)} endpoints; a table has 1 to {_MOST}")
        names = tuple(endpoint.name for endpoint in table)
        for name in names:
            check(names.count(name) == 1, f"endpoint {name} stands twice in the table")
        routes: dict[tuple[str, str], str] = {}
        for endpoint in table:
            if endpoint.is_stated:
                continue
            other = routes.setdefault((endpoint.method, endpoint.segment), endpoint.name)
            check(
                other == endpoint.name,
                f"endpoints {other} and {endpoint.name} both answer {endpoint.method} "
                f"/{endpoint.segment}; give one of them another path",
            )
        types: dict[str, Read] = {}
        types_of_reads: dict[str, str] = {}
        subjects: dict[str, str] = {}
        for endpoint in table:
            for read in endpoint.reads:
                known = types.setdefault(read.cache_type, read)
                check(
                    (known.ttl, known.key, known.queries, known.size)
                    == (read.ttl, read.key, read.queries, read.size)
                    and types_of_reads.setdefault(read.name, read.cache_type) == read.cache_type,
                    f"endpoint {endpoint.name}: read {read.name} of {read.cache_type} contradicts "
                    "another read: a name stands for one cache type, which has one ttl and one key",
                )
                subject = endpoint.subject if read.key == "subject" else read.key
                check(
                    subjects.setdefault(read.cache_type, subject) == subject,
                    f"endpoint {endpoint.name}: the entries of {read.cache_type} are about a "
                    f"{subjects[read.cache_type]}, and this endpoint's subject is a {subject}",
                )
        reads = {endpoint.name: tuple(r.name for r in endpoint.reads) for endpoint in table}
        longest = max(2, *map(len, reads.values()))
        slots = Slots({name: slot for endpoint in table for name, slot in endpoint.slots.items()})
        derived = {
            "names": names,
            "read_names": reads,
            "cache_types": {name: read.ttl for name, read in types.items()},
            "slots": slots,
            "slot_count": longest + 1,
            "read_width": longest,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self.endpoints)

    def __len__(self) -> int:
        return len(self.endpoints)

    def __getitem__(self, name: str) -> Endpoint:
        return self.endpoints[self.index(name)]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def index(self, name: str) -> int:
        """Return the position of the endpoint called *name*; KeyError if there is none."""
        if name not in self.names:
            raise KeyError(name)
        return self.names.index(name)

    def with_endpoint(self, endpoint: Endpoint) -> EndpointTable:
        """Return a table that has *endpoint*, too, as its last one."""
        return EndpointTable((*self.endpoints, endpoint))

    def read_name(self, endpoint: str, slot: int) -> str:
        """Return the name of the cache read in column *slot* of an endpoint's requests.

        Columns beyond the endpoint's reads hold reads that it does not describe.
        """
        names = self.read_names[endpoint]
        return names[slot] if slot < len(names) else f"{endpoint} (unnamed)"

    @property
    def keyed(self) -> tuple[str, ...]:
        """The endpoints that ask for one of many, which a trace's key can stand for."""
        return tuple(e.name for e in self if e.subject not in ("model", "none"))

    @property
    def writers(self) -> tuple[str, ...]:
        """The endpoints that store events."""
        return tuple(e.name for e in self if e.writes == "event")

    def to_data(self) -> list[dict[str, Any]]:
        """Return plain data, without what is not stated."""
        return [_data_of(endpoint) for endpoint in self]

    @classmethod
    def from_data(cls, data: Any) -> EndpointTable:
        """Return the table that `to_data` wrote; ValueError says what is wrong with it."""
        check(isinstance(data, list | tuple), "endpoints are a list of tables")
        return cls(tuple(_endpoint_of(item) for item in data))


def _data_of(described: Endpoint | Read) -> dict[str, Any]:
    data = asdict(described)
    if isinstance(described, Endpoint):
        data["reads"] = [_data_of(read) for read in described.reads]
    return {
        each.name: data[each.name]
        for each in fields(described)
        if data[each.name] != ([] if each.name == "reads" else each.default)
    }


def _endpoint_of(data: Any) -> Endpoint:
    check(isinstance(data, Mapping), f"endpoint {data!r} is no table")
    reads: Sequence[Any] = data.get("reads", ())
    try:
        return Endpoint(**{**data, "reads": tuple(Read(**read) for read in reads)})
    except TypeError as error:  # a key that is not known, or one that is missing
        raise ValueError(f"endpoint {data.get('name')!r}: {error}") from None


CDP = EndpointTable(
    (
        Endpoint(
            name="track",
            method="POST",
            path="/track",
            title="tracking requests",
            summary="Store an event, once per event_id; queue its conversion if it is one.",
            subject="user",
            reads=(
                Read(name="config", cache_type="security_config", ttl=900.0, key="site"),
                Read(name="lookup", cache_type="lookup_data", ttl=600.0),
            ),
            writes="event",
            cpu=300e-6,
            weight=0.80,
            status=202,
            behaviour="core.application.behaviours:TRACK",
        ),
        Endpoint(
            name="attribution",
            path="/attribution/{conversion_id}?model={model}",
            title="attribution requests",
            summary="The credits of a conversion's touches under a model.",
            subject="conversion",
            reads=(Read(name="attribution", cache_type="attribution", ttl=3600.0),),
            weight=0.08,
            behaviour="core.application.behaviours:ATTRIBUTION",
        ),
        Endpoint(
            name="journey",
            path="/journey/{user_id}",
            title="journey requests",
            summary="A user's newest 100 events, oldest first.",
            subject="user",
            reads=(Read(name="journey", cache_type="user_journeys", ttl=300.0),),
            weight=0.08,
            behaviour="core.application.behaviours:JOURNEY",
        ),
        Endpoint(
            name="channels",
            path="/channels?model={model}",
            title="channel requests",
            summary="Conversions and value by channel under a model.",
            subject="model",
            reads=(Read(name="channels", cache_type="channel_metrics", ttl=1800.0),),
            weight=0.04,
            behaviour="core.application.behaviours:CHANNELS",
        ),
    )
)
"""The endpoints of the CDP: what a scenario has that names no other ones."""
