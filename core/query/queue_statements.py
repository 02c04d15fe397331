"""The SQL statements of the conversions queue, the outbox, and their dead letters."""

from __future__ import annotations

from core.query.statement import Statement, for_each


# Statements that both tables of waiting rows, conversion_queue and outbox, have.
def _broken(name: str, table: str) -> Statement:
    return Statement(
        name,
        f"UPDATE {table} SET available_at_ms = ?, leased_by = NULL"
        " WHERE available_at_ms > ? AND leased_by IS NOT NULL",
    )


# D1 bills each row that is read, so no more than a limit are counted; those that are due first.
def _waiting(name: str, table: str) -> Statement:
    return Statement(
        name,
        "SELECT count(*) AS counted, coalesce(sum(is_due), 0) AS due,"
        " count(CASE WHEN NOT is_due THEN leased_by END) AS leased,"
        " count(last_error) AS failed, min(enqueued_at_ms) AS oldest"
        " FROM (SELECT available_at_ms <= ? AS is_due, leased_by, last_error, enqueued_at_ms"
        f" FROM {table} ORDER BY available_at_ms, conversion_id LIMIT ?) AS some",
    )


def _taken(name: str, table: str, change: str, found: str) -> Statement:
    return Statement(
        name,
        f"UPDATE {table} SET {change}available_at_ms = ?, leased_by = ?"
        f" WHERE conversion_id IN (SELECT conversion_id FROM {table}"
        " WHERE available_at_ms <= ? ORDER BY available_at_ms, conversion_id LIMIT ?)"
        f" RETURNING enqueued_at_ms, conversion_id, {found}",
    )


# Taking rows in two operations: an UPDATE reads each row five times as D1 counts, and an upsert of
# listed values none. What was deleted in between would be inserted again: such a row has a time of
# -1, and the next statement of the transaction deletes it.
def _found(name: str, table: str, found: str) -> Statement:
    return Statement(
        name,
        f"SELECT enqueued_at_ms, conversion_id, {found} FROM {table}"
        " WHERE available_at_ms <= ? ORDER BY available_at_ms, conversion_id LIMIT ?",
    )


def _claim(table: str, columns: str, values: str, change: str, number: int) -> Statement:
    listed = ", ".join(f"(json_extract(?1, '$[{n}]'), {values})" for n in range(number))
    return Statement(
        f"claim_{table}",
        f"INSERT INTO {table} (conversion_id, {columns}) VALUES {listed}"
        f" ON CONFLICT (conversion_id) DO UPDATE SET {change}available_at_ms = ?2, leased_by = ?3"
        f" WHERE {table}.available_at_ms <= ?4",
    )


def claim_queued(number: int) -> Statement:
    """Return the statement that leases so many rows of the queue that are still due."""
    return _claim(
        "conversion_queue", "enqueued_at_ms, available_at_ms", "0, -1",
        "attempts = attempts + 1, ", number,
    )  # fmt: skip


def claim_deliveries(number: int) -> Statement:
    """Return the statement that leases so many rows of the outbox that are still due."""
    return _claim(
        "outbox", "document, enqueued_at_ms, available_at_ms", "'', 0, -1", "", number
    )  # fmt: skip


def _unclaim(name: str, table: str) -> Statement:
    return Statement(name, f"DELETE FROM {table} WHERE available_at_ms = -1")


def _claimed(name: str, table: str) -> Statement:
    return Statement(
        name, f"SELECT conversion_id FROM {table} WHERE available_at_ms = ? AND leased_by = ?"
    )


# A late duplicate of its event does not queue a conversion that is processed or dead.
ENQUEUE = Statement(
    "enqueue",
    "INSERT INTO conversion_queue (conversion_id, attempts, enqueued_at_ms, available_at_ms,"
    " leased_by) SELECT conversion_id, ?, ?, ?, ? FROM conversions AS c WHERE conversion_id = ?"
    " AND processed = 0 AND NOT EXISTS"
    " (SELECT 1 FROM dead_letters AS d WHERE d.conversion_id = c.conversion_id)"
    " ON CONFLICT (conversion_id) DO NOTHING",
)


def _deleted(name: str, table: str) -> Statement:
    return Statement(
        name,
        f"DELETE FROM {table} WHERE conversion_id = ?",
        together=for_each(
            f"DELETE FROM {table} WHERE conversion_id IN (SELECT {{0}} FROM {{rows}})"
        ),
    )


DEQUEUE = _deleted("dequeue", "conversion_queue")

LEASE = _taken("lease", "conversion_queue", "attempts = attempts + 1, ", "attempts")
QUEUE_FOUND = _found("queue_found", "conversion_queue", "attempts + 1")
QUEUE_CLAIMED = _claimed("queue_claimed", "conversion_queue")
QUEUE_UNCLAIM = _unclaim("queue_unclaim", "conversion_queue")
BREAK_LEASES = _broken("break_leases", "conversion_queue")
QUEUE_WAITING = _waiting("queue_waiting", "conversion_queue")

