"""The entry point of a service process: `python -m core.service.worker PLAN.json`.

The plan comes from `core.service.launcher`. A line of JSON on standard output tells when it serves.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from core.child import die_with_parent, say
from core.errors import EdgeproofError
from core.service.acceptor import Acceptor, bound, unbound
from core.service.app import create_app
from core.service.limits import GRACE_SECONDS, ConnectionLimits
from core.service.plan import plan_of
from core.service.protocol import BoundedProtocol
from core.service.repeats import CountingHandler, log_to_stderr

SERVER_OPTIONS: dict[str, Any] = {
    "http": BoundedProtocol,
    "ws": "none",
    "loop": "asyncio",
    "log_config": None,  # `log_to_stderr` has been called
    "log_level": "warning",
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,  # nothing here asks where a request came from
    "backlog": 1024,
    "timeout_graceful_shutdown": 8,  # for handlers that go on although they were cut off
}
"""How uvicorn is run; `python -m bench.service` runs the bare route the same way."""


class _Server(uvicorn.Server):
    """Takes connections from *listener* within *limits*, once the application has started.

    Tells the parent when requests are answered, and at the end how many never were.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        url: str,
        *,
        limits: ConnectionLimits,
        log: CountingHandler,
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._url = url
        self._limits = limits
        self._log = log
        self._acceptor: Acceptor | None = None
        self._looked_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        if self.started:
            self._acceptor = Acceptor(self._listener, self._protocol)
            self._acceptor.start(self.config.backlog)
            say({"ready": self._url})

    def _protocol(self) -> BoundedProtocol:
        return BoundedProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            limits=self._limits,
        )

    async def on_tick(self, counter: int) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= self._limits.interval:
            self._looked_at = now
            for connection in [*self.server_state.connections]:
                assert isinstance(connection, BoundedProtocol)
                connection.look(now)
            self._log.tell()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        end = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._cut_off)
        await super().shutdown([])
        end.cancel()

    def _cut_off(self) -> None:
        connections = [*self.server_state.connections]
        undone = sum(c.cut_off() for c in connections if isinstance(c, BoundedProtocol))
        for task in [*self.server_state.tasks]:
            task.cancel()
        if undone:
            say({"cut_off": undone})


def _is_no_end(record: logging.LogRecord) -> bool:
    """Return False for a request that was cut off: it is counted, and no fault of its code."""
    return record.exc_info is None or record.exc_info[0] is not asyncio.CancelledError


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    # uvicorn raises the signals that ended it once more: as an interrupt, not as a death by signal.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    die_with_parent()
    plan_path = Path(arguments[0])
    plan = json.loads(plan_path.read_text(encoding="utf-8"))
    try:
        worker = plan_of(plan)
        if (held := plan.get("descriptor")) is not None:  # the parent holds it, too
            listener = socket.socket(fileno=held)
        else:
            listener = bound(plan["host"], plan["port"])
        port = listener.getsockname()[1]
        host = f"[{plan['host']}]" if ":" in plan["host"] else plan["host"]
        app = create_app(worker)
        limits = ConnectionLimits(**plan["limits"])
        limits.raise_descriptors()
        log = log_to_stderr()
        config = uvicorn.Config(app, **SERVER_OPTIONS)
        logging.getLogger("uvicorn.error").addFilter(_is_no_end)
        server = _Server(config, listener, f"http://{host}:{port}", limits=limits, log=log)
        try:
            asyncio.run(server.serve())
        except SystemExit:  # uvicorn's, where the application could not start
            failure: EdgeproofError | None = getattr(app.state, "failure", None)
            if failure is None:
                raise
            raise failure from None
    except EdgeproofError as error:
        say({"error": str(error)})
        return 2
    except OSError as error:
        say({"error": unbound(plan["host"], plan["port"], error)})
        return 2
    except KeyboardInterrupt:
        return 0
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
