"""A generator that nobody watches must not go on loading: it ends with its parent process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT = "EDGEPROOF_PARENT"
"""Environment variable: the process id that must still be the parent."""

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies (Linux; elsewhere do nothing)."""
    expected = os.environ.get(PARENT)
    if expected is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(expected):
        # It died before the kernel was told.
        os._exit(1)