# A consumer owns the rows that it leases, and the rows without a lease, which it takes by this.
_ITS_OWN = (
    " WHERE conversion_id IN (SELECT value FROM json_each(?))"
    " AND (leased_by IS NULL OR leased_by = ?)"
)

RENEW_LEASE = Statement(
    "renew_lease",
    "UPDATE conversion_queue SET attempts = attempts + (leased_by IS NULL),"
    f" available_at_ms = ?, leased_by = ?{_ITS_OWN}",
)

RECORD_FAILURE = Statement(
    "record_failure",
    "UPDATE conversion_queue SET attempts = attempts + 1 + (leased_by IS NULL),"
    f" available_at_ms = ?, leased_by = ?, last_error = ?{_ITS_OWN}",
)

RELEASE = Statement(
    "release",
    "UPDATE conversion_queue SET available_at_ms = ?, leased_by = NULL"
    " WHERE conversion_id IN (SELECT value FROM json_each(?)) AND leased_by = ?",
)

# A conversion that another consumer has taken is not dead.
DEAD_LETTER = Statement(
    "dead_letter",
    "INSERT INTO dead_letters (conversion_id, attempts, reason, died_at_ms)"
    " SELECT conversion_id, min(attempts + (leased_by IS NULL), ?), ?, ? FROM conversion_queue"
    f"{_ITS_OWN} ON CONFLICT (conversion_id) DO NOTHING",
)

# Rows that were tried as often as allowed: the reason is the last error, if there is one.
DEAD_LETTER_SPENT = Statement(
    "dead_letter_spent",
    "INSERT INTO dead_letters (conversion_id, attempts, reason, died_at_ms)"
    " SELECT conversion_id, min(attempts, ?), coalesce(? || last_error, ?), ?"
    f" FROM conversion_queue{_ITS_OWN} ON CONFLICT (conversion_id) DO NOTHING",
)

# Whoever holds the lease: a conversion that no attempt can attribute is dead, with the newest
# reason.
REJECT = Statement(
    "reject",
    "INSERT INTO dead_letters (conversion_id, attempts, reason, died_at_ms)"
    " SELECT c.conversion_id, coalesce(q.attempts, 0) + 1, ?, ? FROM conversions AS c"
    " LEFT JOIN conversion_queue AS q ON q.conversion_id = c.conversion_id"
    " WHERE c.conversion_id = ? AND c.processed = 0"
    " ON CONFLICT (conversion_id) DO UPDATE SET reason = excluded.reason",
)

DEQUEUE_DEAD = Statement("dequeue_dead", f"DELETE FROM conversion_queue{_ITS_OWN}")

REVIVE = Statement(
    "revive",
    "INSERT INTO conversion_queue (conversion_id, enqueued_at_ms, available_at_ms)"
    " SELECT conversion_id, ?, ? FROM conversions WHERE conversion_id = ? AND processed = 0"
    " ON CONFLICT (conversion_id) DO NOTHING",
    together=for_each(
        "INSERT INTO conversion_queue (conversion_id, enqueued_at_ms, available_at_ms)"
        " SELECT c.conversion_id, {0}, {1} FROM {rows} CROSS JOIN conversions AS c"
        " WHERE c.conversion_id = {2} AND c.processed = 0 ON CONFLICT (conversion_id) DO NOTHING"
    ),
)

DROP_DEAD_LETTER = _deleted("drop_dead_letter", "dead_letters")

QUEUE_DEPTH = Statement(
    "queue_depth", "SELECT count(*) AS depth FROM conversion_queue WHERE available_at_ms >= 0"
)

# A write that timed out may have taken effect: the conversions that it stored are not dead.
DEAD_LETTERS = Statement(
    "dead_letters",
    "SELECT d.conversion_id, d.attempts, d.reason, d.died_at_ms FROM dead_letters AS d"
    " WHERE d.conversion_id > ? AND EXISTS (SELECT 1 FROM conversions AS c"
    " WHERE c.conversion_id = d.conversion_id AND c.processed = 0)"
    " ORDER BY d.conversion_id LIMIT ?",
)

NUMBER_DEAD = Statement(
    "number_dead",
    "SELECT count(*) FROM (SELECT 1 FROM dead_letters AS d WHERE EXISTS"
    " (SELECT 1 FROM conversions AS c WHERE c.conversion_id = d.conversion_id AND c.processed = 0)"
    " LIMIT ?) AS some",
)

