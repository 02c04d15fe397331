"""Rows that D1 reads and writes, by statement and operation: `python -m bench.d1_rows`.

D1's own engine runs every statement of the product with parameters, and counts. --write puts the
figures into core/query/row_counts.json, --check compares them with that file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import core.query
from bench.platform.comparison import Pair, Used, compared_on
from bench.platform.known import STATEMENTS
from bench.platform.operations import Shop, purchase_of, touches_of
from bench.platform.runtime import Runtime, migrate, running
from core.attribution.parameters import Parameters
from core.delivery.forwarder import Forwarder
from core.delivery.receiver import AcceptingReceiver
from core.errors import EdgeproofError
from core.event import Event
from core.metrics.profiler import LatencyProfiler
from core.query.d1 import D1Database
from core.query.row_counts import FILE, line_through
from core.query.statement import Statement
from core.scenario.destination import Destination
from scenarios.node import Node, find_node

_QUEUED = Statement(
    "queued",
    "INSERT INTO conversion_queue (conversion_id, enqueued_at_ms, available_at_ms)"
    " SELECT 'queued-' || value, 1, 1 FROM json_each(?)",
)
PATH = Path(core.query.__path__[0], FILE)


class Meter:
    """The statements and rows that D1 counts between two looks."""

    def __init__(self, database: D1Database) -> None:
        self.found: dict[str, dict[str, int]] = {}
        self._counts = [0, 0, 0]
        database.on_usage = self._note

    def _note(self, _: Statement, rows_read: int, rows_written: int) -> None:
        for place, number in enumerate((1, rows_read, rows_written)):
            self._counts[place] += number

    async def measure(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        """Run *operation*, keep its counts under *name*, and return its result."""
        self._counts = [0, 0, 0]
        result = await operation()
        names = ("statements", "rows_read", "rows_written")
        self.found[name] = dict(zip(names, self._counts, strict=True))
        return result


async def operation_rows(database: D1Database) -> dict[str, dict[str, int]]:
    """Return what operations on the empty *database* cost, by name."""
    meter, shop = Meter(database), Shop(database)
    queries, backlog = shop.queries, shop.backlog

    async def tracked(*events: Event) -> None:
        await asyncio.gather(*(queries.insert_event(event, "new") for event in events))

    touch, *_, campaign = touches_of(0)
    await meter.measure("a touch", lambda: queries.insert_event(touch, "new"))
    await meter.measure("a touch of a campaign", lambda: queries.insert_event(campaign, "new"))
    await meter.measure("a duplicate", lambda: queries.insert_event(touch, "new"))
    await meter.measure("a conversion", lambda: queries.insert_event(purchase_of(0), "new"))
    forwarder = Forwarder(
        Destination(), shop.outbox, AcceptingReceiver(), shop.clock, LatencyProfiler()
    )
    first = 1
    for size, sent in ((1, None), (10, None), (50, None), (50, forwarder)):
        users = range(first, first + size)
        first += size
        for user in users:
            await tracked(*touches_of(user, count=5), purchase_of(user))
        ids = [f"c{user}" for user in users]
        what = f"results of {size}" + (", forwarded" if sent else "")
        await meter.measure(what, partial(shop.process, ids, Parameters(), sent))
    await forwarder.drain()
    await forwarder.close(within=1.0)
    for count in (5, 20, 100):
        await tracked(*touches_of(first, count=count), purchase_of(first))
        name, conversion = f"u{first}", f"c{first}"
        first += 1
        await meter.measure(
            f"the events of a user with {count}", partial(queries.user_journey, name)
        )
        await meter.measure(
            f"the journey of {count} touches", partial(queries.conversion_journey, conversion)
        )
    await meter.measure("5 channels", lambda: queries.channel_performance("linear"))
    await tracked(*map(purchase_of, range(first, first + 50)))
    await meter.measure("status of 54 waiting", backlog.status)
    await meter.measure("number of dead letters", backlog.dead)
    taken = await meter.measure("taking 50", lambda: backlog.take(50))
    await meter.measure("renewing 50", lambda: backlog.renew([name for name, _ in taken]))
    await database.write((_QUEUED, [(json.dumps([*range(1_100)]),)]))
    await meter.measure("status of 1,100 waiting", backlog.status)
    return meter.found


def statement_rows(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return the figures of each named statement that *pairs* ran."""
    executions: dict[str, list[Used]] = defaultdict(list)
    for pair in pairs:
        for both in pair.compared:
            for used in both.used:
                executions[used.statement.name].append(used)
    found = {}
    for name in sorted(executions.keys() & STATEMENTS.keys()):
        seen = sorted(
            {(u.returned or u.changed, u.rows_read, u.rows_written) for u in executions[name]}
        )
        found[name] = {
            "read": asdict(line_through([(rows, read) for rows, read, _ in seen])),
            "written": asdict(line_through([(rows, written) for rows, _, written in seen])),
            "seen": seen,
        }
    return found


async def measured_on(runtime: Runtime, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return all figures: of statements as *pairs* ran them, of operations on a new database."""
    database = runtime.open(runtime.next_id())
    try:
        await migrate(database)
        operations = await operation_rows(database)
    finally:
        await database.close()
    return {"statements": statement_rows(pairs), "operations": operations}


def measured(node: Node) -> dict[str, Any]:
    """Return all figures, measured on a runtime that is started for them."""

    async def measure(runtime: Runtime) -> dict[str, Any]:
        pairs = await compared_on(runtime)
        try:
            return await measured_on(runtime, pairs)
        finally:
            for pair in pairs:
                await pair.close()

    with running(node) as runtime:
        return asyncio.run(measure(runtime))


def differences(committed: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return one line for each statement or operation whose figures differ."""
    lines = []
    for part in ("statements", "operations"):
        before, now = committed[part], json.loads(json.dumps(found[part]))
        lines += [
            f"{name}: {_brief(before.get(name))} in {FILE}, {_brief(now.get(name))} measured"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
        ]
    return lines


def _brief(figures: Any) -> str:
    return "nothing" if figures is None else json.dumps(figures)


def main() -> int:
    """Measure, and print, write or compare the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.d1_rows", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"replace core/query/{FILE}")
    parser.add_argument("--check", action="store_true", help="exit 1 if the file says otherwise")
    arguments = parser.parse_args()
    try:
        node = find_node()
        found = measured(node)
    except EdgeproofError as error:
        print(f"bench.d1_rows: {error}", file=sys.stderr)
        return 2
    document = {
        "measured": datetime.now(UTC).date().isoformat(),
        "versions": dict(node.versions),
        **found,
    }
    if arguments.check:
        lines = differences(json.loads(PATH.read_text(encoding="utf-8")), found)
        print("\n".join(lines) or f"{FILE} says what was measured")
        return 1 if lines else 0
    if arguments.write:
        PATH.write_text(_text(document), encoding="utf-8")
        print(f"wrote {PATH}")
        return 0
    print(_text(document), end="")
    return 0


def _text(document: dict[str, Any]) -> str:
    """Return JSON with one statement or operation a line."""
    head = {name: value for name, value in document.items() if not isinstance(value, dict)}
    parts = [f'  "{name}": {json.dumps(value)}' for name, value in head.items()]
    for name in ("versions", "operations", "statements"):
        rows = [f'    "{key}": {json.dumps(value)}' for key, value in document[name].items()]
        parts.append(f'  "{name}": {{\n' + ",\n".join(rows) + "\n  }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    sys.exit(main())
