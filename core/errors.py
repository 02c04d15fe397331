"""The errors that a user can mend; `main()` is the only place that catches them."""

from __future__ import annotations


class EdgeproofError(Exception):
    """Something from outside is wrong; the message names the value, the place and the remedy."""


class InputError(EdgeproofError):
    """A file, option or request body that cannot be used (exit code 2)."""


class StoreError(EdgeproofError):
    """A cache store or database did not do what it was asked."""


class StoreTimeout(StoreError):
    """A cache store or database did not answer within its time limit."""


class Overloaded(StoreError):
    """A database has as many queries waiting as it takes; none was begun for this one."""


class Refused(StoreError):
    """A database did not take a row: it breaks a rule of its table, or no column can hold it."""


class InvalidRun(EdgeproofError):
    """A run whose figures cannot be trusted (exit code 3)."""
