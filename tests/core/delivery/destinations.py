"""The local destination, run by a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from core.service.local_destination import LocalDestination


@contextmanager
def local_destination() -> Iterator[LocalDestination]:
    """Run the local destination in a thread."""
    server = LocalDestination()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
