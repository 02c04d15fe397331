"""A redis-server that is slow, silent, dead and back again, in turns."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

from bench.redis_server import free_port, waited_for
from core.errors import InputError

PHASES = (("well", 2), ("slow", 1), ("silent", 1), ("dead", 1))
"""Names, and how many parts of a turn each lasts; a turn ends as the server is started again."""

_SLOW_SECONDS = 0.03
"""Slow: it stands still for so long, and works for so long, in turns."""


class FlakyRedis:
    """Runs a redis-server in *folder* at one port; *part* seconds is a part of a turn."""

    def __init__(self, folder: Path, *, part: float) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise InputError(
                "no redis-server on the PATH; install it, such as apt install redis-server"
            )
        self._program, self._folder, self._part = program, folder, part
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.turns = 0
        self._stop = threading.Event()
        self._process = self._started()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _started(self) -> subprocess.Popen[bytes]:
        with (self._folder / "redis.log").open("ab") as output:
            process = subprocess.Popen(
                [
                    *(self._program, "--bind", "127.0.0.1", "--port", str(self._port)),
                    *("--dir", str(self._folder), "--save", "", "--appendonly", "no"),
                    *("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        waited_for(self._port, process)
        return process

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Begin to fail."""
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._process.kill()
        self._process.wait()

    def _run(self) -> None:
        while not self._stop.is_set():
            for name, parts in PHASES:
                getattr(self, f"_{name}")(parts * self._part)
            if not self._stop.is_set():
                self._process = self._started()
                self.turns += 1

    def _well(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _slow(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._stop.is_set():
            self._silent(_SLOW_SECONDS)
            self._stop.wait(_SLOW_SECONDS)

    def _silent(self, seconds: float) -> None:
        self._process.send_signal(signal.SIGSTOP)
        self._stop.wait(seconds)
        self._process.send_signal(signal.SIGCONT)

    def _dead(self, seconds: float) -> None:
        self._process.kill()
        self._process.wait()
        self._stop.wait(seconds)