# The outbox: a document is written with the results, and every delivery sends the same bytes. It
# is written before the conversion is marked as processed, so a conversion that another consumer
# stored is not put out again.
FORWARD = Statement(
    "forward",
    "INSERT INTO outbox (conversion_id, document, enqueued_at_ms, available_at_ms, leased_by)"
    " SELECT ?, ?, ?, ?, ? FROM conversions AS c WHERE c.conversion_id = ? AND c.processed = 0"
    " ON CONFLICT (conversion_id) DO NOTHING",
    together=for_each(
        "INSERT INTO outbox (conversion_id, document, enqueued_at_ms, available_at_ms, leased_by)"
        " SELECT {0}, {1}, {2}, {3}, {4} FROM {rows} CROSS JOIN conversions AS c"
        " WHERE c.conversion_id = {5} AND c.processed = 0 ON CONFLICT (conversion_id) DO NOTHING"
    ),
)

TAKE_DELIVERIES = _taken("take_deliveries", "outbox", "", "document, attempts")
OUTBOX_FOUND = _found("outbox_found", "outbox", "document, attempts")
OUTBOX_CLAIMED = _claimed("outbox_claimed", "outbox")
OUTBOX_UNCLAIM = _unclaim("outbox_unclaim", "outbox")
BREAK_DELIVERIES = _broken("break_deliveries", "outbox")
OUTBOX_WAITING = _waiting("outbox_waiting", "outbox")

DELIVERED = _deleted("delivered", "outbox")

PUT_OFF_DELIVERY = Statement(
    "put_off_delivery",
    "UPDATE outbox SET attempts = attempts + 1, available_at_ms = ?, leased_by = NULL,"
    " last_error = ? WHERE conversion_id = ? AND leased_by = ?",
    together=for_each(
        "UPDATE outbox SET attempts = attempts + 1, available_at_ms = {0}, leased_by = NULL,"
        " last_error = {1} FROM {rows} WHERE conversion_id = {2} AND leased_by = {3}"
    ),
)

RELEASE_DELIVERY = Statement(
    "release_delivery",
    "UPDATE outbox SET available_at_ms = ?, leased_by = NULL"
    " WHERE conversion_id = ? AND leased_by = ?",
    together=for_each(
        "UPDATE outbox SET available_at_ms = {0}, leased_by = NULL"
        " FROM {rows} WHERE conversion_id = {1} AND leased_by = {2}"
    ),
)

NEXT_DELIVERY = Statement("next_delivery", "SELECT min(available_at_ms) FROM outbox")

DEAD_LETTER_DELIVERY = Statement(
    "dead_letter_delivery",
    "INSERT INTO undelivered (conversion_id, document, attempts, reason, died_at_ms)"
    " SELECT conversion_id, document, attempts + 1, ?, ? FROM outbox"
    " WHERE conversion_id = ? AND leased_by = ? ON CONFLICT (conversion_id) DO NOTHING",
    together=for_each(
        "INSERT INTO undelivered (conversion_id, document, attempts, reason, died_at_ms)"
        " SELECT o.conversion_id, o.document, o.attempts + 1, {0}, {1}"
        " FROM {rows} CROSS JOIN outbox AS o WHERE o.conversion_id = {2} AND o.leased_by = {3}"
        " ON CONFLICT (conversion_id) DO NOTHING"
    ),
)

DROP_DEAD_DELIVERY = Statement(
    "drop_dead_delivery",
    "DELETE FROM outbox WHERE conversion_id = ? AND leased_by = ?",
    together=for_each(
        "DELETE FROM outbox WHERE (conversion_id, leased_by) IN (SELECT {0}, {1} FROM {rows})"
    ),
)

REVIVE_DELIVERY = Statement(
    "revive_delivery",
    "INSERT INTO outbox (conversion_id, document, enqueued_at_ms, available_at_ms)"
    " SELECT conversion_id, document, ?, ? FROM undelivered WHERE conversion_id = ?"
    " ON CONFLICT (conversion_id) DO NOTHING",
    together=for_each(
        "INSERT INTO outbox (conversion_id, document, enqueued_at_ms, available_at_ms)"
        " SELECT u.conversion_id, u.document, {0}, {1} FROM {rows} CROSS JOIN undelivered AS u"
        " WHERE u.conversion_id = {2} ON CONFLICT (conversion_id) DO NOTHING"
    ),
)

DROP_UNDELIVERED = _deleted("drop_undelivered", "undelivered")

UNDELIVERED = Statement(
    "undelivered",
    "SELECT conversion_id, attempts, reason, died_at_ms FROM undelivered"
    " WHERE conversion_id > ? ORDER BY conversion_id LIMIT ?",
)

NUMBER_UNDELIVERED = Statement(
    "number_undelivered", "SELECT count(*) FROM (SELECT 1 FROM undelivered LIMIT ?) AS some"
)
