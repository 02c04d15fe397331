"""Compilation of the reader of lines in a process of its own, whose memory ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from core.child import die_with_parent, parent_mark
from scenarios.intake.formats import layout_of
from scenarios.intake.log_file import compiled_chunk
from scenarios.intake.rules import parse_rule
from scenarios.intake.tables import tables_of


def prepare() -> None:
    """See that the compiled reader is in numba's cache.

    A compiler takes 80 MB that it does not give back, on top of what a log takes. Where the
    process cannot do it, the first chunk is compiled here.
    """
    from scenarios.intake import compiled

    folder = compiled.scan.stats.cache_path
    if folder is not None and is_cached(Path(folder), Path(compiled.__file__)):
        return
    # -P: a folder of the user's called scenarios is none of ours.
    subprocess.run(
        [sys.executable, "-P", "-m", __name__], check=False, env=os.environ | parent_mark(),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def is_cached(folder: Path, source: Path) -> bool:
    """Return whether *folder* has compiled code of *source*'s scan that is not older than it."""
    version = f"py{sys.version_info[0]}{sys.version_info[1]}"
    try:
        changed = source.stat().st_mtime
        return any(
            file.stat().st_mtime >= changed
            for file in folder.glob(f"{source.stem}.scan-*.{version}.nbi")
        )
    except OSError:
        return False


def compile_reader() -> None:
    """Compile the reader, for arguments of the types that every log has."""
    rule = parse_rule("any = GET /", "compilation")
    compiled_chunk(b"\n", tables_of(layout_of("combined"), [rule], (), (0, 0)), with_keys=False)


if __name__ == "__main__":
    die_with_parent(signal.SIGKILL)
    compile_reader()
