"""Claims about the soak: what is lost, doubled, leaked or failed is found, and nothing else is."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from bench.accepted import Accepted
from bench.shoppers import Failure
from bench.slopes import slope_of
from bench.soak_service import PLANTS, Kill, kill_behind, plant, resident
from core.attribution.models import MODELS
from core.ledger.recount import repair
from core.ledger.stored_credits import credit_rows
from core.query.database import SqliteDatabase
from core.query.statements import INSERT_CREDITS

NUMBERS = range(1, 6)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a database as a service leaves it that has processed five conversions."""
    path = tmp_path / "cdp.sqlite"
    asyncio.run(SqliteDatabase(path).close())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for number in NUMBERS:
            for event, time in ((f"t{number}", 1), (f"e{number}", 2)):
                connection.execute(
                    "INSERT INTO user_journeys (event_id, user_id, event_name, event_timestamp)"
                    " VALUES (?, ?, 'x', ?)", (event, f"u{number}", time),
                )  # fmt: skip
            connection.execute(
                "INSERT INTO conversions (conversion_id, event_id, user_id, conversion_timestamp,"
                " value, processed) VALUES (?, ?, ?, 2, 1.0, 1)",
                (f"c{number}", f"e{number}", f"u{number}"),
            )
            rows = credit_rows(f"c{number}", ["email"], [[1.0]] * len(MODELS))
            connection.executemany(INSERT_CREDITS.sql, rows)
        repair(connection, 0)  # counts the totals
        assert connection.execute(
            "SELECT attribution_model, utm_source, total_attribution, total_conversions,"
            " total_value FROM channel_performance ORDER BY 1"
        ).fetchall() == [(model, "email", 5.0, 5, 5.0) for model in sorted(MODELS)]
    return path


def accepted() -> Accepted:
    return Accepted(
        touches={f"t{number}" for number in NUMBERS},
        conversions={f"c{number}" for number in NUMBERS},
        channel={f"c{number}": "email" for number in NUMBERS},
    )


