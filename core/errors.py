"""The errors that a user can mend; `main()` is the only place that catches them."""

from __future__ import annotations

from typing import ClassVar


class EdgeproofError(Exception):
    """Something from outside is wrong; the message names the value, the place and the remedy."""


class InputError(EdgeproofError):
    """A file, option or request body that cannot be used (exit code 2)."""


class StoreError(EdgeproofError):
    """A cache store or database did not do what it was asked."""

    http_status: ClassVar[int] = 503
    """What the service answers, and what a simulated client therefore meets."""


class StoreTimeout(StoreError):
    """A cache store or database did not answer within its time limit."""

    http_status = 504


class Overloaded(StoreError):
    """A database has as many queries waiting as it takes; none was begun for this one."""


class Refused(StoreError):
    """A database did not take a row: it breaks a rule of its table, or no column can hold it."""


class InvalidRun(EdgeproofError):
    """A run whose figures cannot be trusted (exit code 3)."""
