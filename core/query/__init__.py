"""The database: SQLite or D1, its queries, and a cache of their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doors import front_door

if TYPE_CHECKING:
    from core.query.cache import QueryCache
    from core.query.database import Database, SqliteDatabase
    from core.query.queries import Queries
else:  # mypy would take any name for one that this offers
    __getattr__, __dir__ = front_door(
        __name__,
        {
            "QueryCache": "cache",
            "Database": "database",
            "SqliteDatabase": "database",
            "Queries": "queries",
        },
    )

__all__ = ["Database", "Queries", "QueryCache", "SqliteDatabase"]
