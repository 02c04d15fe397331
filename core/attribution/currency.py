"""The currency of a table's amounts: one, because two make no sum."""

from __future__ import annotations

from collections.abc import Sequence

from core.attribution.names import is_absent
from core.errors import InputError

_NAMES = ("currency", "currency_code", "currencycode", "currency code")


class OneCurrency:
    """Sees that the rows of a table are in one currency, where a column of *names* tells it."""

    def __init__(self, names: Sequence[str]) -> None:
        plain = [name.strip().casefold() for name in names]
        self._at = next((at for at, name in enumerate(plain) if name in _NAMES), -1)
        self._first = self._where = ""

    @property
    def is_told(self) -> bool:
        """Whether a column tells the currency."""
        return self._at >= 0

    def see(self, where: str, row: Sequence[str]) -> None:
        """Take note of a row with an amount; InputError if its currency is another one."""
        code = row[self._at].strip().upper() if self._at < len(row) else ""
        if is_absent(code):
            return
        if not self._first:
            self._first, self._where = code, where
        elif code != self._first:
            raise InputError(
                f"{where}: currency is {code[:20]}, and {self._first[:20]} at {self._where}; "
                "amounts of two currencies make no sum: convert them, or give a file of each"
            )
