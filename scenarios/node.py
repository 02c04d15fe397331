"""Node.js and the npm packages that run the platform's own runtime on this machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError

WORKER = Path(__file__).parent / "worker"
"""The folder of the Worker, with the package.json and package-lock.json of what runs it."""

MODULES_VARIABLE = "EDGEPROOF_NODE_MODULES"
OLDEST = 20
"""The oldest major version of Node.js that the packages run on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A program of Node.js and the node_modules folder that holds the pinned packages."""

    program: Path
    modules: Path
    versions: tuple[tuple[str, str], ...]
    """The name and version of Node.js and of each package that is asked for by name."""

    def environment(self) -> dict[str, str]:
        """Return the environment of a script: `createRequire` finds the packages by it."""
        return {**os.environ, MODULES_VARIABLE: str(self.modules)}


def pinned() -> dict[str, str]:
    """Return the version of each package that the runtime needs, by its name."""
    described = json.loads((WORKER / "package.json").read_text(encoding="utf-8"))
    versions: dict[str, str] = described["dependencies"]
    return versions


def find_node() -> Node:
    """Return Node.js and the packages at their pinned versions.

    The packages are looked for in $EDGEPROOF_NODE_MODULES, else beside Python's own packages,
    where `make node` puts them. Raise InputError with the remedy if anything is missing or has
    another version.
    """
    home = Path(sys.prefix, "node")
    named = os.environ.get(MODULES_VARIABLE, "")
    modules = Path(named) if named else home / "node_modules"
    remedy = (
        f"run `mkdir -p {home} && cp {WORKER}/package*.json {home} && "
        f"npm ci --ignore-scripts --prefix {home}` (in a checkout: `make node`)"
    )
    if named:
        remedy += f", and unset {MODULES_VARIABLE} or let it name {home / 'node_modules'}"
    for name, version in pinned().items():
        found = _version(modules / name)
        if found is None:
            raise InputError(f"the npm package {name} is not in {modules}; {remedy}")
        if found != version:
            raise InputError(
                f"the npm package {name} in {modules} is {found}, not {version}; {remedy}"
            )
    program = _program(modules)
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()
        major = int(said.removeprefix("v").partition(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InputError(f"{program}: Node.js does not run ({error}); {remedy}") from None
    if major < OLDEST:
        raise InputError(f"{program} is Node.js {said}, {OLDEST} or later is needed; {remedy}")
    return Node(
        program=program,
        modules=modules,
        versions=(("node", said.removeprefix("v")), *pinned().items()),
    )


def _program(modules: Path) -> Path:
    """Return the program that came with the packages, else the one on the PATH."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    own = modules / f"node-{sys.platform}-{machine}" / "bin" / "node"
    if own.is_file():
        return own
    if found := shutil.which("node"):
        return Path(found)
    raise InputError(
        f"Node.js is neither in {modules} nor on the PATH; install Node.js {OLDEST} or later "
        "(on Debian: apt-get install nodejs npm)"
    )


def _version(package: Path) -> str | None:
    try:
        return str(json.loads((package / "package.json").read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        return None
