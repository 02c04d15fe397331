"""A private redis-server for the time of a measurement."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import InputError

_STARTS = 5
_START_SECONDS = 10.0
_POLL_SECONDS = 0.02


class RedisServer:
    """A running server; url: of its first database."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self.url = f"redis://{host}:{port}/0"

    def ask(self, *words: str) -> bytes:
        """Return the raw answer to one command; OSError if there is none."""
        command = b"".join(
            b"$%d\r\n%s\r\n" % (len(w), w) for w in (word.encode() for word in words)
        )
        with socket.create_connection(self._address, timeout=5.0) as connection:
            connection.sendall(b"*%d\r\n%s" % (len(words), command))
            answer = connection.recv(65_536)
            if answer.startswith(b"$"):
                head, _, _ = answer.partition(b"\r\n")
                while len(answer) < len(head) + 4 + int(head[1:]):
                    answer += connection.recv(65_536)
        return answer

    def empty(self) -> None:
        """Delete every key."""
        self.ask("FLUSHALL")

    def keys(self) -> int:
        """Return the number of keys."""
        return int(self.ask("DBSIZE").strip().removeprefix(b":"))

    def calls(self) -> dict[str, int]:
        """Return the calls of each command so far, by its name in small letters."""
        lines = self.ask("INFO", "commandstats").decode().splitlines()
        pairs = (line.removeprefix("cmdstat_").split(":") for line in lines if ":calls=" in line)
        return {name: int(rest.split(",")[0].removeprefix("calls=")) for name, rest in pairs}


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Run a redis-server on a free port of this machine that keeps nothing.

    Raise InputError where there is no such program, or it does not start.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise InputError(
            "no redis-server on the PATH; install it, such as apt install redis-server"
        )
    log = folder / "redis.log"
    for _ in range(_STARTS):
        port = free_port()
        with log.open("ab") as output:
            process = subprocess.Popen(
                [
                    *(program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)),
                    *("--save", "", "--appendonly", "no", "--daemonize", "no"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            server = RedisServer("127.0.0.1", port)
            if _answers(server, process):
                yield server
                return
        finally:
            process.terminate()
            process.wait()
    raise InputError(f"redis-server did not start: {log.read_text(errors='replace')[-300:]}")


def _answers(server: RedisServer, process: subprocess.Popen[bytes]) -> bool:
    """Wait until *process* itself answers; False if it ends, such as when its port was taken."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return f"process_id:{process.pid}\r".encode() in server.ask("INFO", "server")
        except OSError:
            time.sleep(_POLL_SECONDS)
    return False


def waited_for(port: int, process: subprocess.Popen[bytes]) -> RedisServer:
    """Return the server at *port* once *process* itself answers there, or raise InputError."""
    server = RedisServer("127.0.0.1", port)
    if not _answers(server, process):
        process.kill()
        process.wait()
        raise InputError(f"redis-server did not start at port {port}")
    return server


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
