"""Claims about an L2 that goes away under load: nobody fails or waits long, and all is counted."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import httpx
import pytest

from core.scenario.scenario import Scenario
from core.wire import BYPASS, COLLAPSED, L2_HIT, READ_OUTCOMES
from scenarios.cache_status import tell
from scenarios.server_timing import parse_server_timing
from tests.conftest import find_program, start_redis, stop
from tests.core.service.serving import Tree, Visitor, neighbours, serving, small_scenario

LIMIT = 0.25
"""tiers.l2.timeout: how long a read waits for L2 at most."""
MARGIN = 1.0
"""By the service's own watch: for the load of one row, on a machine where other tests run."""
VISITORS_MARGIN = 5.0
"""By the visitors' watch: they share the machine with what they measure. Without the limit nobody
would be answered while Redis is silent, however long that lasts, so the margin may be wide."""
USERS = 50
WORKERS = 8
PHASE = 300
MAX_REQUESTS = 30_000


class Redis:
    """A redis-server of one's own, which keeps its port over restarts."""

    def __init__(self, folder: Path) -> None:
        self._program = find_program("redis-server", package="redis-server")
        self._folder = folder
        self._process, self.url = start_redis(self._program, folder)

    def kill(self) -> None:
        """End it at once; return when it has ended."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Start it anew, empty; return when it answers."""
        port = int(self.url.rpartition(":")[2].partition("/")[0])
        self._process, _ = start_redis(self._program, self._folder, at_port=port)

    def pause(self) -> None:
        """Let it live on without a word."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it speak again."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        self.resume()
        stop(self._process)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """Return a redis-server that the test may end and pause."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = Redis(folder)
    try:
        yield server
    finally:
        server.stop()


class Answer(NamedTuple):
    """One request: when it was sent and answered (seconds), how, and the service's own times."""

    sent: float
    received: float
    status: int
    outcome: int
    is_right: bool
    stages: dict[str, float]


class Load:
    """Journeys asked for by WORKERS visitors, each of whom asks on once answered."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._number = 0
        self._progress = asyncio.Event()
        self.is_over = False
        self.answers: list[Answer] = []

    async def ask(self, number: int) -> None:
        """Send request *number* and take down its answer."""
        user = f"u{number % USERS}"
        sent = monotonic()
        answer = await self._http.get(f"/journey/{user}")
        value = answer.headers.get("Cache-Status", "")
        told = tell(value, ["journey"], primary=0, tiers={"L1": "l1", "L2": "l2"}, width=1)
        (outcome,) = told.codes
        is_right = answer.status_code == 200 and answer.json()["user_id"] == user
        stages = dict(parse_server_timing(answer.headers["Server-Timing"]))
        self.answers.append(
            Answer(sent, monotonic(), answer.status_code, outcome, is_right, stages)
        )
        self._progress.set()

    async def work(self) -> None:
        """Ask until the load is over."""
        while not self.is_over and self._number < MAX_REQUESTS:
            self._number += 1
            await self.ask(self._number)
        self.is_over = True
        self._progress.set()

    async def answered(self, more: int) -> None:
        """Return once *more* requests have been answered."""
        target = len(self.answers) + more
        while len(self.answers) < target:
            assert not self.is_over, f"{MAX_REQUESTS} requests and still not there"
            self._progress.clear()
            await self._progress.wait()

    async def cache_is(self, hold: Callable[[Tree], bool]) -> None:
        """Return once the service's cache statistics *hold*, the load going on."""
        while True:
            answer = await self._http.get("/api/performance/cache-stats")
            if hold(answer.json()["data"]["cache"]):
                return
            await self.answered(20)


Story = Callable[[Load], Coroutine[Any, Any, None]]


def under_load(visitor: Visitor, story: Story) -> list[Answer]:
    """Let *story* happen while requests go on; return all of them, in the order of answers.

    Before it, every journey is read once, so that L2 holds it.
    """

    async def run() -> list[Answer]:
        async with httpx.AsyncClient(base_url=visitor.http.base_url, timeout=60.0) as http:
            load = Load(http)
            for number in range(USERS):
                await load.ask(number)
            # In a group, so that the story does not go on where a request has failed.
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(load.work())
                await story(load)
                load.is_over = True
            return load.answers

    return asyncio.run(run())


