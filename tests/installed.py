"""A package with an entry point as an installer leaves it, for this process and new ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


def install(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *, module: str, source: str, entry_points: str
) -> None:
    """Put *module* with *source* into *folder*, and the text of its entry_points.txt beside it."""
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    metadata = f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n"
    (information / "METADATA").write_text(metadata, encoding="utf-8")
    (information / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    sys.modules.pop(module, None)  # of another test
    monkeypatch.syspath_prepend(folder)
    before = os.environ.get("PYTHONPATH")
    path = str(folder) if before is None else f"{folder}{os.pathsep}{before}"
    monkeypatch.setenv("PYTHONPATH", path)
