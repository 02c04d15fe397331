"""A fake Redis in a process of its own: the L2 that several service processes share by default.

`edgeproof prove` notes a load above STATED_LIMIT: give a real Redis for more.
"""

from __future__ import annotations

import sys
import threading

from core.child import EndSignals, die_with_parent, say

STATED_LIMIT = 3_000
"""Operations per second that one process of it is meant for."""


def main() -> int:
    """Serve on a free loopback port until SIGTERM; return the exit code."""
    ends = EndSignals()
    from fakeredis import TcpFakeServer  # only this process needs it

    class Server(TcpFakeServer):
        request_queue_size = 256
        daemon_threads = True

    die_with_parent()
    server = Server(("127.0.0.1", 0), server_type="redis")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say({"ready": f"redis://127.0.0.1:{server.server_address[1]}/0"})
    ends.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
