"""One process that measures: both versions in turns, or one version as it is told.

It reads a job (one line of JSON) and, where it holds one version only, commands; it answers with
events, one JSON object a line, on a pipe of its own: tests may print what they like.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from edgeproof.paired.sessions import Side, replace_timing
from edgeproof.paired.timing import Call, Cost, speed_ns, timed_pairs
from edgeproof.paired.world import Misplaced, World, Worlds, editable_packages, mapped_paths


class Fault(Exception):
    """Why nothing can be measured in this process; one line."""


class Job:
    """What a worker is asked to do, and the pipes that it talks on."""

    def __init__(self, asked: dict[str, Any], events: IO[str], commands: IO[str]) -> None:
        self.asked = asked
        self._events, self._commands = events, commands
        project = Path(asked["project"])
        self.project = project
        baseline = [entry for entry in sys.path if entry]
        finders = editable_packages()
        self.worlds_of: list[World] = []
        installed: list[str] = []
        for of_world in asked["worlds"]:
            root = Path(of_world["root"])
            paths, installed = mapped_paths(baseline, project, root, finders)
            chosen = [str(root / path) for path in asked["paths"]]
            self.worlds_of.append(
                World(
                    of_world["name"], root, [*dict.fromkeys([*chosen, *paths])],
                    Path(of_world["compiled"]), installed,
                )
            )  # fmt: skip
        sys.meta_path[:] = [
            finder
            for finder in sys.meta_path
            if not getattr(finder, "__module__", "").startswith("__editable__")
            or not _serves(finder, project)
        ]
        self.worlds = Worlds(self.worlds_of, installed)
        self.suites = [Path(path) for path in asked["shared_suites"]]

    def say(self, event: str, **facts: Any) -> None:
        self._events.write(json.dumps({"event": event, **facts}) + "\n")
        self._events.flush()

    def ask(self) -> dict[str, Any]:
        """Return the next command; end the process if whoever gives them has gone."""
        line = self._commands.readline()
        if not line:
            os._exit(1)
        command: dict[str, Any] = json.loads(line)
        return command

    def side(self, world: World, on_loop: Any) -> Side:
        asked = next(of for of in self.asked["worlds"] if of["name"] == world.name)
        options = [*self._options(), f"--rootdir={asked['rootdir']}"]
        return Side(world, asked["suite"], options, on_loop)

    def _options(self) -> list[str]:
        options = ["-s", "-p", "no:edgeproof", "-p", "no:codspeed"]
        loads_all = "PYTEST_DISABLE_PLUGIN_AUTOLOAD" not in os.environ and (
            "--disable-plugin-autoload" not in self.asked["options"]
        )
        named = os.environ.get("PYTEST_PLUGINS", "")
        for plugin, option in (("xdist", "-n0"), ("pytest_cov", "--no-cov")):
            if importlib.util.find_spec(plugin) is not None and (loads_all or plugin in named):
                options.append(option)
        return [*options, "-o", f"cache_dir={self.asked['scratch']}", *self.asked["options"]]

    def finish(self, sides: Sequence[Side]) -> None:
        """Say what became of each test, and which files the versions were loaded from."""
        self.worlds.switch(None)
        self.worlds.check(self.project, self.suites, self.asked["distributions"])
        for side in sides:
            self.say(
                "side",
                name=side.world.name,
                benchmarks=sorted(side.benchmarks),
                broken=side.broken,
                skipped=side.skipped,
                extra={name: _whole(extra) for name, extra in side.extra.items()},
            )
            self.say("files", name=side.world.name, files=_stamps(side.world))
        self.say("end")


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
            pairs = timed_pairs(theirs, ours, turned=job.asked["turned"])
        except Exception as error:
            if theirs.has_raised:
                outer.broken[name] = f"the measured call raises {type(error).__name__}: {error}"
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
    """Measure one version: at each benchmark do what the commands say."""
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
    """Where two sessions stand: the first's call, its times, and the benchmark that follows."""

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
        with self._entered():
            return self._call.warm_up()

    def block(self, calls: int) -> float:
        with self._entered():
            return self._call.block(calls)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        self._worlds.switch(self._world)
        try:
            yield
        except Exception:
            self.has_raised = True
            raise


def _serves(finder: object, project: Path) -> bool:
    module = sys.modules.get(getattr(finder, "__module__", ""))
    places = getattr(module, "MAPPING", {})
    return any(Path(place).resolve().is_relative_to(project) for place in places.values())


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


def _stamps(world: World) -> dict[str, tuple[int, int]]:
    found = {}
    for place in world.files().values():
        try:
            stat = os.stat(place)
        except OSError:
            continue
        found[place] = (stat.st_mtime_ns, stat.st_size)
    return found


def _whole(extra: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return the whole numbers of a test's extra_info, and those of its table `counts`."""
    declared = extra.get("counts")
    return {
        part: {str(name): value for name, value in numbers.items() if type(value) is int}
        for part, numbers in (
            ("plain", extra), ("counts", declared if isinstance(declared, dict) else {})
        )
    }  # fmt: skip


def main() -> None:
    """Do the job on standard input; the one argument is the descriptor for events."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever started us decides what is kept
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as events:
        commands = os.fdopen(os.dup(0), encoding="utf-8")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        asked = json.loads(commands.readline())
        job = Job(asked, events, commands)
        try:
            if len(job.worlds_of) == 2:
                together(job)
            else:
                alone(job)
        except (Fault, Misplaced) as fault:
            job.worlds.switch(None)
            job.say("fault", reason=str(fault))
