"""What a measuring process is asked to do, and the pipes that it talks on."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from edgeproof.paired.sessions import Side
from edgeproof.paired.timing import Call
from edgeproof.paired.world import World, Worlds, editable_packages, mapped_paths

_ENGINE = {str(path) for path in Path(__file__).parent.glob("*.py")}


class Fault(Exception):
    """Why nothing can be measured in this process; one line."""


class Job:
    """What a worker is asked to do, and the pipes that it talks on."""

    def __init__(self, asked: dict[str, Any], events: IO[str], commands: IO[str]) -> None:
        self.asked = asked
        self._events, self._commands = events, commands
        self._fault: Fault | None = None
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
        """Return the next command; end the process if the commanding process has gone."""
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

    def check(self, world: World, call: Call) -> None:
        """Make a call of *world*, and record it if code of another version ran.

        Packages that both versions share may keep objects of the version that was loaded first.
        """
        self.worlds.switch(world)
        for place in sorted(call.files() - _ENGINE):
            if self.worlds.is_foreign(place, world, self.project, self.suites):
                self._fault = self._fault or Fault(
                    f"a benchmark of {world.name} runs {place}, which is not its own: an installed "
                    "package keeps what the other version registered; give each a process of its "
                    "own with --apart (pytest: --paired-apart)"
                )

    def finish(self, sides: Sequence[Side]) -> None:
        """Report the outcome of each test, and the files of the loaded versions."""
        self.worlds.switch(None)
        self.worlds.check(self.project, self.suites, self.asked["distributions"])
        if self._fault is not None:
            raise self._fault
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


def _serves(finder: object, project: Path) -> bool:
    module = sys.modules.get(getattr(finder, "__module__", ""))
    places = getattr(module, "MAPPING", {})
    return any(Path(place).resolve().is_relative_to(project) for place in places.values())


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
