"""Claims about tokens over several loads, through real Locust processes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scenarios.crew import Crew
from scenarios.driver import run_load
from scenarios.plan import LoadPlan
from scenarios.result import LoadResult
from scenarios.tokens import Tokens
from tests.scenarios.commands import counting, left_of
from tests.scenarios.conftest import StartServer
from tests.scenarios.loads import small_plan, small_scenario

HEADERS = {"Authorization": "Bearer ${TOKEN}"}


def plan_of(port: int) -> LoadPlan:
    names = ("track", "attribution", "journey", "channels")
    scenario = small_scenario(endpoints={name: {"headers": HEADERS} for name in names})
    url = f"http://127.0.0.1:{port}"
    return small_plan(scenario, [url], renews=True, preflight=False, keep_going=True)


def refused(result: LoadResult) -> int:
    """Return how many requests of *result* were answered 401."""
    return int(np.count_nonzero(result.rows.status == 401))


def test_token_refused_at_the_end_of_a_load_is_not_sent_by_the_next_one(
    start_server: StartServer, tmp_path: Path
) -> None:
    plan = plan_of(start_server("rotating"))
    tokens = counting(tmp_path)
    tokens.fetch()
    assert refused(run_load(plan, tmp_path / "first", tokens=tokens)) > 0
    assert tokens.values == {"TOKEN": "1"}  # sooner than 10 s after it was fetched
    assert refused(run_load(plan, tmp_path / "second", tokens=tokens)) == 0
    assert tokens.values == {"TOKEN": "2"}


def test_stopped_load_leaves_no_token_command_behind(
    start_server: StartServer, tmp_path: Path
) -> None:
    plan = plan_of(start_server("status401"))
    pids = tmp_path / "pids"
    words = ["sh", "-c", f"sleep 600 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"]
    tokens = Tokens({"TOKEN": words})
    tokens.values = {"TOKEN": "1"}
    tokens._tried_at -= 60.0
    stop = threading.Event()

    def look(_: Mapping[str, Any]) -> None:
        if pids.exists():
            stop.set()

    result = run_load(plan, tmp_path / "load", tokens=tokens, on_progress=look, stop=stop)
    assert refused(result) > 0
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2
    assert left_of(started) == []


def test_process_started_after_a_renewal_has_the_new_token(tmp_path: Path) -> None:
    crew = Crew([sys.executable, "-c", "import os; print(os.environ['TOKEN'])"], {"TOKEN": "1"})
    crew.renew({"TOKEN": "2"})
    member = crew.start(tmp_path, listens=False)
    assert member.process.stdout is not None
    printed = member.process.stdout.read()
    crew.end()
    assert printed == b"2\n"
