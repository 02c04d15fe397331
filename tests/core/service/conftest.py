"""A service per module, in a process of its own behind real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.service.serving import Visitor, serving, small_scenario


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """Return a client of a service with an L2 of its own."""
    folder: Path = tmp_path_factory.mktemp("service")
    with serving(small_scenario("one-process"), folder) as (visitor,):
        yield visitor


@pytest.fixture(scope="module", params=["embedded", "redis-server"])
def on_each_l2(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visitor]:
    """Return a client of a service on the embedded L2, and on a real Redis."""
    url: str | None = None
    if request.param == "redis-server":
        url = request.getfixturevalue("redis_server")
    folder: Path = tmp_path_factory.mktemp("service")
    # Keys of L2 stand under the scenario's name, and the Redis is that of the whole session.
    name = f"{request.module.__name__.rpartition('.')[2]}-on-{request.param}"
    with serving(small_scenario(name), folder, redis=url) as (visitor,):
        yield visitor
