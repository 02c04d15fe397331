"""The platform's own engine, workerd, behind the shapes of its REST API, on a port of loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from core.errors import EdgeproofError
from core.query.d1 import D1Database
from core.query.migrations import migrations, statements_of
from core.query.statement import Statement
from scenarios.node import Node

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
TOKEN = "a-token-of-the-local-runtime"
_SCRIPT = Path(__file__).with_name("serve.mjs")
_STOP_SECONDS = 10.0


class Runtime:
    """A running workerd with empty D1 databases and a KV namespace."""

    def __init__(self, url: str, databases: Sequence[str]) -> None:
        self.base_url = f"{url}client/v4"
        self._binding = f"{url}binding"
        self._databases = iter(databases)

    def next_id(self) -> str:
        """Return the id of a database that nobody has used yet; EdgeproofError if none is left."""
        for name in self._databases:
            return name
        raise EdgeproofError("the local runtime has no empty database left; start it with more")

    def open(self, database_id: str, **options: Any) -> D1Database:
        """Return a client of a database."""
        return D1Database(ACCOUNT, database_id, TOKEN, base_url=self.base_url, **options)

    def binding(self, calls: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """Return what each call of the KV binding gives: {"value"} or {"error"}."""
        answer = httpx.post(self._binding, json=calls, timeout=60.0)
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found


async def migrate(database: D1Database) -> None:
    """Bring an empty database to the latest schema, a migration at a time."""
    for number, script in enumerate(migrations(), 1):
        name = f"migration_{number}"
        await database.write(*((Statement(name, sql), [()]) for sql in statements_of(script)))


@contextmanager
def running(node: Node, *, databases: int = 8) -> Iterator[Runtime]:
    """Yield a runtime with so many empty databases; it ends with the context."""
    names = [f"d{number}" for number in range(databases)]
    options = {"account": ACCOUNT, "token": TOKEN, "databases": names}
    with subprocess.Popen(
        [node.program, _SCRIPT, json.dumps(options)],
        env=node.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            if not line:
                said = process.stderr.read().decode(errors="replace").strip()[-2_000:]
                raise EdgeproofError(f"the local runtime did not start: {said}")
            yield Runtime(json.loads(line)["url"], names)
        finally:
            process.stdin.close()  # which ends it
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # workerd, too
