"""Claims about the answers that errors get."""

from __future__ import annotations

import json

import pytest

from core.application.cache_entries import Unusable
from core.application.cdp import NotAccepted
from core.errors import InputError, Overloaded, Refused, StoreError, StoreTimeout
from core.service.problems import problem_of
from core.service.requests import BadRequest, BodyTooLarge


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (BodyTooLarge("why"), 413, "too_large", "why"),
        (Unusable("why"), 422, "unusable_data", "why"),
        (NotAccepted("why"), 403, "not_accepted", "why"),
        (BadRequest("why"), 400, "bad_request", "why"),
        (InputError("why"), 400, "bad_request", "why"),
        (StoreTimeout("why"), 504, "store_timeout", "why; try again later"),
        (Overloaded("why"), 503, "overloaded", "why"),
        (Refused("why"), 503, "store_error", "why; try again later"),
        (StoreError("why"), 503, "store_error", "why; try again later"),
    ],
)
def test_each_error_has_its_own_status_code_and_remedy(
    error: InputError | StoreError, status: int, code: str, message: str
) -> None:
    answered, body = problem_of(error)
    assert answered == status
    assert json.loads(body) == {"success": False, "error": {"code": code, "message": message}}


@pytest.mark.parametrize("error", [StoreTimeout("why"), Overloaded("why"), StoreError("why")])
def test_a_simulated_client_meets_the_status_that_the_service_answers(error: StoreError) -> None:
    assert problem_of(error)[0] == error.http_status
