"""Where machine code is kept: a folder of the user's, named after all that it was made from."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent
_DONE = "complete"


@lru_cache
def fingerprint(package: Path = FOLDER) -> str:
    """Return a hash of the text of a package's modules and of the versions of the compilers.

    The constants that compiled code freezes stand in these modules. numba itself looks at the file
    of the function alone, and would keep what another one has changed.
    """
    digest = hashlib.sha256()
    for path in sorted(package.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for library in ("numba", "llvmlite", "numpy"):
        digest.update(f"{library} {version(library)}\0".encode())
    return digest.hexdigest()[:32]


def folder(package: Path = FOLDER) -> Path:
    """Return the folder of the machine code of this version of *package*."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base else Path.home() / ".cache"
    return root / "edgeproof" / "compiled" / fingerprint(package)


@lru_cache
def writable_folder(package: Path = FOLDER) -> Path:
    """Return `folder`, made, or a temporary one where that is not possible."""
    place = folder(package)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return place
    except OSError:
        return Path(tempfile.mkdtemp(prefix="edgeproof-compiled-"))


def is_compiled() -> bool:
    """Return whether the machine code is kept already, so that no run waits for it."""
    return (folder() / _DONE).is_file()


def note_compiled() -> None:
    """Note that the machine code is complete."""
    (writable_folder() / _DONE).touch()
