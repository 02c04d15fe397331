"""The settings of a tiered cache: its policy, its cache types and their codecs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from core.caching.frozen import freeze

V = TypeVar("V")
Served = TypeVar("Served")


class Codec(Protocol[V]):
    """How values of one cache type are written to L2 and read back, as immutable objects."""

    def encode(self, value: V) -> bytes:
        """Return *value* as bytes."""
        ...

    def decode(self, data: bytes) -> V:
        """Return the value of *data*; ValueError if *data* holds none."""
        ...


class Text:
    """Values that are documents already, as bytes."""

    def encode(self, value: bytes) -> bytes:
        """Return *value* itself."""
        return value

    def decode(self, data: bytes) -> bytes:
        """Return *data* itself."""
        return data


class Json:
    """Values that JSON can hold; they are read back frozen.

    As JSON has it, keys of objects are read back as text and named tuples as tuples.
    """

    def encode(self, value: Any) -> bytes:
        """Return *value* as JSON; TypeError or ValueError if JSON cannot hold it."""
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()

    def decode(self, data: bytes) -> Any:
        """Return the value of *data*, frozen; ValueError if it is no JSON."""
        try:
            return freeze(json.loads(data))
        except RecursionError:
            raise ValueError("brackets nest too deeply") from None


_JSON = Json()


# Without slots: Python 3.11 cannot make `CacheType[User](...)` of a frozen, slotted dataclass.
@dataclass(frozen=True, kw_only=True)
class CacheType(Generic[V]):
    """A type of entries: a name, a time to live (seconds), and the codec of values of type V.

    The keys of a type begin with its prefix and ':', so that no two types share an entry. The
    prefix is the name unless another is given; ValueError if it is empty or holds a ':'.
    """

    name: str
    ttl: float = 60.0
    codec: Codec[V] = _JSON
    prefix: str = ""
    start: str = field(init=False, repr=False, compare=False)
    """What the whole keys of this type begin with."""
    end: str = field(init=False, repr=False, compare=False)
    """The first text that sorts behind all whole keys of this type."""

    def __post_init__(self) -> None:
        if self.ttl <= 0:
            raise ValueError(f"the TTL of {self.name} is {self.ttl}; it is more than 0 s")
        prefix = self.prefix or self.name
        if not prefix or ":" in prefix:
            raise ValueError(
                f"the keys of the cache type {self.name!r} would begin with {prefix!r}; "
                "a prefix is not empty and holds no ':'"
            )
        for name, text in (("prefix", prefix), ("start", f"{prefix}:"), ("end", f"{prefix};")):
            object.__setattr__(self, name, text)  # ';' follows ':'

    def key(self, key: str) -> str:
        """Return the whole key of *key*: *key* itself if it begins with the prefix and ':'."""
        return key if self.start <= key < self.end else self.start + key

    def frozen(self, value: V | None) -> V | None:
        """Return *value* as its readers are served it (see `freeze`); TypeError if it cannot be."""
        frozen: V | None = freeze(value)
        return frozen


class Serves(Protocol[Served]):
    """A cache type as its readers see it: a `CacheType[V]` serves V or None.

    mypy could not find V in a read of V or None that is passed on to another generic function,
    such as `asyncio.gather`.
    """

    def frozen(self, value: Served) -> Served:
        """Return *value* as its readers are served it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """The switches of a tiered cache; times in seconds, and 0 turns a switch off.

    l1_ttl: the longest stay in L1; negative_ttl: how long an absence is kept; single_flight: reads
    of an isolate that miss the same key share one load; await_put: a miss waits for L2's write.

    ttl_jitter: each TTL is shortened by up to this share, drawn for each load.
    stale_while_revalidate: for this long after its TTL a value is served while one background
    load renews it. stale_if_error: for this long after its TTL a value is served if its load
    fails; with it, L1 also goes on with a value that is within its TTL while L2 fails.
    retry_pause: after a failed load a value is served stale for this long before the next try.
    early_refresh: beta of XFetch: a read renews a value in the background before its end with a
    probability that grows towards it (Vattani, Chierichetti, Lowenstein, "Optimal probabilistic
    cache stampede prevention", VLDB 2015).
    l2_soft_timeout: a read that has a value to fall back on waits no longer than this for L2;
    the hard limit is the store's own.
    edge_store: L2 is an `EdgeKV`: it is asked for lives in whole seconds, rounded up, as it cuts
    off what is less, and for 100 keys a read at most.
    """

    l1_ttl: float = 60.0
    negative_ttl: float = 30.0
    single_flight: bool = True
    await_put: bool = False
    ttl_jitter: float = 0.0
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    retry_pause: float = 1.0
    early_refresh: float = 0.0
    l2_soft_timeout: float = 0.0
    edge_store: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.ttl_jitter < 1:
            raise ValueError(f"ttl_jitter is {self.ttl_jitter}; it is a share from 0 to below 1")
        for name in (
            "l1_ttl", "negative_ttl", "stale_while_revalidate", "stale_if_error", "retry_pause",
            "early_refresh", "l2_soft_timeout",
        ):  # fmt: skip
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it is at least 0")

    @property
    def stale_bound(self) -> float:
        """Seconds beyond its TTL for which a value may be served at all."""
        return max(self.stale_while_revalidate, self.stale_if_error)
