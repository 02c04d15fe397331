"""Wheels with the files and the metadata that a test asks for."""

from __future__ import annotations

import zipfile
from pathlib import Path


def wheel(path: Path, files: dict[str, str], *requires: str) -> Path:
    """Write a wheel with *files* and the metadata that one has."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        name, version = path.name.split("-")[:2]
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
        folder = f"{name}-{version}.dist-info"
        archive.writestr(f"{folder}/METADATA", "\n".join(["Metadata-Version: 2.1", *lines]) + "\n")
        archive.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{folder}/RECORD", "")
    return path
