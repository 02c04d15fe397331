"""Claims about SIGKILL: whatever instant it strikes, no event is lost and none counted twice."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from bench.forked import preload
from core.attribution.models import HEURISTICS, MODELS
from core.clock import DATA_EPOCH_MS
from tests.core.delivery.consuming_process import CHANNELS, USERS, Life, live
from tests.core.ledger.worlds import credits_of

KILLS = int(os.environ.get("EDGEPROOF_KILLS", "120"))  # `make kills` asks for 1,000
MOST_STEPS = 900  # of 25 each: some five rounds of a touch, a conversion and their batches
MOST_ANNOUNCED = 25

CONTEXT = multiprocessing.get_context("forkserver")


@pytest.fixture(autouse=True, scope="module")
def light_start() -> None:
    """Let every process start as a copy of one that has imported everything."""
    preload("tests.core.delivery.consuming_process", "tests.core.delivery.forwarding_process")


def end_of(life: Life, *, kill_after: int | None = None) -> list[str]:
    """Live *life*, kill it after so many announcements; return the events that it accepted."""
    listen, speak = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=live, args=(life, speak))
    process.start()
    speak.close()
    heard = 0
    accepted = []
    with listen:
        for message in messages(listen):
            heard += 1
            if message != b".":
                accepted.append(message.decode())
            if heard == kill_after:
                process.kill()
    process.join(30)
    assert process.exitcode == (0 if life.rounds is not None else -9)
    return accepted


def messages(listen: Connection) -> Iterator[bytes]:
    """Yield what comes until the other end is gone; what was said before that is all heard."""
    while True:
        try:
            yield listen.recv_bytes()
        except EOFError:
            return


def test_no_kill_loses_an_accepted_event_or_counts_a_conversion_twice(tmp_path: Path) -> None:
    path = tmp_path / "cdp.sqlite"
    rng = np.random.Generator(np.random.Philox(key=2026))
    accepted: list[str] = []
    kills = np.arange(KILLS) % 2 == 0  # half of them within a statement, half from outside
    rng.shuffle(kills)
    first = hour = 0
    for hour, is_within in enumerate(kills.tolist()):
        life = Life(
            path=path, first=first, hour=hour, in_process=bool(rng.integers(2)),
            kill_at_step=int(rng.integers(1, MOST_STEPS)) if is_within else None,
        )  # fmt: skip
        after = None if is_within else int(rng.integers(1, MOST_ANNOUNCED))
        accepted += end_of(life, kill_after=after)
        # An event that was stored and not acknowledged is sent again by some senders only.
        first = max((int(name[1:]) for name in accepted), default=0) + int(rng.integers(3))
    assert len(accepted) > 2 * len(kills)
    accepted += end_of(Life(path=path, first=first, hour=hour + 1, in_process=False, rounds=3))
    check(path, accepted)


def check(path: Path, accepted: list[str]) -> None:
    """Assert that the database holds every accepted event, and every conversion counted once."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        stored = {name for (name,) in connection.execute("SELECT event_id FROM user_journeys")}
        assert stored >= {*accepted}
        conversions = connection.execute(
            "SELECT conversion_id, processed, value FROM conversions"
        ).fetchall()
        assert {f"e{name[1:]}" for name, _, _ in conversions} == {
            name for name in stored if name.startswith("e")
        }
        assert {processed for _, processed, _ in conversions} == {1}
        for table in ("conversion_queue", "dead_letters"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        numbers = sorted(int(name[1:]) for name, _, _ in conversions)
        credits = connection.execute(
            f"SELECT conversion_id, touchpoint_index, utm_source, {', '.join(MODELS)}"
            " FROM touch_credits ORDER BY 1, 2"
        ).fetchall()
        # Each conversion follows one touch of its user, or those of conversions never made.
        expected = sorted(
            row for number in numbers for row in expected_credits(number, {*numbers}, stored)
        )
        assert sorted(credits) == expected
        for position, model in enumerate(MODELS):
            totals = connection.execute(
                "SELECT utm_source, total_attribution, total_conversions, total_value"
                " FROM channel_performance WHERE attribution_model = ?",
                (model,),
            ).fetchall()
            for channel, credit, number, value in totals:
                rows = [row for row in credits if row[2] == channel]
                assert number == len({row[0] for row in rows})
                assert credit == pytest.approx(sum(row[3 + position] for row in rows), rel=1e-9)
                assert value == pytest.approx(
                    sum(row[3 + position] * (int(row[0][1:]) % 4) for row in rows), rel=1e-9
                )
            assert {row[0] for row in totals} == {row[2] for row in credits}
    finally:
        connection.close()


def expected_credits(number: int, numbers: set[int], stored: set[str]) -> list[tuple[object, ...]]:
    """Return the rows of touch_credits of one conversion, from the events that are stored."""
    touches = [number] if f"t{number}" in stored else []
    before = number - USERS
    while before >= 0 and before not in numbers:
        if f"t{before}" in stored:
            touches.insert(0, before)
        before -= USERS
    times = [DATA_EPOCH_MS + 10 * touch for touch in touches]
    converted = DATA_EPOCH_MS + 10 * number + 5
    shares = [credits_of(model, times, converted) for model in HEURISTICS]
    shares.append(credits_of("linear", times, converted))  # data_driven: no model is fitted
    return [
        (f"c{number}", index, CHANNELS[touch % len(CHANNELS)], *(s[index] for s in shares))
        for index, touch in enumerate(touches)
    ]
