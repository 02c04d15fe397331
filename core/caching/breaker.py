"""The circuit breaker: after failures in a row it blocks a store for a while."""

from __future__ import annotations


class CircuitBreaker:
    """Closed until *failures* operations in a row have failed, then open for *open_for* seconds.

    After that one operation is let through; its success closes the breaker, its failure opens it
    for as long again (M. Nygard, "Release It!", 2007). *failures* 0 never opens.
    """

    __slots__ = ("_failures", "_open_for", "_retry_at", "in_a_row", "is_closed", "openings")

    def __init__(self, *, failures: int, open_for: float) -> None:
        if failures < 0 or open_for < 0:
            raise ValueError("failures and open_for are at least 0")
        self._failures = failures
        self._open_for = open_for
        self.in_a_row = 0
        self._retry_at = 0.0
        self.is_closed = True
        self.openings = 0

    def allows(self, now: float) -> bool:
        """Return whether an operation may be tried at *now*; the caller tries it after True."""
        if self.is_closed:
            return True
        if now < self._retry_at:
            return False
        # One probe; if its end is never reported, another one follows.
        self._retry_at = now + self._open_for
        return True

    def succeed(self) -> None:
        """An operation succeeded: close."""
        self.in_a_row = 0
        self.is_closed = True

    def fail(self, now: float) -> None:
        """An operation failed at *now*."""
        self.in_a_row += 1
        if self._failures and self.in_a_row >= self._failures:
            if self.is_closed:
                self.openings += 1
                self.is_closed = False
            self._retry_at = now + self._open_for
