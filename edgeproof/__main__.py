"""`python -m edgeproof`, and the command of that name."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path


def run() -> int:
    """Run the command line; Ctrl-C is one line while its parts are still being imported, too."""
    _prefer_own_packages()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without µ gets a ?, no traceback
    try:
        from edgeproof.main import main
    except KeyboardInterrupt:
        print("edgeproof: interrupted; nothing was begun", file=sys.stderr)
        return 130
    return main()


def _prefer_own_packages() -> None:
    """Look for our packages beside this one, where the folder that we run in has a `core`, too."""
    ours = Path(__file__).resolve().parents[1]
    found = find_spec("core")
    if found is None or found.origin is None or not Path(found.origin).is_relative_to(ours):
        sys.path.insert(0, str(ours))


if __name__ == "__main__":
    sys.exit(run())