def without_l1(name: str, **tables: Any) -> Scenario:
    """Return a scenario in which every read asks L2, whose own time limit counts.

    Without pub/sub, as a gap in it keeps what is being loaded from L2: no count could be exact.
    """
    tiers = {
        "l1": {"scope": "request"},
        "l2": {
            "timeout": f"{LIMIT}s", "put": "background", "pubsub": False,
            "breaker": {"failures": 5, "open_for": "200ms"},
        },
    }  # fmt: skip
    return small_scenario(name, tiers=tiers, **tables)


@pytest.fixture
def bereft(tmp_path: Path, own_redis: Redis) -> Iterator[Visitor]:
    """Return a client of a service, without emulated latencies, on *own_redis*."""
    scenario = without_l1(tmp_path.name)
    with serving(scenario, tmp_path, redis=own_redis.url, emulate=False) as (visitor,):
        yield visitor


def is_closed(cache: Tree) -> bool:
    return bool(cache["l2"]["breaker"] == "closed")


def has_opened(cache: Tree) -> bool:
    return bool(cache["l2"]["breaker_openings"] > 0)


def assert_nobody_suffered(answers: list[Answer]) -> None:
    assert {answer.status for answer in answers} == {200}
    assert all(answer.is_right for answer in answers), "an answer was about somebody else"
    assert max(answer.stages["total"] for answer in answers) < LIMIT + MARGIN
    longest = max(answer.received - answer.sent for answer in answers)
    assert longest < LIMIT + VISITORS_MARGIN


def assert_all_is_counted(visitor: Visitor, answers: list[Answer]) -> None:
    """Compare the statistics with the answers' own word, and with one another."""

    def has_settled(cache: Tree) -> bool:  # values are put in the background
        counts, l2 = cache["by_type"]["user_journeys"], cache["l2"]
        unwritten = counts["miss"] - l2["writes"]
        return bool(counts["bypass"] == l2["errors"] + l2["skipped"] - unwritten)

    cache = visitor.await_cache(has_settled)
    said = Counter(READ_OUTCOMES[answer.outcome] for answer in answers)
    counts = cache["by_type"]["user_journeys"]
    assert {name: counts[name] for name in READ_OUTCOMES[1:]} == {
        name: said[name] for name in READ_OUTCOMES[1:]
    }
    assert cache["reads"] == len(answers)
    l2, loads = cache["l2"], cache["loads"]
    assert l2["reads"] == counts["l2"] + counts["miss"] + l2["errors"]
    assert loads["started"] == counts["miss"] + counts["bypass"]
    assert (loads["failed"], l2["corrupt"], l2["refused"]) == (0, 0, 0)
    assert cache["l1_ratio"] + cache["l2_ratio"] + cache["miss_ratio"] == pytest.approx(1.0)


def hit_ratio(answers: list[Answer]) -> float:
    return sum(answer.outcome == L2_HIT for answer in answers) / len(answers)


def outcomes_between(answers: list[Answer], start: float, end: float) -> set[int]:
    """Return how the reads ended that were sent and answered between two times."""
    return {a.outcome for a in answers if a.sent > start and a.received < end}


def test_nobody_suffers_while_redis_is_killed_and_restarted(
    own_redis: Redis, bereft: Visitor
) -> None:
    times: dict[str, float] = {}
    marks: dict[str, int] = {}

    async def story(load: Load) -> None:
        await load.answered(PHASE)
        marks["before"] = len(load.answers)
        own_redis.kill()
        times["killed"] = monotonic()
        await load.cache_is(has_opened)
        await load.answered(PHASE)
        times["restarted"] = monotonic()
        await asyncio.to_thread(own_redis.restart)
        await load.cache_is(is_closed)
        await load.answered(2 * PHASE)

    answers = under_load(bereft, story)
    assert_nobody_suffered(answers)
    # An outage is no cold cache: its reads are errors, not misses.
    down = outcomes_between(answers, times["killed"], times["restarted"])
    assert BYPASS in down <= {BYPASS, COLLAPSED}
    # The new Redis is empty, and full again after every key's first read.
    assert hit_ratio(answers[USERS : marks["before"]]) > 0.95
    assert hit_ratio(answers[-PHASE:]) > 0.95
    assert_all_is_counted(bereft, answers)
    l2 = bereft.cache()["l2"]
    assert l2["breaker"] == "closed"
    assert l2["breaker_openings"] >= 1
    assert l2["errors"] >= 5
    assert l2["skipped"] > l2["errors"]  # most reads did not even try


