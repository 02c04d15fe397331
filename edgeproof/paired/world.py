"""The modules, paths and settings of one version in a process that holds two versions."""

from __future__ import annotations

import asyncio.tasks
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

ENVIRONMENT = ("NUMBA_CACHE_DIR", "PYTHONPATH")
"""Environment variables with a value for each version."""


class Misplaced(Exception):
    """A version ran code of another one; the message names the code and the remedy."""


def is_installed(entry: str) -> bool:
    """Return whether a folder of the import path holds installed packages or the stdlib."""
    parts = Path(entry).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    library = sysconfig.get_path("stdlib")
    return entry == library or entry.startswith((library + os.sep, library.rstrip(".0123456789")))


def mapped_paths(
    baseline: Sequence[str], project: Path, root: Path, finders: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return the import path of the version in *root*, and the entries that both versions share.

    An entry of *baseline* inside *project* (an editable install) becomes the same folder of the
    version; *finders* are the packages that an editable install names one by one.
    """
    own: list[str] = []
    shared: list[str] = []
    inside = [*baseline, *(str(Path(place).parent) for place in finders.values())]
    for entry in inside:
        path = Path(entry).resolve()
        if path.is_relative_to(project) and not is_installed(entry):
            own.append(str(root / path.relative_to(project)))
        elif entry in baseline:
            shared.append(entry)
    if (root / "src").is_dir():
        own.append(str(root / "src"))
    return [*dict.fromkeys([*own, str(root)])], shared


def editable_packages() -> dict[str, str]:
    """Return the packages of setuptools' editable finders, with their folders."""
    found: dict[str, str] = {}
    for finder in sys.meta_path:
        module = sys.modules.get(getattr(finder, "__module__", ""))
        mapping = getattr(module, "MAPPING", None)
        if isinstance(mapping, dict) and getattr(module, "__name__", "").startswith("__editable__"):
            found.update({str(name): str(place) for name, place in mapping.items()})
    return found


class World:
    """The state of one version: modules, import path, working folder, compiled code."""

    def __init__(
        self, name: str, root: Path, paths: Sequence[str], compiled: Path, shared: Sequence[str]
    ) -> None:
        self.name = name
        self.root = root
        self.paths = tuple(paths)
        self.compiled = compiled
        self._modules: dict[str, ModuleType] = {}
        self._path = [*paths, *shared]
        self._rewriters: list[Any] = []
        self._folder = str(root)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        inherited = os.environ.get("PYTHONPATH")
        self._environment: dict[str, str | None] = {
            "NUMBA_CACHE_DIR": str(compiled / "numba"),
            "PYTHONPATH": os.pathsep.join([*paths, *([inherited] if inherited else [])]),
        }
        self._bytecode: str | None = str(compiled / "bytecode")

    def files(self) -> dict[str, str]:
        """Return the file of each module of this version, by the module's name."""
        return {name: place for name, module in self._modules.items() if (place := _file(module))}

    def enter(self) -> None:
        """Make this version the active one, which imports find."""
        sys.modules.update(self._modules)
        sys.path[:] = self._path
        sys.meta_path[:0] = self._rewriters
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        sys.pycache_prefix = self._bytecode
        # PYTHONDONTWRITEBYTECODE is about source folders; this one is ours, and without it every
        # process compiles every module anew.
        sys.dont_write_bytecode = False
        if "numba.core.config" in sys.modules:
            # Numba reads this at each compilation, and the variable only at its import.
            sys.modules["numba.core.config"].CACHE_DIR = self._environment["NUMBA_CACHE_DIR"] or ""  # type: ignore[attr-defined]
        with suppress(OSError):  # a test's folder that was removed
            os.chdir(self._folder)
        if self._loop is not None:
            asyncio._set_running_loop(self._loop)
            _swap_task(self._loop, self._task)

    def leave(self, shared: set[str], installed: Sequence[str]) -> None:
        """Take the state of this version out of the interpreter, and keep it.

        *shared*: the modules that both versions have in common; this adds to it.
        """
        modules: dict[str, ModuleType] = {}
        fresh: list[str] = []
        for name in sys.modules.keys() - shared:
            if self._modules.get(name) is sys.modules[name]:
                modules[name] = sys.modules.pop(name)
            else:
                fresh.append(name)
        for name in sorted(fresh):  # a package before the modules that it made
            if self._is_shared(name, sys.modules[name], installed, modules):
                shared.add(name)
            else:
                modules[name] = sys.modules.pop(name)
        self._modules = modules
        self._path = sys.path[:]
        self._rewriters = [finder for finder in sys.meta_path if _is_rewriter(finder)]
        sys.meta_path[:] = [finder for finder in sys.meta_path if not _is_rewriter(finder)]
        self._environment = {name: os.environ.get(name) for name in ENVIRONMENT}
        self._bytecode = sys.pycache_prefix
        with suppress(OSError):
            self._folder = os.getcwd()
        self._loop = asyncio._get_running_loop()
        if self._loop is not None:
            self._task = _swap_task(self._loop, None)
            asyncio._set_running_loop(None)

    def _is_shared(
        self, name: str, module: ModuleType, installed: Sequence[str], own: Mapping[str, ModuleType]
    ) -> bool:
        place = _file(module)
        if place is not None:
            return self._is_installed(place, installed)
        folders = _folders(module)
        if folders:
            return all(self._is_installed(folder, installed) for folder in folders)
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if origin in ("built-in", "frozen"):
            return True
        parent = name.partition(".")[0]  # a module without a file, made by its package
        return parent != name and parent not in own

    def _is_installed(self, place: str, installed: Sequence[str]) -> bool:
        """Return whether a file is installed: an environment may lie inside the version."""
        return _depth(place, installed) > _depth(place, self.paths)


class Worlds:
    """The versions in this process, of which at most one is active."""

    def __init__(self, worlds: Iterable[World], installed: Sequence[str]) -> None:
        self.worlds = tuple(worlds)
        self.active: World | None = None
        self._installed = [*installed, sysconfig.get_path("stdlib")]
        self._engine = {
            name: module
            for name, module in sys.modules.items()
            if name.partition(".")[0] == "edgeproof"
        }
        self._shared = {*sys.modules} - self._engine.keys()

    def switch(self, to: World | None) -> None:
        """Leave the active version, and enter *to*; None is the engine's own state."""
        if to is self.active:
            return
        if self.active is None:
            for name in self._engine:
                sys.modules.pop(name, None)
        else:
            self.active.leave(self._shared, self._installed)
        self.active = to
        if to is None:
            sys.modules.update(self._engine)
        else:
            to.enter()

    def check(self, project: Path, suites: Sequence[Path], distributions: Sequence[str]) -> None:
        """Raise Misplaced if a version has loaded code that is not its own.

        *distributions* are the names that the versions are installed under, if they are.
        """
        self._check_distributions(distributions)
        for world in self.worlds:
            for name, place in world.files().items():
                if self.is_foreign(place, world, project, suites):
                    raise Misplaced(
                        f"{world.name} loaded {name} from {place}, which is not its own; name the "
                        "folder of the packages within a version: --path DIR"
                    )
            self._check_installed(world)

    def is_foreign(self, place: str, world: World, project: Path, suites: Sequence[Path]) -> bool:
        """Return whether a file belongs to another version than *world*, or the working folder."""
        path = Path(place)
        if not path.is_absolute() or _depth(place, self._installed) > _depth(place, world.paths):
            return False
        path = path.resolve()
        if path.is_relative_to(world.root) or any(map(path.is_relative_to, suites)):
            return False
        others = {other.root for other in self.worlds if other is not world} | {project}
        return any(map(path.is_relative_to, others))

    def _check_distributions(self, distributions: Sequence[str]) -> None:
        for name in distributions:
            for installed in metadata.distributions(name=name):
                for package in _packages(installed) & self._shared:
                    raise Misplaced(
                        f"both versions would use the installed {package} from "
                        f"{_file(sys.modules.get(package))}; name the folder of the packages "
                        "within a version: --path DIR"
                    )

    def _check_installed(self, world: World) -> None:
        for name in {name.partition(".")[0] for name in self._shared}:
            place = _file(sys.modules.get(name)) or ""
            if "-packages" + os.sep not in place:  # the standard library may be shadowed
                continue
            for folder in world.paths:
                if (Path(folder) / name / "__init__.py").is_file():
                    raise Misplaced(
                        f"{world.name} has {name} in {folder}, but the installed {place} was "
                        "loaded before; what pytest itself needs cannot be compared"
                    )


def _file(module: object) -> str | None:
    place = getattr(module, "__file__", None)
    if not isinstance(place, str):
        place = getattr(getattr(module, "__spec__", None), "origin", None)
    return place if isinstance(place, str) and os.sep in place else None


def _folders(module: ModuleType) -> list[str]:
    try:
        return [str(folder) for folder in getattr(module, "__path__", ())]
    except Exception:  # a namespace that looks itself up may raise anything
        return []


def _packages(installed: metadata.Distribution) -> set[str]:
    """Return the import names of a distribution's packages and modules."""
    declared = (installed.read_text("top_level.txt") or "").split()
    files = [file for file in installed.files or () if file.suffix == ".py"]
    return {*declared} or {file.parts[0] if len(file.parts) > 1 else file.stem for file in files}


def _depth(place: str, folders: Sequence[str]) -> int:
    """Return the length of the longest of *folders* that *place* lies in, 0 if in none."""
    inside = (f for f in folders if f and place.startswith(f.rstrip(os.sep) + os.sep))
    return max(map(len, inside), default=0)


def _is_rewriter(finder: object) -> bool:
    """Return whether a finder is pytest's, which belongs to one session."""
    return type(finder).__module__.startswith("_pytest.")


def _swap_task(loop: asyncio.AbstractEventLoop, task: Any) -> Any:
    swap = getattr(asyncio.tasks, "_swap_current_task", None)  # Python 3.12
    if swap is not None:
        return swap(loop, task)
    tasks: dict[Any, Any] = asyncio.tasks._current_tasks  # type: ignore[attr-defined]
    before = tasks.pop(loop, None)
    if task is not None:
        tasks[loop] = task
    return before
