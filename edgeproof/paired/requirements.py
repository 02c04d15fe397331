"""Whether one environment suits both versions, from their requirements and installed packages."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from importlib import metadata
from pathlib import Path
from typing import Any

from edgeproof.paired.versions import Unusable, Version

_PINS = ("constraints*.txt", "requirements*.txt")
_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The packages that a version needs in place of the installed ones."""

    base: tuple[str, ...]
    head: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.base or self.head)


def needs(base: Version, head: Version, installed: Mapping[str, str] | None = None) -> Needs:
    """Return the differences of the versions' requirements that *installed* does not meet.

    Two versions with different requirements still share an environment if the installed packages
    suit both. Raise Unusable for a pyproject.toml that cannot be read.
    """
    here = _installed() if installed is None else installed
    asked = [_asked(version) for version in (base, head)]
    found: list[tuple[str, ...]] = []
    for mine, other in (asked, asked[::-1]):
        found.append(
            tuple(
                _line(name, specifiers)
                for name, specifiers in sorted(mine.items())
                if specifiers != other.get(name) and not _suits(here.get(name), specifiers)
            )
        )
    return Needs(base=found[0], head=found[1])


def distribution(version: Version) -> str | None:
    """Return the distribution name of a version, if it states one."""
    if version.kind == "wheel":
        return next((told.get("Name") for told in _metadata(version.root)), None)
    name = _toml(version.root / "pyproject.toml").get("project", {}).get("name")
    return name if isinstance(name, str) else None


def _metadata(root: Path) -> Iterable[Message]:
    for path in root.glob("*.dist-info/METADATA"):
        yield Parser().parsestr(path.read_text(encoding="utf-8", errors="replace"))


def _installed() -> dict[str, str]:
    from packaging.utils import canonicalize_name

    return {
        canonicalize_name(found.name): found.version
        for found in metadata.distributions()
        if found.name
    }


def _asked(version: Version) -> dict[str, frozenset[tuple[str, str]]]:
    """Return a version's requirements by package: ("needs" or "pins", specifier or address)."""
    found: dict[str, set[tuple[str, str]]] = {}
    for kind, line in _lines(version):
        requirement = _parsed(line)
        if requirement is not None:
            name, text = requirement
            found.setdefault(name, set()).add((kind, text))
    return {name: frozenset(asked) for name, asked in found.items()}


def _lines(version: Version) -> Iterable[tuple[str, str]]:
    root = version.root
    if version.kind == "wheel":
        for told in _metadata(root):
            yield from (("needs", line) for line in told.get_all("Requires-Dist", []))
        return
    project = _toml(root / "pyproject.toml").get("project", {})
    yield from (("needs", str(line)) for line in project.get("dependencies", []))
    for pattern in _PINS:
        for path in sorted(root.glob(pattern)):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                yield "pins", line.partition(" #")[0].partition(" --hash")[0].rstrip(" \\")
    for name in _LOCKS:
        tables = _toml(root / name)
        packages = tables.get("package", tables.get("packages", []))
        versions: dict[str, set[str]] = {}
        for package in packages:
            if isinstance(package, dict) and "version" in package:
                versions.setdefault(str(package.get("name")), set()).add(str(package["version"]))
        # Several of one name are for several platforms, which a lock file tells in its own way.
        yield from (
            ("pins", f"{package}=={min(found)}")
            for package, found in versions.items()
            if len(found) == 1
        )


def _toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Unusable(f"{path}: is no TOML: {error}") from None


def _parsed(line: str) -> tuple[str, str] | None:
    """Return a requirement's package, and its specifier or address; None if it is not for here."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        requirement = Requirement(line)
    except InvalidRequirement:  # a comment, an option, a path
        return None
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    text = f"@ {requirement.url}" if requirement.url else str(requirement.specifier)
    return canonicalize_name(requirement.name), text


def _suits(installed: str | None, asked: Iterable[tuple[str, str]]) -> bool:
    from packaging.specifiers import SpecifierSet

    for kind, text in asked:
        if installed is None:
            if kind == "needs":
                return False
        elif text.startswith("@") or not SpecifierSet(text).contains(installed, prereleases=True):
            return False
    return True


def _line(name: str, asked: Iterable[tuple[str, str]]) -> str:
    texts = sorted({text for _, text in asked if text})
    address = next((text for text in texts if text.startswith("@")), None)
    return f"{name} {address}" if address else name + ",".join(texts)
