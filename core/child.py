"""What a child process of the service needs before anything else: its parent, and its end.

It imports nothing else of ours: the L2 and the destination are children that need no service.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

PARENT_VARIABLE = "EDGEPROOF_PARENT"
"""Environment variable: the process id that must still be the parent."""
_PR_SET_PDEATHSIG = 1


def parent_mark() -> dict[str, str]:
    """Return what the environment of a child holds that is to end with this process."""
    return {PARENT_VARIABLE: str(os.getpid())}


def has_parent_mark() -> bool:
    """Return whether this process was started as such a child."""
    return PARENT_VARIABLE in os.environ


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel to send *number* to this process when its parent ends, where it can.

    A parent that ended before this was asked is noticed by its process id.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    expected = os.environ.get(PARENT_VARIABLE)
    if expected is not None and expected != str(os.getppid()):
        sys.exit(1)


class EndSignals:
    """Waits for SIGTERM or SIGINT, however many come: to be made in the main thread.

    A handler that sets an event could be run in the middle of itself and wait for itself for ever:
    a parent that is killed while it has threads sends SIGTERM once for each of them. Here the
    interpreter's own handler writes to a pipe, and nothing else happens.
    """

    def __init__(self) -> None:
        self._end, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    def wait(self) -> None:
        """Return once one has come."""
        os.read(self._end, 1)


def say(message: dict[str, object]) -> None:
    """Tell the parent one thing, as a line of JSON."""
    print(json.dumps(message), flush=True)