def test_database_that_holds_everything_once_has_no_fault(file: Path) -> None:
    assert accepted().faults(file) == []
    unknown = accepted()  # the answer was lost with the worker, the event was not
    unknown.conversions.remove("c3")
    assert unknown.faults(file) == []


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("DELETE FROM user_journeys WHERE event_id = 't2'", "1 accepted touches are lost"),
        ("DELETE FROM conversions WHERE conversion_id = 'c2'", "1 accepted conversions are lost"),
        ("DELETE FROM credits WHERE conversion_id = 'c2'", "have no credits, such as c2"),
        ("UPDATE conversions SET processed = 0", "5 conversions were never processed"),
        (
            "INSERT INTO dead_letters VALUES ('c2', 3, 'it never ended', 0)",
            "1 conversions are left in dead_letters (it never ended), such as c2",
        ),
        *(
            (f"UPDATE channel_totals SET {changed}", f"{model} of email counts {counted}")
            for model in MODELS
            for changed, counted in (
                (f"{model}_conversions = 6", "6 conversions and 5 credits, and 5 have one"),
                (f"{model} = 4", "5 conversions and 4 credits, and 5 have one"),
            )
        ),
        ("DELETE FROM channel_totals", "linear of email counts 0 conversions and 0 credits, and 5"),
        (
            "UPDATE credits SET touches = replace(touches, 'email', 'bing')",
            "5 conversions have credits of other",
        ),
        (
            "UPDATE credits SET touches = replace(touches, '1.0', '0.5')"
            " WHERE conversion_id = 'c3'",
            "1 conversions have credits of other touches than their own, such as c3",
        ),
        (
            "INSERT INTO credits SELECT conversion_id, 1, touchpoints, touches FROM credits"
            " WHERE conversion_id = 'c1'",
            "1 conversions are credited more than once, such as c1",
        ),
        (
            "UPDATE credits SET touches = "
            """replace(replace(touches, '"email"', '"email","email"'), '1.0', '1.0,1.0')"""
            " WHERE conversion_id = 'c4'",
            "1 conversions are credited more than once, such as c4",
        ),
    ],
)
def test_what_is_lost_or_doubled_is_a_fault(file: Path, sql: str, fault: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(sql)
    assert fault in "; ".join(accepted().faults(file))


PLANTED = {
    "lost": "1 accepted conversions are lost, such as c5",
    "doubled": "linear of email counts 6 conversions and 5 credits, and 5 have one",
}
"""The plants in a database, and the one fault that each makes."""


@pytest.mark.parametrize("what", [name for name in PLANTS if name in PLANTED])
def test_planted_faults_are_found(file: Path, what: str) -> None:
    plant(file, what)
    (fault,) = accepted().faults(file)
    assert fault.startswith(PLANTED[what])


def test_only_connections_to_the_killed_worker_are_excused() -> None:
    kills = [Kill(100.0, 1, "worker 1"), Kill(200.0, -1, "the consumer")]
    excused = [
        Failure(1, 50.0, 99.9, 100.01, "reset", is_broken=True),
        Failure(1, 50.0, 100.2, 100.3, "written before the client could know", is_broken=True),
    ]
    others = [
        Failure(0, 50.0, 99.9, 100.01, "on the other worker", is_broken=True),
        Failure(1, 50.0, 90.0, 99.0, "before", is_broken=True),
        Failure(1, 100.5, 100.5, 100.6, "of a connection to the next one", is_broken=True),
        Failure(1, 50.0, 99.9, 130.0, "no answer within 30 s"),
        Failure(0, 50.0, 199.9, 200.01, "the consumer answers nobody", is_broken=True),
    ]
    assert [kill_behind(one, kills) for one in excused] == [kills[0]] * 2
    assert [kill_behind(one, kills) for one in others] == [None] * 5


def readings(
    slope: float, *, seconds: int, seed: int, level: float = 8e7
) -> list[tuple[float, float]]:
    """Return memory that grows by *slope* bytes/s, with the steps that an allocator makes."""
    noise = np.random.Generator(np.random.Philox(key=seed)).normal(0, 3e5, seconds)
    steps = np.convolve(noise, np.ones(10) / 10, mode="same")
    return [(float(t), level + slope * t + float(steps[t])) for t in range(seconds)]


LIMIT = 1e6 / 60


def test_growth_beyond_the_limit_is_told_from_none() -> None:
    def lives(slope: float) -> dict[str, list[tuple[float, float]]]:
        return {
            str(seed): readings(slope, seconds=600, seed=seed, level=1e7 * seed)
            for seed in range(1, 4)
        }

    options = {"settle": 120.0, "block": 15.0, "least": 120.0}
    still, growing = slope_of(lives(0.0), **options), slope_of(lives(3 * LIMIT), **options)
    assert still is not None
    assert growing is not None
    assert (still.verdict(LIMIT), growing.verdict(LIMIT)) == ("PASS", "FAIL")
    assert abs(still.value) <= still.half_width
    assert abs(growing.value - 3 * LIMIT) <= growing.half_width
    assert growing.lives == 3
    assert growing.text.startswith("+3,0") or growing.text.startswith("+2,9")
    slow = slope_of(lives(LIMIT), **options)
    assert slow is not None
    assert slow.verdict(slow.value) == "UNDECIDED"


def test_short_lives_and_their_beginnings_tell_nothing() -> None:
    options = {"settle": 120.0, "block": 15.0, "least": 120.0}
    assert slope_of({"1": readings(1e6, seconds=200, seed=1)}, **options) is None
    assert slope_of({}, **options) is None
    filling = [
        (float(t), 8e7 + 2e5 * min(t, 100) + float(size - 8e7))
        for t, size in readings(0.0, seconds=600, seed=2)
    ]
    found = slope_of({"1": filling}, **options)
    assert found is not None
    assert found.verdict(LIMIT) == "PASS"


def test_memory_that_a_process_takes_is_read() -> None:
    code = "kept = b'x'; input(); kept = bytearray(b'x') * 40_000_000; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        before = resident(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        after = resident(process.pid)
        process.communicate(b"\n")
    assert before is not None
    assert after is not None
    assert 38e6 < after - before < 60e6
    assert resident(process.pid) is None
