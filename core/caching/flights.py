"""Single-flight: the loads in flight of an isolate, and the requests that wait for them."""

from __future__ import annotations

import asyncio
from typing import Any

from core.caching.invalidation_log import Selector


class LeaderLeft(Exception):
    """The request that was loading for others went away."""


class Flight:
    """One load that others may wait for."""

    __slots__ = ("_followers", "key", "tags")

    def __init__(self, key: str, tags: tuple[str, ...]) -> None:
        self.key = key
        self.tags = tags
        self._followers: list[asyncio.Future[Any]] = []

    def join(self) -> asyncio.Future[Any]:
        """Return what the load comes to; LeaderLeft asks to load in the leader's place."""
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._followers.append(waiter)
        return waiter

    def resolve(self, value: Any) -> None:
        """Answer the waiting requests, in the order of their arrival."""
        for waiter in self._followers:
            if not waiter.done():
                waiter.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Pass *error* to the waiting requests; one that is no Exception ended the leader only."""
        failure = error if isinstance(error, Exception) else LeaderLeft()
        for waiter in self._followers:
            if not waiter.done():
                waiter.set_exception(failure)


class Flights(dict[str, Flight]):
    """The loads in flight by key; at most one of a key can be joined."""

    def begin(self, key: str, tags: tuple[str, ...]) -> Flight:
        """Return the flight that reads of *key* join from now on."""
        flight = self[key] = Flight(key, tags)
        return flight

    def end(self, flight: Flight) -> None:
        """Take *flight* away, so that no request joins it any more."""
        if self.get(flight.key) is flight:
            del self[flight.key]

    def forget(self, target: Selector) -> None:
        """Take the flights of *target* away; the requests that wait for them are answered."""
        if target.prefix is not None:
            overtaken = [key for key in self if key.startswith(target.prefix)]
        elif target.tag is not None:
            overtaken = [key for key, flight in self.items() if target.tag in flight.tags]
        else:
            overtaken = [key for key in target.keys if key in self]
        for key in overtaken:
            self.pop(key, None)  # a target may name a key twice
