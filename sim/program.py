"""What simulates here: the version of edgeproof, and the text that results depend on."""

from __future__ import annotations

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import core
import sim


@lru_cache(maxsize=1)
def program() -> str:
    """Return the SHA-256 of the text of what a simulation runs, of Python's version and NumPy's."""
    digest = hashlib.sha256(f"{platform.python_version()} {np.__version__}".encode())
    for package in (core, sim):
        for folder in package.__path__:
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.read_bytes())
    return digest.hexdigest()


def told() -> tuple[str, str]:
    """Return the version of edgeproof and its `program`; "unknown" where it is not installed."""
    try:
        return version("edgeproof"), program()
    except PackageNotFoundError:
        return "unknown", program()
