"""Claims about the processes that work for a command: the loss of one is said in words."""

from __future__ import annotations

import os

import pytest

from core.errors import EdgeproofError
from core.processes import worker_pool


def test_process_that_is_killed_is_no_traceback() -> None:
    with (
        pytest.raises(EdgeproofError, match=r"one of the 2 processes .* was killed"),
        worker_pool(2) as pool,
    ):
        pool.submit(os._exit, 9).result(timeout=60)
