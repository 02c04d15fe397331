"""Files that appear whole or not at all."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, data: str | bytes) -> None:
    """Write *data* to *path*, text as UTF-8; a reader sees the old content or the new, whole.

    Raise OSError if that cannot be done; the old content then stays. The rename is atomic, but
    nothing is forced to the disk: after a loss of power the file may be the old one.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
