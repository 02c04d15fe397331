"""What can be probed: a D1 database, a KV namespace, a Redis, and a service over HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from bench.probe.steps import LEVELS, Kind, Level
from core.caching.kv import StoreItem
from core.caching.stores import STORES
from core.endpoints import CDP
from core.errors import InputError, StoreError
from core.query import statements
from core.query.d1 import BASE_URL
from core.query.d1_environment import d1_from_environment
from core.query.d1_schema import check_schema
from core.query.d1_variables import (
    ACCOUNT_VARIABLE,
    BASE_URL_VARIABLE,
    TOKEN_VARIABLE,
    database_id,
)
from core.scenario.calibration import DEPTHS, Calibration
from core.scenario.calibration_file import learned
from core.scenario.outside import Learned
from core.texts import one_line, reason_of, without_secrets

NAMESPACE_VARIABLE = "CLOUDFLARE_KV_NAMESPACE_ID"
PREFIX = "edgeproof-probe-"
KEPT = 16
"""Keys that are put there to be read."""

_LOOKBACK_MS = 30 * 86_400_000
_TTL = 600.0
_VALUE = b"v" * 288  # Workers KV's median value
_OF_REST = "measured over the REST API from this machine, not from a Worker"


def _of(levels: Sequence[Level], name: str, *, at_a_time: int = 1) -> Level:
    return next(each for each in levels if each.kind.name == name and each.concurrency == at_a_time)


def _total(levels: Sequence[Level]) -> int:
    return sum(len(level.seconds) for level in levels)


def execution(levels: Sequence[Level], name: str) -> tuple[float, bool]:
    """Return the seconds that an operation keeps others waiting, and whether they did wait.

    It is the time between two answers where more operations at a time bring no more of them; until
    then it is at most that.
    """
    rates = {each.concurrency: each.per_second for each in levels if each.kind.name == name}
    best = max(rates.values())
    most = max(rates)
    half = max((each for each in rates if 2 * each <= most), default=most)
    is_saturated = most > 1 and rates[most] < 1.5 * rates[half]
    return 1 / best, is_saturated


class D1Target:
    """The D1 database of the environment, asked the statements of the service."""

    name = "d1"
    spare = 2
    spare_bill: Mapping[str, float] = {"rows read": 40.0}

    def __init__(self) -> None:
        self._database = d1_from_environment(connections=max(LEVELS))
        database = self._database

        async def site(_: int) -> None:
            await database.read(statements.SITE, ("s0",))

        async def user(number: int) -> None:
            await database.read(statements.USER, (f"u{number}",))

        async def journey(number: int) -> None:
            await database.read(statements.CONVERSION_JOURNEY, (_LOOKBACK_MS, f"c{number}"))

        async def write(_: int) -> None:
            await database.write((statements.STATED_WRITE, [("s0",)]))

        self.kinds: Sequence[Kind] = (
            Kind(name="site", keys="one", ask=site, bill={"rows read": 1.0}),
            Kind(name="user", keys="others", ask=user, bill={"rows read": 1.0}),
            Kind(name="conversion_journey", keys="others", ask=journey, bill={"rows read": 110.0}),
            Kind(
                name="stated_write", keys="one", ask=write,
                bill={"rows read": 1.0, "rows written": 1.0},
            ),
        )  # fmt: skip

    async def prepare(self) -> None:
        """See that the schema is there."""
        await check_schema(self._database, f"D1 database {database_id()}")

    async def close(self) -> None:
        """Close the connections: nothing was put there."""
        await self._database.close()

    def learned(self, levels: Sequence[Level]) -> Calibration:
        """Return round trip and executions of L3."""
        tiers: dict[str, Learned] = {}
        notes = [_OF_REST]
        executions = {}
        for place, name in (("read_execution", "user"), ("write_execution", "stated_write")):
            alone = min(_of(levels, name).seconds)
            seconds, is_saturated = execution(levels, name)
            executions[name] = min(seconds, alone)
            tiers[f"l3.{place}"] = learned([executions[name]] * 2)
            if not is_saturated:
                notes.append(
                    f"l3.{place} is at most what it says: the database kept up with "
                    f"{max(level.concurrency for level in levels)} at a time"
                )
        trips = [seconds - executions["user"] for seconds in _of(levels, "user").seconds]
        tiers["l3.round_trip"] = learned(trips)
        return Calibration(tiers=tiers, requests=_total(levels), notes=tuple(notes))


class StoreTarget:
    """A store of keys and values: *store* gets, puts and deletes one key at a time."""

    spare = 2 * KEPT

    def __init__(
        self, name: str, store: Any, *, note: str = "", billed: bool = False, where: str = ""
    ) -> None:
        self.name = name
        self._where = where  # for messages that call the store L2
        self._store = store
        self._note = note
        self._written: list[str] = []
        read = {"KV reads": 1.0} if billed else {}
        write = {"KV writes and deletes": 2.0} if billed else {}  # it is deleted, too
        self.spare_bill: Mapping[str, float] = {
            unit: KEPT * number for unit, number in write.items()
        }

        async def hot(_: int) -> None:
            await store.get(f"{PREFIX}0")

        async def cold(number: int) -> None:
            await store.get(f"{PREFIX}absent-{number}")

        async def put(number: int) -> None:
            self._written.append(f"{PREFIX}put-{number}")
            await self._put(self._written[-1])

        self.kinds: Sequence[Kind] = (
            Kind(name="read", keys="one", ask=hot, bill=read),
            Kind(name="cold_read", keys="others", ask=cold, bill=read),
            Kind(name="write", keys="others", ask=put, bill=write, operations=2),
        )

    async def _put(self, key: str) -> None:
        await self._store.put(StoreItem(key, _VALUE, _TTL))

    async def prepare(self) -> None:
        """Put the keys that are read."""
        for number in range(KEPT):
            self._written.append(f"{PREFIX}{number}")
            try:
                await self._put(self._written[-1])
            except StoreError as error:
                if self._where:
                    raise StoreError(f"{self._where}: {str(error).removeprefix('L2 ')}") from None
                raise

    async def close(self) -> None:
        """Delete what was put there; what cannot be deleted ends with its life of 10 minutes."""
        try:
            for start in range(0, len(self._written), KEPT):
                await asyncio.gather(
                    *(self._store.delete(key) for key in self._written[start : start + KEPT])
                )
        except StoreError:
            pass
        finally:
            await self._store.close()

    def learned(self, levels: Sequence[Level]) -> Calibration:
        """Return the times of L2."""
        tiers = {f"l2.{kind.name}": learned(_of(levels, kind.name).seconds) for kind in self.kinds}
        return Calibration(
            tiers=tiers, requests=_total(levels), notes=(self._note,) if self._note else ()
        )


class RestKV:
    """A Workers KV namespace over the REST API: one key an operation."""

    def __init__(self, base_url: str, account: str, namespace: str, token: str) -> None:
        self._url = f"{base_url}/accounts/{account}/storage/kv/namespaces/{namespace}/values/"
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"},
            timeout=30.0,
            limits=httpx.Limits(max_connections=max(LEVELS)),
        )

    async def get(self, key: str) -> None:
        """Read a key, which need not be there."""
        await self._ask("GET", key, (200, 404))

    async def put(self, item: StoreItem) -> None:
        """Keep a value for its life."""
        ttl = {"expiration_ttl": str(int(item.ttl))}
        await self._ask("PUT", item.key, (200,), content=item.value, params=ttl)

    async def delete(self, key: str) -> None:
        """Forget a key."""
        await self._ask("DELETE", key, (200,))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, method: str, key: str, fine: Sequence[int], **more: Any) -> None:
        try:
            answer = await self._client.request(method, self._url + key, **more)
        except httpx.HTTPError as error:
            raise StoreError(f"KV {method} failed: {reason_of(error)}") from None
        if answer.status_code not in fine:
            remedy = f"; check {TOKEN_VARIABLE}" if answer.status_code in (401, 403) else ""
            raise StoreError(f"KV {method} failed: status {answer.status_code}{remedy}")


def kv_target() -> StoreTarget:
    """Return the KV namespace of the environment; InputError names what is not set."""
    names = (ACCOUNT_VARIABLE, NAMESPACE_VARIABLE, TOKEN_VARIABLE)
    given = {name: os.environ.get(name, "").strip() for name in names}
    if missing := [name for name in names if not given[name]]:
        raise InputError(
            f"the environment does not name the KV namespace: set {' and '.join(missing)}"
        )
    if not given[TOKEN_VARIABLE].isascii() or not given[TOKEN_VARIABLE].isprintable():
        raise InputError(f"{TOKEN_VARIABLE} holds a character that no header can carry")
    store = RestKV(rest_base_url(), *(given[name] for name in names))
    return StoreTarget("kv", store, note=_OF_REST, billed=True)


def rest_base_url() -> str:
    """Return the address of the REST API."""
    return os.environ.get(BASE_URL_VARIABLE, "").strip() or BASE_URL


def redis_target(url: str) -> StoreTarget:
    """Return the store at *url*; InputError if it means none."""
    store = STORES.of(url).store(url, timeout=5.0, namespace="edgeproof-probe:")
    return StoreTarget("redis", store, where=without_secrets(url))


class HttpTarget:
    """A service, asked for one URL, and for others where `{n}` stands in it: a number each."""

    name = "http"
    spare = 1
    spare_bill: Mapping[str, float] = {}

    def __init__(self, url: str) -> None:
        self._hot = url.replace("{n}", "0")
        self._client = httpx.AsyncClient(
            timeout=30.0, limits=httpx.Limits(max_connections=max(LEVELS))
        )

        async def hot(_: int) -> None:
            await self._get(self._hot)

        async def cold(number: int) -> None:
            await self._get(url.replace("{n}", str(number + 1)))

        self.kinds: Sequence[Kind] = (Kind(name="get", keys="one", ask=hot),)
        if "{n}" in url:
            self.kinds = (*self.kinds, Kind(name="other_get", keys="others", ask=cold))

    async def _get(self, url: str) -> None:
        try:
            answer = await self._client.get(url)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise StoreError(f"GET {_shown(url)} failed: {reason_of(error)}") from None
        if answer.status_code >= 400:
            raise StoreError(f"GET {_shown(url)}: status {answer.status_code}")

    async def prepare(self) -> None:
        """Open the first connection."""
        await self._get(self._hot)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def learned(self, levels: Sequence[Level]) -> Calibration:
        """Return what lies between client and service, for every endpoint."""
        times = learned(_of(levels, "get").seconds)
        return Calibration(
            between={name: dict.fromkeys(DEPTHS, times) for name in CDP.names},
            requests=_total(levels),
            notes=(
                f"what lies between client and service is a whole answer of {_shown(self._hot)}; "
                "give a path that does little",
            ),
        )


def _shown(url: str) -> str:
    return one_line(without_secrets(url))
