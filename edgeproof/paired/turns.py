"""Two versions in one process, timed in turns; or one version, timed by commands."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from edgeproof.paired.job import Fault, Job
from edgeproof.paired.sessions import Side, replace_timing
from edgeproof.paired.timing import Call, Cost, speed_ns, timed_pairs
from edgeproof.paired.world import World, Worlds


def together(job: Job) -> None:
    """Measure both versions in this process: the second's session runs inside the first's.

    The first's benchmark is being called when the second's runs, so that the fixtures of both are
    alive while the two calls are timed in turns, on the main thread.
    """
    outer_world, inner_world = job.worlds_of
    worlds = job.worlds
    at = _Place()
    only = job.asked["only"]

    def measure(call: Call) -> Sequence[float]:
        if worlds.active is outer_world:
            name = outer.called()
            at.waiting, at.times = call, ()
            worlds.switch(inner_world)
            try:
                inner.test(name, at.following)
            finally:
                at.waiting = None
                worlds.switch(outer_world)
            if not at.times:
                call.once()
            return at.times or [1.0]
        name, partner = inner.called(), at.waiting
        if partner is None:
            call.once()
            return [1.0]
        before = speed_ns()
        theirs = _In(worlds, outer_world, partner)
        ours = _In(worlds, inner_world, call)
        try:
            if job.asked["is_checked"]:
                with theirs.entered():
                    job.check(outer_world, partner)
                with ours.entered():
                    job.check(inner_world, call)
                if not (partner.may_be_made and call.may_be_made):
                    at.times = [1.0]
                    return [1.0]
            pairs = timed_pairs(theirs, ours, turned=job.asked["turned"])
        except Exception as error:
            if theirs.has_raised:
                outer.broken[name] = f"the measured call raises {type(error).__name__}: {error}"
                worlds.switch(inner_world)
                call.once()
                return [1.0]
            raise
        finally:
            worlds.switch(inner_world)
        at.times = [pair[0] for pair in pairs]
        is_turned = outer_world.name != "base"
        job.say(
            "measured",
            benchmark=name,
            pairs=[pair[::-1] if is_turned else pair for pair in pairs],
            speed=min(before, speed_ns()),
        )
        return [pair[1] for pair in pairs]

    def outer_collected() -> None:
        worlds.switch(inner_world)
        try:
            inner.run()
        finally:
            worlds.switch(outer_world)

    def both_collected() -> None:
        common = [name for name in outer.benchmarks if name in inner.benchmarks]
        chosen = [name for name in common if only is None or name in only]
        job.say(
            "collected",
            chosen=chosen,
            sides={side.world.name: [*side.benchmarks] for side in (outer, inner)},
        )
        for name, following in zip(chosen, [*chosen[1:], None], strict=True):
            at.following = following
            worlds.switch(outer_world)
            try:
                outer.test(name, following)
                if name not in inner.extra:  # the first's never called: what does the second's do?
                    worlds.switch(inner_world)
                    inner.test(name, following)
            finally:
                worlds.switch(inner_world)

    outer = job.side(outer_world, outer_collected)
    inner = job.side(inner_world, both_collected)
    replace_timing(_fixture(), measure)
    worlds.switch(outer_world)
    code = outer.run()
    worlds.switch(None)
    _check_started(outer, code)
    _check_started(inner, code)
    job.finish((outer, inner))


def alone(job: Job) -> None:
    """Measure one version: at each benchmark, follow the commands."""
    (world,) = job.worlds_of
    worlds = job.worlds

    def measure(call: Call) -> Sequence[float]:
        name = side.called()
        times: list[float] = []
        job.say("at", benchmark=name, speed=speed_ns())
        while (command := job.ask())["do"] != "go on":
            try:
                if command["do"] == "warm up":
                    cost = call.warm_up()
                    gc.collect()
                    gc.freeze()
                    job.say("cost", timed=cost.timed, whole=cost.whole, most=cost.most_calls)
                else:
                    times.append(call.block(command["calls"]))
                    job.say("time", nanoseconds=times[-1])
            except Exception as error:
                gc.unfreeze()
                job.say("raised", reason=f"{type(error).__name__}: {error}")
                raise
        gc.unfreeze()
        if not times:
            call.once()
        return times or [1.0]

    def collected() -> None:
        job.say("collected", sides={world.name: [*side.benchmarks]})
        chosen: list[str] = job.ask()["benchmarks"]
        for name, following in zip(chosen, [*chosen[1:], None], strict=True):
            side.test(name, following)
            job.say("tested", benchmark=name)

    side = job.side(world, collected)
    replace_timing(_fixture(), measure)
    worlds.switch(world)
    code = side.run()
    worlds.switch(None)
    _check_started(side, code)
    job.finish((side,))


class _Place:
    """The state of two sessions: the first's call, its times, and the next benchmark."""

    def __init__(self) -> None:
        self.waiting: Call | None = None
        self.times: Sequence[float] = ()
        self.following: str | None = None


class _In:
    """A call that is made with its version active."""

    def __init__(self, worlds: Worlds, world: World, call: Call) -> None:
        self._worlds, self._world, self._call = worlds, world, call
        self.has_raised = False

    def warm_up(self) -> Cost:
        with self.entered():
            return self._call.warm_up()

    def block(self, calls: int) -> float:
        with self.entered():
            return self._call.block(calls)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Activate the version, and record an exception."""
        self._worlds.switch(self._world)
        try:
            yield
        except Exception:
            self.has_raised = True
            raise


def _fixture() -> type[Any]:
    try:
        from pytest_benchmark.fixture import BenchmarkFixture
    except ImportError:
        raise Fault(
            f"pytest-benchmark is not installed for {sys.executable}; install edgeproof[bench]"
        ) from None
    return BenchmarkFixture


def _check_started(side: Side, code: int) -> None:
    if not side.has_started:
        first = next(iter(side.broken.items()), None)
        why = f"{first[0]}: {first[1]}" if first else f"pytest ended with {code}"
        raise Fault(f"{side.world.name}: no benchmark could be collected; {why}")
