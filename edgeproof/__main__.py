"""`python -m edgeproof`, and the command of that name."""

from __future__ import annotations

import sys


def run() -> int:
    """Run the command line; Ctrl-C is one line while its parts are still being imported, too."""
    try:
        from edgeproof.main import main
    except KeyboardInterrupt:
        print("edgeproof: interrupted; nothing was begun", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(run())
