"""What an error is answered with: its status, its code and its remedy, in one place."""

from __future__ import annotations

from core.application.cache_entries import Unusable
from core.application.cdp import NotAccepted
from core.errors import EdgeproofError, InputError, Overloaded, StoreError, StoreTimeout
from core.service.requests import BodyTooLarge
from core.service.responses import Answer, problem

_LATER = "; try again later"
# The first row whose type an error has; a more special type stands before its base.
_PROBLEMS: tuple[tuple[type[EdgeproofError], int, str, str], ...] = (
    (BodyTooLarge, 413, "too_large", ""),
    (Unusable, 422, "unusable_data", ""),
    (NotAccepted, 403, "not_accepted", ""),
    (InputError, 400, "bad_request", ""),
    (StoreTimeout, StoreTimeout.http_status, "store_timeout", _LATER),
    (Overloaded, Overloaded.http_status, "overloaded", ""),  # it says when to come again
    (StoreError, StoreError.http_status, "store_error", _LATER),
)

CODES = {401: "not_authorised", 403: "not_allowed", 404: "not_found", 405: "method_not_allowed"}
"""Of what the HTTP layer refuses before an endpoint sees it."""


def problem_of(error: InputError | StoreError) -> Answer:
    """Return what a request is answered with that met *error*."""
    for kind, status, code, remedy in _PROBLEMS:
        if isinstance(error, kind):
            return problem(status, code, f"{error}{remedy}")
    raise TypeError(f"{type(error).__name__} is no error that a request meets")


def store_failed(message: str) -> Answer:
    """Return the problem of a store's failure in the words of *message*, remedy included."""
    return problem(StoreError.http_status, "store_error", message)
