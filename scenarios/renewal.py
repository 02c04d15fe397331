"""Tokens that expire: whoever started the load fetches them again, and the load takes them up."""

from __future__ import annotations

import json
import os
from time import perf_counter

import gevent.os

from scenarios.console import Console
from scenarios.run import LoadRun

RENEW = "renew"
"""Of a line of progress: a token was refused, and another one is asked for."""

SECRETS, FAULT = "secrets", "fault"
"""Of a line on standard input: the new values by variable, or why there are none."""

ASK_SECONDS = 1.0
_BLOCK = 65_536


class Asking:
    """Asks for new tokens over the console, at most once a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._asked_at = -ASK_SECONDS

    def ask(self) -> None:
        """Ask, if it has not just been done: thousands of requests may be refused at once."""
        now = perf_counter()
        if now - self._asked_at >= ASK_SECONDS:
            self._asked_at = now
            self._console.tell({RENEW: True})


def take_secrets(run: LoadRun) -> None:
    """Take up what standard input says until it ends; blocks its greenlet only."""
    gevent.os.make_nonblocking(0)
    pending = b""
    while data := gevent.os.nb_read(0, _BLOCK):
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if SECRETS in said:
                os.environ.update(said[SECRETS])
                run.renew(said[SECRETS])
            elif FAULT in said:
                run.note(said[FAULT])
