"""The layer in front of a database: statistics by statement, a log of slow queries, a cache of
rows, and bulk inserts."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.caching.invalidation_log import LOADED
from core.clock import Clock, epoch_ms
from core.errors import StoreError, StoreTimeout
from core.metrics.histogram import LatencyHistogram
from core.metrics.profiler import summarise
from core.query.cache import CacheRule, QueryCache
from core.query.database import Command, Database, Metered, Row
from core.query.limits import MAX_PARAMETERS
from core.query.statement import Statement, insertion

SLOW_SECONDS = 0.05
SLOW_KEPT = 100
_RETURNING = re.compile(r"\bRETURNING\b", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowQuery:
    """A slow operation: its statements, the time of its end, and the plans of its statements.

    reason: of its failure, "" if it succeeded.
    """

    names: tuple[str, ...]
    seconds: float
    ended_ms: int
    rows: int
    reason: str = ""
    plan: str = ""


Logged = tuple[SlowQuery, tuple[Statement, ...]]
"""A slow operation without its plans, and its statements."""


@dataclass(slots=True)
class StatementStatistics:
    """Times and row counts of one statement; the statements of a write share its time.

    rows_read and rows_written: as D1 counts and bills them. SQLite does not report them; there
    they are the rows returned and the rows changed, without the rows scanned on the way, and
    without the indexes of an insert and those of the columns that an update sets. Rows that a write
    returns count as written.
    """

    histogram: LatencyHistogram
    rows_read: int = 0
    rows_written: int = 0
    cache_hits: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return counts, and count, avg, p50, p95, p99 and max in milliseconds."""
        return summarise(self.histogram) | {
            "rows_read": self.rows_read,
            "rows_written": self.rows_written,
            "cache_hits": self.cache_hits,
        }


