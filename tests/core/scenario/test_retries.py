"""Claims about clients that try again: their pauses, their budget, and what a file may say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.context import Purpose
from core.errors import InputError
from core.scenario.file import load_scenario, parse_scenario, scenario_data, scenario_hash
from core.scenario.retries import BUDGET_SECONDS, Retries, RetryBudget, Retrying, tries_again
from core.scenario.scenario import Scenario
from core.streams import Stream
from scenarios.catalogue import shipped


def scenario(**retries: Any) -> Scenario:
    data = {"name": "r", "duration": "5s", "traffic": {"retries": retries}}
    return parse_scenario(data, source="r.toml")


def policy(**fields: Any) -> Retries:
    return Retries.model_validate(fields)


def refusal(**retries: Any) -> str:
    with pytest.raises(InputError) as caught:
        scenario(**retries)
    return str(caught.value)


def test_delays_double_or_stay_and_jitter_only_shortens_them() -> None:
    doubling = policy(attempts=4, delay="100ms", jitter=0.0)
    assert [doubling.pause(attempt, 0.9) for attempt in (1, 2, 3)] == [0.1, 0.2, 0.4]
    constant = policy(attempts=4, delay="100ms", backoff="constant", jitter=0.5)
    pauses = [constant.pause(3, u) for u in (0.0, 0.5, 1.0)]
    assert pauses == pytest.approx([0.1, 0.075, 0.05])


def test_pauses_are_numbers_of_the_request_and_the_attempt_whatever_came_before() -> None:
    constant = policy(attempts=3, delay="1s", backoff="constant")
    first, second = (Retrying(constant, seed=7, replication=2) for _ in range(2))
    second.next(900, 2, 0.0, 1e9)
    asked = [(5, 1), (5, 2), (6, 1)]
    told = [first.next(index, attempt, 10.0, 1e9) for index, attempt in asked]
    assert told == [second.next(index, attempt, 10.0, 1e9) for index, attempt in asked]
    drawn = Stream(7, Purpose.RETRY_PAUSE, width=2, replication=2).rows(5, 2)
    assert told == [11.0 - drawn[0, 0], 11.0 - drawn[0, 1], 11.0 - drawn[1, 0]]


def test_no_attempt_is_beyond_the_number_or_begins_after_the_requests_time() -> None:
    clients = Retrying(policy(attempts=2, delay="1s", jitter=0.0), seed=1, replication=0)
    assert clients.next(0, 1, 3.0, 4.0) is None
    assert clients.next(0, 1, 3.0, 4.1) == 4.0
    assert clients.next(0, 2, 3.0, 9.0) is None
    assert clients.refused == []


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_no_span_of_a_budget_has_more_retries_than_its_share_of_the_requests(share: float) -> None:
    rng = np.random.default_rng(3)
    budget, requests, retries = RetryBudget(share), [], []
    for now in np.cumsum(rng.exponential(0.05, 4000)).tolist():
        if rng.random() < 0.3:
            requests.append(now)
            budget.note_request(now)
        elif budget.take(now):
            retries.append(now)
    for end in retries:
        since = end - BUDGET_SECONDS
        taken = sum(since < each <= end for each in retries)
        assert taken <= share * sum(since < each <= end for each in requests) + 1e-9
    # And it is used: retries were asked for more than twice as often.
    assert len(retries) == pytest.approx(min(share * len(requests), 2800), rel=0.05)


def test_a_budget_that_refuses_says_for_which_request() -> None:
    clients = Retrying(policy(attempts=2, budget="50%"), seed=1, replication=0)
    for now in (0.0, 0.1):
        clients.note_request(now)
    assert clients.next(0, 1, 0.2, 9.0) is not None
    assert clients.next(1, 1, 0.3, 9.0) is None
    assert clients.refused == [1]


def test_what_is_worth_trying_again() -> None:
    assert [tries_again(status) for status in (0, 429, 500, 503, 504)] == [True] * 5
    assert [tries_again(status) for status in (200, 301, 400, 404, 409)] == [False] * 5


def test_shares_and_times_are_read_as_people_write_them() -> None:
    found = scenario(attempts=3, timeout="1s", budget="10%").traffic.retries
    assert (found.timeout, found.budget) == (1.0, 0.1)
    assert scenario(attempts=3, budget=0.1).traffic.retries.budget == 0.1
    assert "traffic.retries.attempts is 0; it must be at least 1" in refusal(attempts=0)
    assert "traffic.retries.budget: '10 kg' is not a ratio" in refusal(attempts=2, budget="10 kg")
    assert "it must be at least 0" in refusal(attempts=2, budget=-0.1)
    assert "traffic.retries.timeout: 1 has no unit" in refusal(attempts=2, timeout=1)
    assert "traffic.retries.tries is not a known key" in refusal(tries=2)


def test_a_client_that_never_gives_up_before_the_request_has_failed_is_refused() -> None:
    assert refusal(attempts=2, timeout="10s") == (
        "r.toml: traffic.retries.timeout is 10s, and a request has failed after 10s (timeout) "
        "anyway; shorten it, or raise timeout"
    )


def test_without_retries_a_clients_limit_is_the_requests() -> None:
    assert set(scenario(timeout="2s").timeouts) == {2.0}
    assert set(scenario(timeout="2s", attempts=2).timeouts) == {10.0}
    assert set(scenario(timeout="2s", attempts=2).attempt_timeouts) == {2.0}


def test_fields_without_effect_are_refused_and_turning_retries_off_is_not() -> None:
    path = shipped()["retry-storm"]
    told: list[str] = []
    load_scenario(path, overrides=["traffic.retries.attempts=1"], on_notice=told.append)
    assert all("traffic.retries" in line for line in told)
    with pytest.raises(InputError, match=r"retries\.budget has no effect: traffic"):
        load_scenario(shipped()["baseline"], overrides=["traffic.retries.budget=10%"])


def test_a_scenario_without_retries_is_what_it_was() -> None:
    plain = Scenario(name="r")
    assert "retries" not in scenario_data(plain)["traffic"]
    assert scenario_hash(scenario(attempts=1)) == scenario_hash(scenario())
    assert scenario_hash(scenario(attempts=2)) != scenario_hash(scenario())


def test_every_attempt_has_a_row_of_its_own_that_tells_its_request() -> None:
    policy = Retries(attempts=3)
    rows = {(n, k): policy.row(n, k) for n in range(5) for k in (1, 2, 3)}
    assert len(set(rows.values())) == len(rows)
    assert all(policy.request(row) == n for (n, _), row in rows.items())
    assert Retries().request(7) == 7
