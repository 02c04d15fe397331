"""The other workers of a service, asked one question at a time over their own ports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.texts import parse_json

PATIENCE = 1.0
"""Seconds that all peers together have for an answer; one that is hung costs so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one worker answered: the data of its envelope, or why there is none."""

    worker: int
    data: Mapping[str, Any] | None = None
    fault: str = ""


class Peers:
    """Asks every worker of a service of *count* but the one at *position*.

    roster: the file in which the launcher writes their URLs, in their order.
    """

    def __init__(
        self, roster: Path | None, *, position: int, count: int, patience: float = PATIENCE
    ) -> None:
        self._roster = roster
        self._others = [] if roster is None else [n for n in range(count) if n != position]
        self._patience = patience

    async def ask(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes = b""
    ) -> list[Reply]:
        """Return the reply of each sibling, in their order, after at most the patience."""
        if not self._others:
            return []
        urls = self._urls()
        lines = [f"{method} {target} HTTP/1.1", "Host: edgeproof", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        request = "\r\n".join(lines).encode("latin-1") + body
        return await asyncio.gather(
            *(self._reply(worker, urls[worker : worker + 1], request) for worker in self._others)
        )

    def _urls(self) -> list[str]:
        assert self._roster is not None
        try:
            urls: list[str] = json.loads(self._roster.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        return urls

    async def _reply(self, worker: int, url: Sequence[str], request: bytes) -> Reply:
        if not url:
            return Reply(worker=worker, fault="it has not started yet")
        try:
            async with asyncio.timeout(self._patience):
                status, answer = await _exchange(url[0], request)
            data = parse_json(answer)
            if status != 200:
                return Reply(worker=worker, fault=f"{status}: {data['error']['message']}")
            return Reply(worker=worker, data=data["data"])
        except TimeoutError:
            return Reply(worker=worker, fault=f"no answer within {self._patience:g} s")
        except OSError as error:
            return Reply(worker=worker, fault=f"cannot be reached ({error.strerror})")
        except (ValueError, LookupError, TypeError):
            return Reply(worker=worker, fault="it broke off its answer, or is another program")


async def _exchange(url: str, request: bytes) -> tuple[int, bytes]:
    """Return status and body of the answer; LookupError or ValueError if it is no HTTP."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request)
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(maxsplit=2)[1]), body
