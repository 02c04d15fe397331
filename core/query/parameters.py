"""SQL that keeps integers integers where every number is bound as a float, as D1 does."""

from __future__ import annotations

import re
from functools import lru_cache

_TOKEN = re.compile(
    r"'(?:[^']|'')*'"
    r'|"(?:[^"]|"")*"'
    r"|`(?:[^`]|``)*`"
    r"|\[[^\]]*\]"
    r"|--[^\n]*"
    r"|/\*.*?(?:\*/|\Z)"
    r"|\?(\d*)",
    re.DOTALL,
)
"""What may hold a question mark that is no parameter, and parameters."""


@lru_cache(maxsize=512)
def with_integers(sql: str, integers: tuple[bool, ...]) -> str:
    """Return *sql* with `(?|0)` in place of each parameter that *integers* marks.

    D1 binds 5 as 5.0, which is "5.0" in a text column, and 2.5 when halved. `5.0|0` is the integer
    5, exact up to 2^53, and has no affinity, so a comparison and its index are those of a bound
    integer. CAST would have one. A parameter that is given as NULL stays NULL.
    """
    assigned = 0

    def replaced(found: re.Match[str]) -> str:
        nonlocal assigned
        if not found[0].startswith("?"):
            return found[0]
        number = int(found[1]) if found[1] else assigned + 1  # as SQLite numbers them
        assigned = max(assigned, number)
        is_integer = 0 < number <= len(integers) and integers[number - 1]
        return f"({found[0]}|0)" if is_integer else found[0]

    return _TOKEN.sub(replaced, sql)
