"""The tiered cache against a plain account of what was true when, whatever happens around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.caching.breaker import CircuitBreaker
from core.caching.channel import LocalBus, LocalChannel
from core.caching.faulty_kv import Operation
from core.caching.invalidation_log import Selector
from core.caching.policy import CachePolicy, CacheType, Text
from core.context import Span
from core.errors import StoreError
from core.wire import BYPASS, COLLAPSED, L1_HIT, L2_HIT, MISS, READ_OUTCOMES, STALE
from tests.core.caching.rig import JumpingLoop, Rig, settle

TTL = 20.0
KIND = CacheType(name="lookup_data", ttl=TTL, codec=Text(), prefix="k")
KEYS = ("k:a1", "k:a2", "k:b1")
HORIZON = 60.0  # more than a TTL and the longest stale bound
MAX_ENTRIES, MAX_BYTES = 2, 1_000
OPERATIONS: tuple[Operation, ...] = ("get", "put", "delete", "delete_prefix", "delete_tag")

keys = st.sampled_from(KEYS)
some_keys = st.lists(keys, min_size=1, max_size=5)
likely = st.sampled_from([True, True, False])
isolates = st.integers(0, 2)
targets = st.one_of(
    some_keys.map(lambda names: Selector(keys=tuple(names))),
    st.sampled_from(["", "k:a", "k:b"]).map(lambda prefix: Selector(prefix=prefix)),
    st.sampled_from(["t1", "t2"]).map(lambda tag: Selector(tag=tag)),
)
SWITCHES: dict[str, tuple[Any, ...]] = {
    "l1_ttl": (0.5, 8.0, 50.0),
    "negative_ttl": (0.0, 5.0, 50.0),
    "single_flight": (True, True, False),
    "await_put": (False, True),
    "ttl_jitter": (0.0, 0.3),
    "stale_while_revalidate": (0.0, 0.0, 6.0),
    "stale_if_error": (0.0, 0.0, 10.0),
    "retry_pause": (0.0, 2.0),
    "early_refresh": (0.0, 0.0, 1.0),
    "l2_soft_timeout": (0.0, 0.5),
}


def policy_of(seed: int) -> CachePolicy:
    """Return a policy whose switches are drawn evenly, as hypothesis would not draw them."""
    rng = np.random.default_rng(seed)
    return CachePolicy(**{name: rng.choice(of).item() for name, of in SWITCHES.items()})


policies = st.integers(0, 2**32 - 1).map(policy_of)


class LoadFailed(Exception):
    """A load that failed because the test said so."""


@dataclass
class Version:
    """What the database held of a key, up to a moment and a step."""

    value: bytes | None
    until: float = inf
    until_step: float = inf


@dataclass
class Load:
    """A load in flight: by whom, of what, since when, and for a read of which step."""

    process: int
    isolate: int
    found: Mapping[str, bytes | None]
    started: float
    end: asyncio.Future[None]
    asked: int


def tags_of(key: str) -> tuple[str, ...]:
    return (f"t{key[-1]}",)


def named(target: Selector) -> list[str]:
    """Return the KEYS that *target* names."""
    if target.prefix is not None:
        return [key for key in KEYS if key.startswith(target.prefix)]
    if target.tag is not None:
        return [key for key in KEYS if target.tag in tags_of(key)]
    return list(target.keys)


class Account(RuleBasedStateMachine):
    """Two processes, of two isolates and of one, above one store and one database."""

    @initialize(
        policy=policies,
        failures=st.sampled_from([0, 2]),
        is_connected=st.booleans(),
    )
    def begin(self, policy: CachePolicy, failures: int, is_connected: bool) -> None:
        rng = np.random.default_rng(7)
        self.policy = policy
        self.bus = LocalBus(self.deliver)
        self.is_connected = is_connected
        self.rigs: list[Rig] = []
        for name, count in (("here", 2), ("there", 1)):
            self.rigs.append(
                Rig(
                    policy=policy,
                    isolates=count,
                    kind=KIND,
                    max_entries=MAX_ENTRIES,
                    max_bytes=MAX_BYTES,
                    uniform=lambda _: float(rng.random()),
                    breaker=CircuitBreaker(failures=failures, open_for=3.0),
                    horizon=HORIZON,
                    name=name,
                    channel=LocalChannel(self.bus) if is_connected else None,
                    beside=self.rigs[0] if self.rigs else None,
                )
            )
        self.clock, self.kv = self.rigs[0].clock, self.rigs[0].kv
        self.loop = JumpingLoop(self.clock)
        self.step = 0
        self.versions = {key: [Version(key.encode())] for key in KEYS}
        self.floors: list[dict[str, int]] = [{}, {}]
        self.joinable: list[dict[str, int]] = [{}, {}]
        self.loads: list[Load] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.spans: list[Span] = []
        for rig in self.rigs:
            self.start(rig.invalidator.listen())
        self.run_on()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(self.loop.create_task(work))

    def run_on(self) -> None:
        """Let everything happen that can happen by now."""
        self.loop.run_until_complete(settle())
        self.loop.run_until_complete(settle())
        # Processes tell milliseconds apart; within one they agree on no order.
        self.clock.advance(0.002)
        self.step += 1

    def deliver(self, delivery: Callable[[], None]) -> None:
        delivery()
        for process in (0, 1):  # which of them heard what is not for this account to say
            self.let_go(process, KEYS)

    def let_go(self, process: int, names: Sequence[str]) -> None:
        """Loads of *names* for reads that have begun are not to be joined from now on."""
        for name in names:
            self.joinable[process][name] = self.step + 1

    def cache(self, isolate: int) -> tuple[int, int, Any]:
        process, place = (0, isolate) if isolate < 2 else (1, 0)
        return process, place, self.rigs[process].caches[place]

    async def load(
        self, isolate: int, wanted: Sequence[str], asked: int
    ) -> Mapping[str, bytes | None]:
        process, place, _ = self.cache(isolate)
        found = {key: self.versions[key][-1].value for key in wanted}
        end: asyncio.Future[None] = self.loop.create_future()
        load = Load(process, place, found, self.clock.now(), end, asked)
        for other in self.loads:
            if self.policy.single_flight and (other.process, other.isolate) == (process, place):
                for key in found.keys() & other.found.keys():
                    assert min(asked, other.asked) < self.joinable[process].get(key, 0)
        self.loads.append(load)
        try:
            await end
        finally:
            self.loads.remove(load)
        return found

    def oldest_load(self, isolate: int, key: str) -> float:
        process, place, _ = self.cache(isolate)
        return min(
            (
                load.started
                for load in self.loads
                if (load.process, load.isolate) == (process, place) and key in load.found
            ),
            default=inf,
        )

    def was_current(self, key: str, value: bytes | None, after: float, step: float) -> bool:
        """Return whether *value* was that of *key* at some moment later than *after* and *step*."""
        return any(
            version.value == value and version.until > after and version.until_step > step
            for version in self.versions[key]
        )

    def life(self, value: bytes | None) -> float:
        return TTL if value is not None else min(self.policy.negative_ttl, TTL)

    async def read(self, isolate: int, key: str) -> None:
        process, _, cache = self.cache(isolate)
        span, step = Span(), self.step
        floor = self.floors[process].get(key, -1)
        oldest = min(self.oldest_load(isolate, key), self.clock.now())
        self.spans.append(span)

        async def load() -> bytes | None:
            return (await self.load(isolate, (key,), step))[key]

        try:
            value = await cache.get(KIND, key, load, span, "lookup", tags_of(key))
        except LoadFailed:
            assert len(span.reads) == 1
            return
        ((_, code),) = span.reads
        outcome, now = code & 15, self.clock.now()
        assert self.was_current(key, value, -inf, floor), "older than an invalidation"
        if outcome in (L1_HIT, L2_HIT):
            bound = self.policy.stale_bound if code & STALE else 0.0
            assert self.was_current(key, value, now - self.life(value) - bound, floor), "too old"
        elif outcome == COLLAPSED:
            after = min(oldest - 1e-9, now - self.life(value) - self.policy.stale_bound)
            assert self.was_current(key, value, after, floor), "older than what was waited for"
        else:
            assert outcome in (MISS, BYPASS)
            assert self.was_current(key, value, -inf, step - 1), "loaded, and not current"

    async def read_many(self, isolate: int, wanted: list[str]) -> None:
        process, _, cache = self.cache(isolate)
        span, step, begun = Span(), self.step, self.clock.now()
        floors = dict(self.floors[process])
        oldest = {key: self.oldest_load(isolate, key) for key in wanted}
        self.spans.append(span)

        async def load(missing: Sequence[str]) -> Mapping[str, bytes | None]:
            assert len(set(missing)) == len(missing)
            return await self.load(isolate, missing, step)

        try:
            values = await cache.get_many(KIND, wanted, load, span, "lookup", ("t1", "t2"))
        except LoadFailed:
            return
        assert list(values) == list(dict.fromkeys(wanted))
        assert len(span.reads) == len(values)
        for key, value in values.items():
            after = begun - self.life(value) - self.policy.stale_bound
            after = min(after, oldest[key] - 1e-9)
            assert self.was_current(key, value, after, floors.get(key, -1))

    async def forget(
        self, process: int, names: Sequence[str], work: Coroutine[Any, Any, object]
    ) -> None:
        """Do *work*, which invalidates *names* for *process* at once and for others at its end."""
        step = self.step
        for name in names:
            self.floors[process][name] = step
        self.let_go(process, KEYS)  # keys of one batch share their tags
        with suppress(StoreError):
            await work
        if self.is_connected:
            floors = self.floors[1 - process]
            for name in names:
                floors[name] = max(floors.get(name, -1), step)

    def put(self, key: str, is_absent: bool) -> bytes | None:
        """Let the database hold another value of *key* from now on."""
        history = self.versions[key]
        history[-1].until, history[-1].until_step = self.clock.now(), self.step
        history.append(Version(None if is_absent else f"{key}#{len(history)}".encode()))
        return history[-1].value

    def end_loads(self, is_due: bool) -> None:
        if is_due:
            for load in self.loads:
                if not load.end.done():
                    load.end.set_result(None)
            self.run_on()

    @rule(isolate=isolates, key=keys, is_quick=likely)
    def reads(self, isolate: int, key: str, is_quick: bool) -> None:
        self.start(self.read(isolate, key))
        self.run_on()
        self.end_loads(is_quick)

    @rule(isolate=isolates, key=keys, count=st.integers(2, 3))
    def reads_together(self, isolate: int, key: str, count: int) -> None:
        for _ in range(count):
            self.start(self.read(isolate, key))
        self.run_on()

    @rule(
        isolate=isolates, key=keys, what=targets, process=st.integers(0, 1), is_late=st.booleans()
    )
    def a_load_is_overtaken(
        self, isolate: int, key: str, what: Selector, process: int, is_late: bool
    ) -> None:
        self.start(self.read(isolate, key))
        self.run_on()
        self.replace(key, False, what, process)
        if is_late:
            self.start(self.read(isolate, key))
            self.run_on()
        self.end_loads(True)
        self.start(self.read(isolate, key))
        self.run_on()

    @rule(
        isolate=isolates,
        key=keys,
        is_absent=st.booleans(),
        seconds=st.sampled_from([4.0, 9.0, 19.0, 21.0, 27.0, 31.0]),
        is_l2_failing=st.booleans(),
        is_load_failing=st.booleans(),
    )
    def a_value_ages(
        self,
        isolate: int,
        key: str,
        is_absent: bool,
        seconds: float,
        is_l2_failing: bool,
        is_load_failing: bool,
    ) -> None:
        for part in (0.5, 0.5):
            self.start(self.read(isolate, key))
            self.run_on()
            self.end_loads(True)
            self.put(key, is_absent)
            self.clock.advance(seconds * part)
        if is_l2_failing:
            self.kv.fail_next(1, "get")
        self.start(self.read(isolate, key))
        self.run_on()
        for load in self.loads:
            if is_load_failing and not load.end.done():
                load.end.set_exception(LoadFailed())
        self.run_on()

    @rule(isolate=isolates, key=keys, pause=st.sampled_from([7.0, 19.0]))
    def reads_again_and_again(self, isolate: int, key: str, pause: float) -> None:
        for _ in range(3):
            self.start(self.read(isolate, key))
            self.run_on()
            self.end_loads(True)
            self.clock.advance(pause)

    @rule(isolate=isolates, wanted=some_keys, is_quick=likely)
    def reads_many(self, isolate: int, wanted: list[str], is_quick: bool) -> None:
        self.start(self.read_many(isolate, wanted))
        self.run_on()
        self.end_loads(is_quick)

    @rule(key=keys, is_absent=st.sampled_from([False, False, True]))
    def writes(self, key: str, is_absent: bool) -> None:
        self.put(key, is_absent)
        self.run_on()

    @rule(key=keys, is_absent=st.booleans(), what=targets, process=st.integers(0, 1))
    def writes_and_invalidates(
        self, key: str, is_absent: bool, what: Selector, process: int
    ) -> None:
        self.replace(key, is_absent, what, process)

    def replace(self, key: str, is_absent: bool, what: Selector, process: int) -> None:
        """Let *key* have another value, and invalidate *what*."""
        self.put(key, is_absent)
        self.step += 1
        invalidation = self.rigs[process].invalidator.invalidate(what)
        self.start(self.forget(process, named(what), invalidation))
        self.run_on()

    @rule(isolate=isolates, wanted=some_keys, is_absent=st.booleans())
    def sets_many(self, isolate: int, wanted: list[str], is_absent: bool) -> None:
        process, _, cache = self.cache(isolate)
        values = {key: self.put(key, is_absent) for key in dict.fromkeys(wanted)}
        self.step += 1
        self.start(self.forget(process, wanted, cache.set_many(KIND, values, ("t1", "t2"))))
        self.run_on()

    @precondition(lambda self: bool(self.loads))
    @rule(data=st.data(), is_failing=st.sampled_from([False, False, True]))
    def a_load_ends(self, data: st.DataObject, is_failing: bool) -> None:
        load = self.loads[data.draw(st.integers(0, len(self.loads) - 1))]
        if is_failing:
            load.end.set_exception(LoadFailed())
        else:
            load.end.set_result(None)
        self.run_on()

    @precondition(lambda self: bool(self.loads))
    @rule()
    def all_loads_end(self) -> None:
        self.end_loads(True)

    @precondition(lambda self: any(not task.done() for task in self.tasks))
    @rule(data=st.data())
    def a_request_goes_away(self, data: st.DataObject) -> None:
        waiting = [task for task in self.tasks if not task.done()]
        waiting[data.draw(st.integers(0, len(waiting) - 1))].cancel()
        self.run_on()

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 7.0, 7.0, 13.0, 19.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.run_on()

    @rule(
        fault=st.sampled_from(["fails", "fails once", "lies", "hangs", "lags", "lags"]),
        data=st.data(),
    )
    def l2_misbehaves(self, fault: str, data: st.DataObject) -> None:
        if fault == "fails":
            self.kv.fail_next(3)
        elif fault == "fails once":
            self.kv.fail_next(1, data.draw(st.sampled_from(OPERATIONS)))
        elif fault == "lies":
            self.kv.corrupt_next(2)
        elif fault == "hangs":
            self.kv.hang()
        else:
            self.kv.latency["get"] = data.draw(st.sampled_from([0.0, 0.2, 1.0]))
            self.kv.latency["put"] = data.draw(st.sampled_from([0.0, 2.0, 9.0]))

    @rule()
    def l2_answers_again(self) -> None:
        self.kv.latency.clear()
        self.kv.release()
        self.run_on()

    @precondition(lambda self: self.is_connected)
    @rule()
    def the_channel_was_interrupted(self) -> None:
        self.bus.interrupt()
        assert sum(len(cache.l1) for rig in self.rigs for cache in rig.caches) == 0
        for process in (0, 1):
            self.let_go(process, KEYS)
        self.run_on()

    @invariant()
    def nothing_went_wrong(self) -> None:
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            if not task.cancelled():
                task.result()
        for rig in self.rigs:
            for background in rig.background:
                if background.done() and not background.cancelled():
                    background.result()

    @invariant()
    def every_read_is_counted_once(self) -> None:
        counted = [rig.statistics.outcomes[KIND.name] for rig in self.rigs]
        for outcome in range(len(READ_OUTCOMES)):
            noted = sum(code & 15 == outcome for span in self.spans for _, code in span.reads)
            assert sum(counts[outcome] for counts in counted) == noted

    @invariant()
    def l1_is_within_its_bounds(self) -> None:
        for rig in self.rigs:
            for cache in rig.caches:
                assert len(cache.l1) <= MAX_ENTRIES
                assert 0 <= cache.l1.bytes <= cache.l1.peak_bytes <= MAX_BYTES
                assert sum(cache.l1.bytes_by_kind().values()) == cache.l1.bytes

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        self.kv.release()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.run_on()
        self.loop.close()


Account.TestCase.settings = settings(max_examples=300, stateful_step_count=50)
TestAccount = Account.TestCase