def test_nobody_suffers_while_redis_is_silent(own_redis: Redis, bereft: Visitor) -> None:
    times: dict[str, float] = {}
    marks: dict[str, int] = {}

    async def story(load: Load) -> None:
        await load.answered(PHASE)
        marks["before"] = len(load.answers)
        own_redis.pause()
        times["paused"] = monotonic()
        await load.cache_is(has_opened)
        await load.answered(PHASE)
        times["resumed"] = monotonic()
        own_redis.resume()
        await load.cache_is(is_closed)
        marks["closed"] = len(load.answers)
        await load.answered(PHASE)

    answers = under_load(bereft, story)
    assert_nobody_suffered(answers)
    down = outcomes_between(answers, times["paused"], times["resumed"])
    # SIGSTOP takes effect a moment after it was sent.
    assert BYPASS in down <= {BYPASS, COLLAPSED, L2_HIT}
    waited = [a for a in answers if a.outcome == BYPASS and a.stages["l2"] >= LIMIT]
    assert waited, "nobody met the time limit, so nothing was silent"
    # It has kept what it held.
    assert hit_ratio(answers[USERS : marks["before"]]) > 0.95
    assert hit_ratio(answers[-PHASE:]) > 0.95
    assert_all_is_counted(bereft, answers)
    l2 = bereft.cache()["l2"]
    assert (l2["breaker"], l2["writes"]) == ("closed", USERS)
    assert l2["breaker_openings"] >= 1
    assert l2["skipped"] > l2["errors"] >= 5


def test_service_without_a_breaker_still_answers_within_the_limit(
    tmp_path: Path, own_redis: Redis
) -> None:
    scenario = without_l1("patient").model_dump(mode="json")
    scenario["tiers"]["l2"]["breaker"]["failures"] = 0
    patient = Scenario.model_validate(scenario)
    with serving(patient, tmp_path, redis=own_redis.url, emulate=False) as (visitor,):

        async def story(load: Load) -> None:
            await load.answered(PHASE)
            own_redis.pause()
            await load.answered(4 * WORKERS)  # each worker waits out the limit a few times
            own_redis.resume()
            await load.answered(PHASE)

        answers = under_load(visitor, story)
        assert_nobody_suffered(answers)
        assert hit_ratio(answers[-PHASE // 2 :]) > 0.95
        assert_all_is_counted(visitor, answers)
        l2 = visitor.cache()["l2"]
        assert l2["errors"] >= WORKERS
        assert (l2["skipped"], l2["breaker_openings"]) == (0, 0)


def test_invalidation_is_heard_again_after_the_restart(tmp_path: Path, own_redis: Redis) -> None:
    # Two services, which know of one another by the pub/sub alone.
    scenario = small_scenario("reunited", topology={"isolates": 1})
    with neighbours(scenario, tmp_path, redis=own_redis.url) as (first, second):
        for visitor in (first, second):
            visitor.get("/journey/u1")
        own_redis.kill()
        answer = first.command("cache-invalidate", {"keys": ["journey:u1"]})
        assert answer.status_code == 503
        assert first.cache()["invalidation"]["not_sent"] == 1
        assert second.get("/journey/u1").headers["Cache-Status"].startswith("L1; hit")
        own_redis.restart()
        for visitor in (first, second):  # what it missed meanwhile: everything, for all it knows
            visitor.await_cache(lambda now: now["invalidation"]["gaps"] >= 1)
        assert not second.get("/journey/u1").headers["Cache-Status"].startswith("L1; hit")
        before = second.cache()["invalidation"]["received"]
        first.invalidate(keys=["journey:u1"])
        second.await_cache(lambda now: now["invalidation"]["received"] == before + 1)


def test_service_that_started_without_its_redis_hears_once_it_is_there(
    tmp_path: Path, own_redis: Redis
) -> None:
    own_redis.kill()
    # Two services, which know of one another by the pub/sub alone.
    scenario = small_scenario("early", topology={"isolates": 1})
    with neighbours(scenario, tmp_path, redis=own_redis.url) as (first, second):
        assert first.get("/journey/u1").status_code == 200
        own_redis.restart()
        for visitor in (first, second):
            visitor.await_cache(lambda now: now["invalidation"]["gaps"] == 1)
        second.get("/journey/u2")
        first.invalidate(prefix="journey:")
        second.await_cache(lambda now: now["invalidation"]["received"] == 1)
        assert second.cache()["l1"]["entries"] == 0
