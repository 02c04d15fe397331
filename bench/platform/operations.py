"""Operations of the product, small and repeatable, which run every statement that it has.

`of_service` asks a database through its protocol, as a service does. `of_file` also asks a
connection to a file, as `attribute --db` and a service's start do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from core.application.seeding import seed_database, seed_sites
from core.attribution.parameters import Parameters
from core.attribution.scheme import Scheme
from core.clock import DATA_EPOCH_MS, ManualClock, epoch_ms
from core.context import Span
from core.delivery.backlog import Backlog
from core.delivery.forwarder import Forwarder
from core.delivery.outbox import Outbox
from core.delivery.receiver import AcceptingReceiver
from core.errors import Refused
from core.event import Campaign, Event
from core.ledger.bulk_store import store_waiting
from core.ledger.path_reader import events_at_most, read_paths, user_ranges
from core.ledger.processor import BatchAttributionProcessor
from core.ledger.provenance import database_notices, has_own_events
from core.ledger.recount import recount, repair, restate, share_out_anew, uneven
from core.ledger.sample import fit_newest
from core.metrics.profiler import LatencyProfiler
from core.query import queue_statements, statements
from core.query.database import Database
from core.query.executor import QueryExecutor
from core.query.queries import Lease, Queries
from core.query.statement import whole_table
from core.scenario.attribution import Attribution
from core.scenario.destination import Destination
from core.scenario.population import Population

CHANNELS = ("email", "google", "(direct)", "bing", "affiliate")
USERS = 18
_DAY_MS = 86_400_000
_MILESTONES = Parameters(milestones=("signup", "demo"))
_OWN = Parameters(own_event=True)
_FITTED = Attribution(fit_every=1, min_conversions=1)


class Shop:
    """The parts of a service over *database*, on a clock that operations move."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock(1_000.0)
        self.queries = self.queries_with(Parameters())
        self.backlog = self.backlog_of("a")
        self.outbox = Outbox(database, self.clock, owner="a")

    def queries_with(self, parameters: Parameters, lease: Lease | None = None) -> Queries:
        """Return queries under *parameters*."""
        return Queries(
            self.database, self.clock, LatencyProfiler(), lease=lease, parameters=parameters
        )

    def backlog_of(self, owner: str) -> Backlog:
        """Return the queue as *owner* sees it."""
        return Backlog(self.database, self.clock, owner=owner)

    async def process(
        self, ids: Sequence[str], parameters: Parameters, forwarder: Forwarder | None = None
    ) -> dict[str, str]:
        """Attribute a batch under *parameters*; return the refused ones with reasons."""
        scheme = Scheme(parameters)
        processor = BatchAttributionProcessor(
            self.queries_with(parameters), now_ms=lambda: epoch_ms(self.clock),
            in_force=lambda _: scheme, forwarder=forwarder,
        )  # fmt: skip
        return await processor.process(Span(is_batch=True), ids)


def touches_of(user: int, *, first: int = 0, count: int = 4) -> list[Event]:
    """Return touches of a user over the channels; every fourth has a campaign."""
    names = ("page_view", "signup", "demo")
    return [
        Event(
            f"e{user}-{at}", f"u{user}", "s0", names[at % 3],
            DATA_EPOCH_MS - 5 * _DAY_MS + 3_600_000 * at, CHANNELS[(user + at) % 5], None, None,
            Campaign("cpc", "spring", None, "a") if at % 4 == 3 else None,
        )
        for at in range(first, first + count)
    ]  # fmt: skip


def purchase_of(user: int, name: str = "", *, after: int = 0, value: float | None = None) -> Event:
    """Return a conversion of a user, *after* milliseconds after the data's epoch."""
    return Event(
        f"e-c{user}{name}", f"u{user}", "s0", "purchase", DATA_EPOCH_MS + after, "email",
        f"c{user}{name}", 10.0 * user if value is None else value,
    )  # fmt: skip


async def of_service(database: Database) -> None:
    """Run what a service asks of its database, its consumer, its forwarder and its operators."""
    shop = Shop(database)
    await _filled(shop)
    await _read(shop)
    await _queued(shop)
    await _attributed(shop)
    await _forwarded(shop)
    await _modelled(shop)
    await _inspected(shop)


