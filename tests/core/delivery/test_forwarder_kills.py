"""Claims about SIGKILL: whatever instant it strikes, no finished conversion goes untold."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from bench.forked import preload
from core.service.local_destination import LocalDestination
from tests.core.delivery.forwarding_process import Life, Moment, live

KILLS_OF_A_KIND = 12
MOST_STEPS = 400  # of 25 each: some four rounds
MOST_REQUESTS = 5

CONTEXT = multiprocessing.get_context("forkserver")


@pytest.fixture(autouse=True, scope="module")
def light_start() -> None:
    """Let every process start as a copy of one that has imported everything."""
    preload("tests.core.delivery.consuming_process", "tests.core.delivery.forwarding_process")


def finished_in(life: Life) -> int:
    """Live *life* to its end; return how many rounds it announced."""
    listen, speak = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=live, args=(life, speak))
    process.start()
    speak.close()
    rounds = 0
    with listen:
        try:
            while True:
                listen.recv_bytes()
                rounds += 1
        except EOFError:
            pass
    process.join(30)
    assert process.exitcode == (0 if life.moment == "never" else -9)
    return rounds


def test_no_kill_keeps_a_finished_conversion_from_the_destination(tmp_path: Path) -> None:
    path = tmp_path / "cdp.sqlite"
    rng = np.random.Generator(np.random.Philox(key=2027))
    kinds: list[Moment] = ["step", "before", "after"]
    moments = [kind for kind in kinds for _ in range(KILLS_OF_A_KIND)]
    rng.shuffle(moments)
    destination = LocalDestination()
    thread = Thread(target=destination.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        first = 0
        for moment in moments:
            most = MOST_STEPS if moment == "step" else MOST_REQUESTS
            number = int(rng.integers(1, most))
            life = Life(path=path, url=destination.url, first=first, moment=moment, number=number)
            # The round in which it was killed is not announced, and may have been stored.
            first += finished_in(life) + 1
        assert first > 2 * len(moments)
        finished_in(Life(path=path, url=destination.url, first=first, moment="never", rounds=2))
    finally:
        destination.shutdown()
        thread.join()
        destination.server_close()
    connection = sqlite3.connect(path)
    try:
        finished = [
            name
            for (name,) in connection.execute(
                "SELECT conversion_id FROM conversions WHERE processed = 1"
            )
        ]
        left = connection.execute(
            "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM undelivered)"
        ).fetchone()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()
    assert left == (0, 0)
    assert {*destination.counts.keys()} == {*finished}
    # A kill between the answer and the deletion sends again; the key tells it.
    assert destination.counts.duplicates >= KILLS_OF_A_KIND
