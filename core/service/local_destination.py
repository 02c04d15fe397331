"""The local destination, a process of its own: `python -m core.service.local_destination`.

It takes whatever JSON array it is sent, tells conversions that it has seen by their idempotency
key, and says on GET how many those were. Both methods want any path.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from core.child import EndSignals, die_with_parent, say

MAX_BODY_BYTES = 4_000_000
REMEMBERED = 100_000


class Counts:
    """How many conversions came, each counted once as long as its key is remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: OrderedDict[str, None] = OrderedDict()
        self.requests = 0
        self.conversions = 0
        self.duplicates = 0

    def take(self, keys: list[str]) -> None:
        """Count one request with the conversions of *keys*."""
        with self._lock:
            self.requests += 1
            for key in keys:
                if key in self._keys:
                    self.duplicates += 1
                    continue
                self.conversions += 1
                self._keys[key] = None
                if len(self._keys) > REMEMBERED:
                    self._keys.popitem(last=False)

    def keys(self) -> list[str]:
        """Return the keys that are remembered, oldest first."""
        with self._lock:
            return [*self._keys]

    def to_json(self) -> dict[str, int]:
        """Return the counts."""
        with self._lock:
            return {
                "requests": self.requests,
                "conversions": self.conversions,
                "duplicates": self.duplicates,
            }


class Handler(BaseHTTPRequestHandler):
    """Takes deliveries for the counts of its server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120
    server: LocalDestination

    def do_POST(self) -> None:
        """Take an array of objects, each with an idempotency_key."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 12 or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(413, {"error": f"send a body of at most {MAX_BODY_BYTES} bytes"})
            return
        try:
            items = json.loads(self.rfile.read(int(length)))
            keys = [str(item["idempotency_key"]) for item in items]
        except (ValueError, KeyError, TypeError, RecursionError):
            self._answer(400, {"error": "send a JSON array of objects with an idempotency_key"})
            return
        self.server.counts.take(keys)
        self._answer(202, {"accepted": len(keys)})

    def do_GET(self) -> None:
        """Say how much was taken."""
        self._answer(200, self.server.counts.to_json())

    def _answer(self, status: int, data: Mapping[str, object]) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: the log is for what goes wrong."""


class LocalDestination(ThreadingHTTPServer):
    """The server on a free loopback port."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.counts = Counts()

    @property
    def url(self) -> str:
        """Where it takes deliveries."""
        return f"http://127.0.0.1:{self.server_address[1]}/conversions"


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    ends = EndSignals()
    die_with_parent()
    server = LocalDestination()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say({"ready": server.url})
    ends.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
