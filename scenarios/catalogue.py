"""The scenarios that come with the package, and how a scenario is found by path or by name."""

from __future__ import annotations

from pathlib import Path

from core.errors import InputError

_FOLDER = Path(__file__).parent


def shipped() -> dict[str, Path]:
    """Return the scenarios of the package by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def templates() -> dict[str, Path]:
    """Return the files that `edgeproof scenario new` starts from, by what they are like."""
    return {path.stem: path for path in sorted((_FOLDER / "templates").glob("*.toml"))}


def find_scenario(text: str) -> Path:
    """Return the file that *text* means: a path, or the name of a shipped scenario.

    Raise InputError that lists the shipped ones if it is neither.
    """
    path = Path(text)
    if path.is_file():
        return path
    if path.is_dir():
        raise InputError(f"{text}: is a folder; give a scenario file")
    known = shipped()
    if text in known:
        return known[text]
    raise InputError(
        f"{text}: no such scenario file; give a path, or one of {', '.join(sorted(known))}"
    )
