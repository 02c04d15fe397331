"""Open-loop visitors of a service that know what it accepted, and what failed when.

Each conversion has a user of its own with one touch. What got no answer is sent again, as a sender
does that cannot know; some of what was accepted is sent again, too.
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from bench.accepted import CHANNELS, Accepted
from core.metrics.histogram import LatencyHistogram

TIMEOUT = 30.0
_AGAIN_SECONDS = 1.0
_LAST_SECONDS = 30.0
_REPEATED = 0.02
_KNOWN = 2_000
_MOST_OPEN = 4_000
"""Requests on their way at once; a visitor beyond stays away, and is counted."""
_LATE_SECONDS = 0.1
_FIRST_MS = 1_767_225_600_000


class Failure(NamedTuple):
    """A request without a good answer: its worker, monotonic times, and why.

    opened: of its connection; is_broken: whether that ended, rather than time or a status.
    """

    worker: int
    opened: float
    sent: float
    ended: float
    why: str
    is_broken: bool = False


Connection = tuple[float, asyncio.StreamReader, asyncio.StreamWriter]
"""When it was opened, and its two ends."""


class Shoppers:
    """Sends *rate* requests/s to the workers at *urls* in turn, from a thread of its own."""

    def __init__(
        self, urls: Sequence[str], *, rate: float, seed: int, timeout: float = TIMEOUT
    ) -> None:
        self._places = [urlsplit(url) for url in urls]
        self._rng = np.random.Generator(np.random.Philox(key=seed))
        self._timeout = timeout
        self.rate = rate
        self.accepted = Accepted()
        self.failures: list[Failure] = []
        self.latency = LatencyHistogram()
        self.sent = self.late = self.again = self.stayed_away = 0
        self._number = 0
        self._given_up = math.inf
        self._ready: deque[tuple[str, str]] = deque()  # users with an accepted touch
        self._users: deque[str] = deque(["nobody"], maxlen=_KNOWN)
        self._bought: deque[str] = deque(["nothing"], maxlen=_KNOWN)
        self._idle: list[list[Connection]] = [[] for _ in urls]
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing new, and wait for what is on its way."""
        self._given_up = time.monotonic() + _LAST_SECONDS
        self._stop.set()
        self._thread.join()

    def take(self) -> tuple[LatencyHistogram, int, int]:
        """Return the latencies since this was asked last, how many were sent, and how many late."""
        latency, self.latency = self.latency, LatencyHistogram()
        sent, late, self.sent, self.late = self.sent, self.late, 0, 0
        return latency, sent, late

    async def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            due += float(self._rng.exponential(1 / self.rate))
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            elif pause < -_LATE_SECONDS:
                self.late += 1
            if len(self._tasks) < _MOST_OPEN:
                self._spawn(self._visit(due))
            else:
                self.stayed_away += 1
        while self._tasks:
            await asyncio.wait(self._tasks)
        for pool in self._idle:
            for _, _, writer in pool:
                writer.close()

    def _one_of(self, names: Sequence[str]) -> str:
        return names[int(self._rng.integers(len(names)))]

    def _spawn(self, what: Any) -> None:
        task = asyncio.get_running_loop().create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _visit(self, due: float) -> None:
        draw = self._rng.random()
        if draw < 0.25 and self._ready:
            user, channel = self._ready.popleft()
            await self._convert(user, channel, due)
        elif draw < 0.5:
            await self._touch(due)
        elif draw < 0.75:
            await self._ask("GET", f"/journey/{self._one_of(self._users)}", due=due)
        elif draw < 0.95:
            bought = self._one_of(self._bought)
            await self._ask("GET", f"/attribution/{bought}?model=linear", due=due)
        else:
            await self._ask("GET", "/channels?model=linear", due=due)

    async def _touch(self, due: float) -> None:
        self._number += 1
        user, channel = f"u{self._number}", self._one_of(CHANNELS)
        event = {
            "event_id": f"t{self._number}", "user_id": user, "site_id": "s1",
            "event_name": "page_view", "timestamp": _FIRST_MS + self._number,
            "utm_source": channel,
        }  # fmt: skip
        if not await self._store(event, due):
            return
        self.accepted.touches.add(str(event["event_id"]))
        self._ready.append((user, channel))
        self._users.append(user)

    async def _convert(self, user: str, channel: str, due: float) -> None:
        number = int(user[1:])
        event = {
            "event_id": f"e{number}", "user_id": user, "site_id": "s1",
            "event_name": "purchase", "timestamp": _FIRST_MS + number + 1,
            "utm_source": "direct", "conversion_id": f"c{number}", "value": 1.0,
        }  # fmt: skip
        self.accepted.channel[f"c{number}"] = channel
        if not await self._store(event, due):
            return
        self.accepted.conversions.add(f"c{number}")
        self._bought.append(f"c{number}")
        if self._rng.random() < _REPEATED:
            await self._store(event, time.monotonic())

    async def _store(self, event: dict[str, Any], due: float) -> bool:
        """Send *event* until it is accepted; return whether it was before the very end."""
        body = json.dumps(event).encode()
        while not await self._ask("POST", "/track", body, due=due):
            if time.monotonic() > self._given_up:
                return False
            self.again += 1
            await asyncio.sleep(_AGAIN_SECONDS)
            due = time.monotonic()
        return True

    async def _ask(self, method: str, path: str, body: bytes = b"", *, due: float) -> bool:
        """Return whether there was a good answer; what else came is noted."""
        self.sent += 1
        worker = self.sent % len(self._places)
        opened = sent = time.monotonic()
        why, is_broken = "", False
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._timeout):
                connection = opened, reader, writer = await self._connection(worker)
                sent = time.monotonic()
                head = f"{method} {path} HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(body)}"
                writer.write(f"{head}\r\n\r\n".encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                status = int(answer[9:12])
                length = answer.lower().partition(b"content-length:")[2].split(maxsplit=1)[0]
                text = await reader.readexactly(int(length))
            if status >= 500 or status in (400, 401, 403, 408, 413):
                why = f"{status}: {text[:200].decode(errors='replace')}"
        except TimeoutError:
            why = f"no answer within {self._timeout:g} s"
        except (OSError, EOFError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
            why, is_broken = f"{type(error).__name__}: {error}", True
        ended = time.monotonic()
        if why:
            if connection is not None:
                connection[2].close()
            self.latency.fail()
            self.failures.append(Failure(worker, opened, sent, ended, why, is_broken))
            return False
        if connection is not None:
            self._idle[worker].append(connection)
        self.latency.record(ended - due)
        return True

    async def _connection(self, worker: int) -> Connection:
        await asyncio.sleep(0)  # what has ended meanwhile is seen to have
        pool = self._idle[worker]
        while pool:
            opened, reader, writer = pool.pop()
            if not reader.at_eof() and not writer.is_closing():
                return opened, reader, writer
            writer.close()
        place, opened = self._places[worker], time.monotonic()
        return opened, *await asyncio.open_connection(place.hostname, place.port)
