"""Claims about the benchmarks of the service and of spans: who answers, and what is counted."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import spans
from bench.halves import Speeds
from bench.loopback import Spent, WrongAnswer, answer_of, cpu_seconds, drive, request_bytes
from bench.service import Measured, bare_route, main, measure, table

ROUTE: dict[str, Any] = {
    "path": "/journey/{id:path}",
    "method": "GET",
    "status": 200,
    "headers": {"server-timing": "total;dur=1.0", "cache-status": "L1; hit; read=journey"},
    "body": '{"user_id":"u1"}',
}


def test_every_case_is_answered_as_it_says_beside_a_bare_route() -> None:
    # `drive` fails where a tier other than the case's answers.
    measured = asyncio.run(measure(rounds=1, size=100))
    assert [case.name for case in measured] == [
        "miss", "L2 hit", "L1 hit", "tracked event", "mixed",
    ]  # fmt: skip
    for case in measured:
        assert [spent.requests for spent in (*case.service, *case.bare)] == [100, 100]
        assert case.ratio > 0
        assert case.name in table(measured)


def test_bare_route_answers_the_same_bytes_and_headers(tmp_path: Path) -> None:
    async def ask(url: str) -> None:
        status, headers, body = await answer_of(url, request_bytes("GET", "/journey/u2"))
        assert (status, body) == (200, b'{"user_id":"u1"}')
        assert headers["content-type"] == "application/json"
        assert {name: headers[name] for name in ROUTE["headers"]} == ROUTE["headers"]

    with bare_route(tmp_path, "journey", [ROUTE]) as (url, _):
        asyncio.run(ask(url))


def test_answer_of_another_tier_is_an_error(tmp_path: Path) -> None:
    requests = [request_bytes("GET", "/journey/u1")] * 20
    with bare_route(tmp_path, "journey", [ROUTE]) as (url, pid):
        spent = asyncio.run(drive(url, pid, requests, "L1; hit"))
        assert spent.requests == 20
        with pytest.raises(WrongAnswer, match="L2; hit"):
            asyncio.run(drive(url, pid, requests, "L2; hit"))


def test_cpu_of_another_process_is_that_process_s_own() -> None:
    work = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ninput()"
    child = subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    assert 0.2 <= cpu_seconds(child.pid) < 1.0
    child.communicate(b"\n")
    assert cpu_seconds(os.getpid()) > 0


def test_ratio_is_the_median_of_the_rounds() -> None:
    def spent(*cpu: float) -> tuple[Spent, ...]:
        return tuple(Spent(requests=10, cpu_seconds=value, seconds=1.0) for value in cpu)

    measured = Measured(name="x", service=spent(2.0, 9.0, 6.0), bare=spent(2.0, 3.0, 3.0))
    assert measured.ratio == 2.0
    assert measured.name in table([measured])


@pytest.mark.parametrize("command", [main, spans.main])
@pytest.mark.parametrize("rounds", ["0", "many"])
def test_bad_number_of_rounds_is_a_usage_error(
    command: object, rounds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(command)
    assert command([rounds]) == 2
    assert "ROUNDS" in capsys.readouterr().err


def test_spans_are_measured_beside_what_any_timing_costs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    taken = spans.measure(Speeds(), rounds=1)
    assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in taken.values())
    assert spans.main(["1"]) == 0
    printed = capsys.readouterr().out
    for name in taken:
        assert name in printed