class QueryExecutor:
    """A database that records statistics of its operations.

    plans: the database that runs EXPLAIN QUERY PLAN, *database* itself if None. slow_seconds: the
    log keeps operations that take longer and operations that time out, the last *slow_kept* of
    them. cache: of rows, None for none; *rules* name the statements whose rows it may hold.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        plans: Database | None = None,
        slow_seconds: float = SLOW_SECONDS,
        slow_kept: int = SLOW_KEPT,
        cache: QueryCache | None = None,
        rules: Mapping[str, CacheRule] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._plans_from = database if plans is None else plans
        self._slow_seconds = slow_seconds
        self._slow: deque[Logged] = deque(maxlen=slow_kept)
        self._plans: dict[str, str] = {}
        self._cache = cache
        self._rules = rules or {}
        self._statistics: dict[str, StatementStatistics] = {}
        self._columns: dict[str, tuple[str, ...]] = {}
        self._is_metered = isinstance(database, Metered)
        if isinstance(database, Metered):
            database.on_usage = self._on_usage

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        """Return the rows of *statement*, from the cache if it holds them."""
        rule = None if self._cache is None else self._rules.get(statement.name)
        if rule is not None and self._cache is not None:
            return await self._read_through(self._cache, rule, statement, parameters)
        return await self._read(statement, parameters)

    async def _read_through(
        self, cache: QueryCache, rule: CacheRule, statement: Statement, parameters: Sequence[Any]
    ) -> list[Row]:
        query = (statement.name, *parameters)
        rows = cache.get(query, self._clock.now())
        if rows is not None:
            self._of(statement.name).cache_hits += 1
            return rows
        generation, loaded = cache.generation, LOADED.get()
        rows = await self._read(statement, parameters)
        if cache.generation == generation:
            cache.set(query, rule.key(parameters), rows, self._clock.now(), loaded=loaded)
        return rows

    async def _read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        started = self._clock.now()
        try:
            rows = await self._database.read(statement, parameters)
        except StoreError as error:
            self._account_failure((statement,), self._clock.now() - started, error)
            raise
        self._account((statement,), self._clock.now() - started, len(rows))
        if not self._is_metered:
            found = self._of(statement.name)
            if statement.writes and _RETURNING.search(statement.sql):
                found.rows_written += len(rows)
            else:
                found.rows_read += len(rows)
        return rows

    async def write(self, *commands: Command) -> list[int]:
        """Run *commands* in one transaction, all or none; return the rows that each changed."""
        started = self._clock.now()
        statements = tuple(statement for statement, _ in commands)
        try:
            changed = await self._database.write(*commands)
        except StoreError as error:
            self._account_failure(statements, self._clock.now() - started, error)
            raise
        self._account(statements, self._clock.now() - started, sum(changed))
        if not self._is_metered:
            for statement, number in zip(statements, changed, strict=True):
                self._of(statement.name).rows_written += number
        return changed

    async def insert_many(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> int:
        """Insert *rows* in one transaction and one operation, all or none; return their number.

        Each statement holds as many rows as D1's limit on bound parameters allows. Raise
        ValueError for a table or column that the schema lacks, and for a row of another length.
        """
        await self._check(table, columns)
        if any(len(row) != len(columns) for row in rows):
            raise ValueError(f"insert into {table}: a row has another length than {columns}")
        if not rows:
            return 0
        chunk = max(1, MAX_PARAMETERS // len(columns))
        whole = len(rows) // chunk * chunk
        commands: list[Command] = []
        if whole:
            chunks = [_flat(rows[start : start + chunk]) for start in range(0, whole, chunk)]
            commands.append((insertion(table, columns, chunk), chunks))
        if rest := rows[whole:]:
            commands.append((insertion(table, columns, len(rest)), [_flat(rest)]))
        return sum(await self.write(*commands))

    async def _check(self, table: str, columns: Sequence[str]) -> None:
        known = self._columns.get(table)
        if known is None:
            if not _IDENTIFIER.fullmatch(table):
                raise ValueError(f"{table[:60]!r} is not the name of a table")
            info = Statement("table_info", f'PRAGMA table_info("{table}")')
            known = tuple(row[1] for row in await self._database.read(info, ()))
            if not known:
                raise ValueError(f"the schema has no table {table}")
            self._columns[table] = known
        for column in columns:
            if column not in known:
                raise ValueError(f"the table {table} has no column {column[:60]!r}; it has "
                                 f"{', '.join(known)}")  # fmt: skip
        if not columns or len({*columns}) < len(columns):
            raise ValueError(f"insert into {table}: name each column once, and at least one")

    def invalidate(self, pattern: str) -> int:
        """Drop the cached rows that *pattern*, a key or one with `*`, reaches; return how many."""
        return 0 if self._cache is None else self._cache.invalidate(pattern)

    @property
    def statement_statistics(self) -> Mapping[str, StatementStatistics]:
        """The statistics so far, by the name of the statement."""
        return self._statistics

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Return the statistics so far as JSON data, by the name of the statement."""
        return {name: found.to_json() for name, found in self._statistics.items()}

    @property
    def slow_log(self) -> list[Logged]:
        """The slow operations, the latest last."""
        return [*self._slow]

    async def slow_queries(self) -> list[SlowQuery]:
        """Return the slow operations, the latest last, each with the plans of its statements."""
        return await self.explained(self.slow_log)

    async def explained(self, log: Sequence[Logged]) -> list[SlowQuery]:
        """Return the operations of *log*, from any process, with the plans of their statements."""
        found = []
        for slow, statements in log:
            plans = [await self._plan(statement) for statement in statements]
            found.append(replace(slow, plan="\n".join(plan for plan in plans if plan)))
        return found

    async def _plan(self, statement: Statement) -> str:
        plan = self._plans.get(statement.sql)
        if plan is None:
            explain = Statement(f"explain_{statement.name}", f"EXPLAIN QUERY PLAN {statement.sql}")
            nothing = [None] * statement.sql.count("?")
            try:
                rows = await self._plans_from.read(explain, nothing)
            except StoreError as error:
                return f"{statement.name}: no plan ({error})"
            plan = "\n".join(f"{statement.name}: {row[3]}" for row in rows)
            self._plans[statement.sql] = plan
        return plan

    async def close(self) -> None:
        """Finish the running operations and close the database."""
        await self._database.close()

    def _of(self, name: str) -> StatementStatistics:
        found = self._statistics.get(name)
        if found is None:
            found = self._statistics[name] = StatementStatistics(LatencyHistogram())
        return found

    def _on_usage(self, statement: Statement, rows_read: int, rows_written: int) -> None:
        found = self._of(statement.name)
        found.rows_read += rows_read
        found.rows_written += rows_written

    def _account(self, statements: tuple[Statement, ...], seconds: float, rows: int) -> None:
        for statement in statements:
            self._of(statement.name).histogram.record(seconds)
        if seconds > self._slow_seconds:
            self._keep(statements, seconds, rows=rows)

    def _account_failure(
        self, statements: tuple[Statement, ...], seconds: float, error: StoreError
    ) -> None:
        for statement in statements:
            self._of(statement.name).histogram.fail()
        if seconds > self._slow_seconds or isinstance(error, StoreTimeout):
            self._keep(statements, seconds, reason=str(error))

    def _keep(
        self, statements: tuple[Statement, ...], seconds: float, *, rows: int = 0, reason: str = ""
    ) -> None:
        slow = SlowQuery(
            names=tuple(statement.name for statement in statements),
            seconds=seconds,
            ended_ms=epoch_ms(self._clock),
            rows=rows,
            reason=reason,
        )
        self._slow.append((slow, statements))


def log_to_json(log: Sequence[Logged]) -> dict[str, Any]:
    """Return slow operations as JSON data, with the SQL of each statement once."""
    return {
        "operations": [(s.names, s.seconds, s.ended_ms, s.rows, s.reason) for s, _ in log],
        "sql": {one.name: one.sql for _, statements in log for one in statements},
    }


def log_from_json(data: Mapping[str, Any]) -> list[Logged]:
    """Return what `log_to_json` wrote."""
    known = {name: Statement(name, sql) for name, sql in data["sql"].items()}
    return [
        (
            SlowQuery(
                names=(*names,), seconds=seconds, ended_ms=ended_ms, rows=rows, reason=reason
            ),
            tuple(known[name] for name in names),
        )
        for names, seconds, ended_ms, rows, reason in data["operations"]
    ]


def _flat(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [value for row in rows for value in row]
