"""D1's limits on statements and values, as limits of SQLite.

The documented limits: developers.cloudflare.com/d1/platform/limits. The others are set in workerd
(src/workerd/util/sqlite.c++) and were seen in workerd 1.20261117.1; docs/platform.md lists them.
"""

from __future__ import annotations

import sqlite3

MAX_PARAMETERS = 100
"""Bound parameters of one statement."""

MAX_STATEMENT_BYTES = 100_000

MAX_VALUE_BYTES = 2_000_000
"""Bytes of a text, a blob or a row."""

MAX_RESULT_BYTES = 50_000_000
"""Bytes of the answer to one call; documented."""

MAX_TERMS = 5
"""Terms of one compound SELECT; a subquery counts anew."""

LIMITS = (
    (sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
    (sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT_BYTES),
    (sqlite3.SQLITE_LIMIT_COLUMN, 100),
    (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 100),
    (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, MAX_TERMS),
    (sqlite3.SQLITE_LIMIT_VDBE_OP, 25_000),
    (sqlite3.SQLITE_LIMIT_FUNCTION_ARG, 32),
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
    (sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, MAX_PARAMETERS),
    (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 10),
)
"""SQLite's limit categories, which have the same numbers in every driver, and D1's limits."""


def limit(connection: sqlite3.Connection) -> None:
    """Apply the limits of D1 to *connection*.

    A schema beyond the limits can no longer be read afterwards: migrate first.
    """
    for category, most in LIMITS:
        connection.setlimit(category, most)
