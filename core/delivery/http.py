"""A destination over HTTP: one pool of connections, a time limit per delivery, bounded answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from core.delivery.receiver import DeliveryError
from core.errors import InputError
from core.texts import one_line, reason_of

MAX_ANSWER_BYTES = 65_536
_SHOWN = 160


class HttpReceiver:
    """POSTs to *url*; any 2xx status means that the body was taken, whatever the answer holds.

    timeout: seconds from the call to its answer. Redirects are not followed, and proxies of the
    environment are not used. At most MAX_ANSWER_BYTES of an answer are read.
    """

    def __init__(
        self, url: str, *, timeout: float, connections: int, token: str | None = None
    ) -> None:
        import httpx  # slow to import, and most commands send nothing

        headers = {"Content-Type": "application/json", "User-Agent": "edgeproof"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._url = url
        self._token = token
        self._timeout = timeout
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=None,  # the whole call has one limit
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
            trust_env=False,
        )

    async def send(self, body: bytes) -> None:
        """Return once *body* was taken; DeliveryError names the status or the error."""
        import httpx  # as above

        status, answer = 0, b""
        problem = ""
        try:
            async with asyncio.timeout(self._timeout):
                async with self._client.stream("POST", self._url, content=body) as response:
                    status = response.status_code
                    async for chunk in response.aiter_raw():
                        answer += chunk
                        if len(answer) >= MAX_ANSWER_BYTES:
                            break  # leaving closes the connection
        except TimeoutError:
            problem = f"no answer within {self._timeout:g} s"
        except httpx.HTTPError as error:
            problem = f"{type(error).__name__}: {reason_of(error)}"
        if 200 <= status < 300:
            return  # the body was taken; only the rest of the answer may be missing
        text = _text(answer)
        if self._token is not None:  # for a destination that repeats the request
            text = text.replace(self._token, "(token)")
        raise DeliveryError(shown(f"status {status} {text}" if status else problem))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _text(answer: bytes) -> str:
    return answer[: 4 * _SHOWN].decode("utf-8", errors="replace")


def shown(text: str) -> str:
    """Return *text* as a short line without terminal control characters."""
    return one_line(text, most=_SHOWN)


def token_of(variable: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the token in the environment variable *variable*, None if no variable is named.

    Raise InputError if the variable holds no token.
    """
    if variable is None:
        return None
    token = environment.get(variable, "").strip()
    if not token:
        raise InputError(
            f"destination.token_variable: {variable} is not set; give it the destination's token"
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise InputError(
            f"destination.token_variable: {variable} does not hold a token; give it one word"
        )
    return token
