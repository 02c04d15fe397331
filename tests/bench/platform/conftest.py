"""The platform's own engine, started once for the tests that compare with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from bench.platform.comparison import Pair, compared_on
from bench.platform.runtime import Runtime, running
from scenarios.node import Node


@pytest.fixture(scope="session")
def runtime(node: Node) -> Iterator[Runtime]:
    """Return a running workerd."""
    with running(node, databases=16) as found:
        yield found


@pytest.fixture(scope="session")
def pairs(runtime: Runtime) -> list[Pair]:
    """Return what every operation of the product asked of D1 and of SQLite, and the answers."""

    async def compare() -> list[Pair]:
        found = await compared_on(runtime)
        for pair in found:
            await pair.read_tables()
            await pair.d1.close()
        return found

    return asyncio.run(compare())