async def _filled(shop: Shop) -> None:
    queries = shop.queries
    await shop.database.write(
        (statements.INSERT_SITE, [("s0", 1, 65_536), ("s1", 0, 1)]),
        (statements.INSERT_USER, [(f"u{user}", "new", "{}") for user in range(USERS)]),
    )
    leased = shop.queries_with(Parameters(), Lease("a", 30.0))
    for user in range(USERS):
        for event in (*touches_of(user), purchase_of(user)):
            await (leased if user % 3 == 0 else queries).insert_event(event, "new")
    for again in (touches_of(0)[0], touches_of(0)[3], purchase_of(0)):  # duplicates
        await queries.insert_event(again, "new")
    await queries.insert_event(purchase_of(USERS), "new")  # a conversion without a touch
    for user in range(5):
        await queries.insert_event(purchase_of(user, "b", after=_DAY_MS), "new")


async def _read(shop: Shop) -> None:
    queries = shop.queries
    for site in ("s0", "nowhere"):
        await queries.site(site)
        await queries.read(statements.STATED_QUERY, site)
        await queries.write(statements.STATED_WRITE, site)
    for user in ("u0", "u1", "nobody"):
        await queries.user(user)
        await queries.user_journey(user)
        await queries.user_journey(user, limit=2)
    for parameters in (Parameters(), _MILESTONES, _OWN):
        asked = shop.queries_with(parameters)
        for conversion in ("c0", "c0b", f"c{USERS}", "none"):
            await asked.conversion_journey(conversion)
    await shop.database.read(statements.SITE_IDS, ())
    await shop.database.read(statements.IS_FILLED, ())
    await shop.database.read(statements.HAS_TABLE, ("sites",))
    await shop.database.read(whole_table("sites", ("site_id", "enabled")), ())
    executor = QueryExecutor(shop.database, shop.clock)
    rows = [(f"m{number}", "new", "") for number in range(40)]
    await executor.insert_many("users", ("user_id", "segment", "profile"), rows)


async def _queued(shop: Shop) -> None:
    backlog, other = shop.backlog, shop.backlog_of("b")
    await backlog.status()
    await shop.database.read(queue_statements.QUEUE_DEPTH, ())
    taken = [name for name, _ in await backlog.take(12)]
    until = epoch_ms(shop.clock) + round(1000 * backlog.lease.seconds)
    await shop.database.read(queue_statements.QUEUE_CLAIMED, (until, "a"))
    await shop.database.write(  # a row that was gone before it was claimed
        (queue_statements.claim_queued(1), [('["gone"]', until, "a", 0)]),
        (queue_statements.QUEUE_UNCLAIM, [()]),
    )
    await backlog.renew(taken)
    await other.renew(taken)  # none: they are another's
    await backlog.record_failure(taken[:4], "away", retry_in=5.0)
    await backlog.release(taken[4:8], due_in=0.0)
    await backlog.dead_letter(taken[8:10], "odd")
    await backlog.dead_letter(taken[8:10], "odd")  # again, which moves none
    await backlog.dead_letter_spent([taken[0], taken[10]], attempts=3)
    await backlog.status()
    await backlog.dead_letters()
    await backlog.dead()
    await backlog.revive([taken[8], "unknown"])
    await backlog.break_leases()
    await backlog.status()
    for reason in ("odd", "odder"):
        await shop.database.write(
            (queue_statements.REJECT, [(reason, epoch_ms(shop.clock), taken[11])])
        )
    await backlog.revive([taken[0], taken[9], taken[10], taken[11]])


async def _attributed(shop: Shop) -> None:
    shop.clock.advance(60.0)
    taken = [name for name, _ in await shop.backlog.take(50)]
    await shop.process(taken[:9], Parameters())
    await shop.process(taken[:3], Parameters())  # delivered again
    await shop.process(taken[9:11], _MILESTONES)
    await shop.process(taken[11:13], _OWN)
    await shop.process(taken[13:14], Parameters())  # alone
    for model in ("last_click", "u_shape"):
        await shop.queries.channel_performance(model)
    await shop.queries.channel_performance("linear", 2)


