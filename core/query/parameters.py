"""SQL that keeps the types of parameters where every number is bound as a float, as D1 does."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

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


Kind = Literal["", "integer", "blob"]
"""What a parameter has to be made again: an integer that arrived as a float, bytes as a text."""

_FORMS: dict[Kind, str] = {"": "{}", "integer": "({}|0)", "blob": "CAST({} AS BLOB)"}


@lru_cache(maxsize=512)
def with_kinds(sql: str, kinds: tuple[Kind, ...]) -> str:
    """Return *sql* with `(?|0)` for each parameter that is an integer, and a CAST for each blob.

    D1 binds 5 as 5.0, which is "5.0" in a text column, and 2.5 when halved. `5.0|0` is the integer
    5, exact up to 2^53, and has no affinity, so a comparison and its index are those of a bound
    integer. CAST would give it one; CAST to BLOB gives none.
    """
    assigned = 0

    def replaced(found: re.Match[str]) -> str:
        nonlocal assigned
        if not found[0].startswith("?"):
            return found[0]
        number = int(found[1]) if found[1] else assigned + 1  # as SQLite numbers them
        assigned = max(assigned, number)
        kind = kinds[number - 1] if 0 < number <= len(kinds) else ""
        return _FORMS[kind].format(found[0])

    return _TOKEN.sub(replaced, sql)
