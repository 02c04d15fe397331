"""The compiled engine equals the reference, bit for bit."""

from __future__ import annotations

import inspect
import os
import textwrap
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings

import sim.loop
from core.caching.flights import Flight
from core.caching.memory import Entry, MemoryCache
from sim.loop import SimLoop
from tests.sim.twins import Case, both_of, cases, differences

EXAMPLES = int(os.environ.get("EDGEPROOF_TWINS", "500"))
UNCHECKED = list(HealthCheck)


@settings(max_examples=EXAMPLES, suppress_health_check=UNCHECKED)
@given(case=cases())
def test_engines_agree_on_random_scenarios(case: Case) -> None:
    expected, found = both_of(case)
    assert differences(expected, found) == []


def arrivals_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a request arrive before what is due at the same instant."""
    source = textwrap.dedent(inspect.getsource(SimLoop.run))
    assert "<= next_arrival" in source
    space = dict(vars(sim.loop))
    exec(source.replace("<= next_arrival", "< next_arrival"), space)
    monkeypatch.setattr(SimLoop, "run", space["run"])


def forgetful_lru(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a hit in L1 leave the entry where it was in the order of use."""
    rightly = MemoryCache.get

    def get(self: MemoryCache, key: str, now: float) -> Entry | None:
        order = [*self._young]
        entry = rightly(self, key, now)
        if entry is not None and key in order:
            self._young = {name: self._young[name] for name in order}
        return entry

    monkeypatch.setattr(MemoryCache, "get", get)


def followers_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the requests that wait for a load go on in the reverse order of their arrival."""

    def resolve(self: Flight, value: object) -> None:
        for waiter in reversed(self._followers):
            if not waiter.done():
                waiter.set_result(value)

    monkeypatch.setattr(Flight, "resolve", resolve)


@pytest.mark.parametrize("plant", [arrivals_first, forgetful_lru, followers_backwards])
def test_planted_bug_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)

    @settings(
        max_examples=500, suppress_health_check=UNCHECKED, phases=[Phase.generate], database=None
    )
    @given(case=cases())
    def agree(case: Case) -> None:
        expected, found = both_of(case)
        assert differences(expected, found) == []

    with pytest.raises(AssertionError):
        agree()