async def _forwarded(shop: Shop) -> None:
    outbox = shop.outbox
    forwarder = Forwarder(Destination(), outbox, AcceptingReceiver(), shop.clock, LatencyProfiler())
    await shop.process(["c4b", "c9"], Parameters(), forwarder)
    await forwarder.drain()
    await forwarder.close(within=1.0)
    now = epoch_ms(shop.clock)
    for held in (0, 2):
        rows = [(f"c{user}", "{}") for user in range(3, 9)]
        await shop.database.write(outbox.entries(rows, held=held))
    await outbox.status()
    await outbox.next_at_ms()
    await outbox.take(2)
    until = epoch_ms(shop.clock) + round(1000 * outbox.lease.seconds)
    await shop.database.read(queue_statements.OUTBOX_CLAIMED, (until, "a"))
    await shop.database.write(
        (queue_statements.claim_deliveries(1), [('["gone"]', until, "a", 0)]),
        (queue_statements.OUTBOX_UNCLAIM, [()]),
    )
    await outbox.break_leases()
    taken = [each.conversion_id for each in await outbox.take(8, due_ms=now)]
    await outbox.put_off([(taken[0], 3.0)], "away")
    await outbox.release(taken[1:2])
    await outbox.dead_letter(taken[2:4], "refused")
    await outbox.status()
    await outbox.dead_letters()
    await outbox.dead()
    await outbox.revive([taken[2], "unknown"])
    await outbox.remove(taken[4:])
    await outbox.next_at_ms()


async def _modelled(shop: Shop) -> None:
    queries = shop.queries
    await queries.newer_model(0)
    last = await queries.newest_event()
    await queries.events(0, last, 20)
    await queries.events(last - 10, last, 50)
    for number in range(2):
        row = (number, number, number + 1, 1, "{}", "{}")
        await queries.store_model(row)
    await queries.newer_model(0)
    await queries.newer_model(1)


async def _inspected(shop: Shop) -> None:
    row = (90_000, "sampled", "u0", DATA_EPOCH_MS, "email", None)
    await shop.database.write((statements.SAMPLE_TOUCH, [row]))
    await shop.database.read(statements.CHANNEL_TOTALS, ())
    await shop.database.read(statements.STORED_CREDITS, ())
    try:
        await shop.database.write((statements.INSERT_SITE, [("s0", 1, 1)]))
    except Refused:
        pass
    else:
        raise AssertionError("a second site of one name was taken")


def of_file(connection: sqlite3.Connection, file: Path) -> None:
    """Run what is asked of a file that `of_service` has filled, through a connection of its own."""
    now = DATA_EPOCH_MS + 2 * _DAY_MS
    seed_sites(connection, [])
    events_at_most(connection)
    for parameters, touches in ((Parameters(), 3), (_MILESTONES, 60), (_OWN, 60)):
        for users in [*user_ranges(connection, touches=touches)][:3]:
            read_paths(connection, parameters, users=users)
    database_notices(connection, file)
    fit_newest(connection, _FITTED)
    restate(connection, Scheme(), now)
    store_waiting(connection, Scheme(), now_ms=now, forwards=True, events_per_range=60)
    recount(connection)
    share_out_anew(connection, ["c1", "c2"])
    repair(connection, now)
    for parameters in (Parameters(half_life_ms=_DAY_MS), _MILESTONES, _OWN):
        restate(connection, Scheme(parameters), now)
    uneven(connection)


def of_start(connection: sqlite3.Connection, file: Path, parameters: Parameters) -> None:
    """Run what fills an empty file with a population, and what is then asked of it."""
    population = Population(
        sites=[("s0", 1, 65_536)],
        users=[("u0", "new", ""), ("u1", "new", "")],
        touches=[
            ("t0", "u0", "signup", "email", DATA_EPOCH_MS - 2),
            ("t1", "u0", "demo", "google", DATA_EPOCH_MS - 1),
            ("t2", "u1", "page_view", "bing", DATA_EPOCH_MS - 1),
        ],
        conversions=[
            ("c0", "t-c0", "u0", DATA_EPOCH_MS, 60.0),
            ("c1", "t-c1", "u1", DATA_EPOCH_MS, 7.5),
        ],
    )
    attribution = Attribution(
        milestones=parameters.milestones, own_event=parameters.own_event, min_conversions=1
    )
    seed_database(connection, population, attribution)
    database_notices(connection, file)
    has_own_events(connection)


STARTS = (Parameters(), _MILESTONES, _OWN)
"""The parameters that `of_start` is run under, each on a file of its own."""
