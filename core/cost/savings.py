"""What each tier saves: the same answers without it, at the same prices."""

from __future__ import annotations

from dataclasses import dataclass

from core.cost.rows import Work
from core.cost.usage import MILLION, Usage, batch_work
from core.scenario.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What one tier saves of a million requests.

    dollars: at list prices; less than 0 where the tier costs more than it saves. queries:
    operations of D1, which serves one at a time, that it saves a second. what: in words.
    """

    tier: str
    dollars: float
    queries: float
    what: str


def savings(scenario: Scenario, usage: Usage) -> tuple[Saving, ...]:
    """Return what L1, L2 and the batches of conversions save, the most first.

    Without L1 its hits would be reads of L2. Without L2 its hits would be queries of D1, and no
    entry would be read, written, deleted or listed. Without batches each conversion would be stored
    alone.
    """
    prices, cpu = scenario.prices, scenario.topology.cpu
    per_request = 1 / usage.requests
    ms = prices.workers.cpu_ms.price * 1000 / MILLION  # dollars for a second of CPU
    a_read = prices.kv.reads.price / MILLION
    found = [
        Saving(
            tier="L1",
            dollars=usage.l1_hits * per_request * (a_read + cpu.per_l2_operation * ms) * MILLION,
            queries=0.0,
            what="its hits would be reads of KV",
        )
    ]
    spent = usage.l2_reads * a_read + usage.l2_puts * prices.kv.writes.price / MILLION
    spent += usage.l2_deletes * prices.kv.deletes.price / MILLION
    spent += usage.l2_lists * prices.kv.lists.price / MILLION
    spent += (usage.l2_reads + usage.l2_puts) * cpu.per_l2_operation * ms
    spared = _dollars(scenario, usage.of_l2_hits)
    spared += usage.of_l2_hits.statements * cpu.per_l3_operation * ms
    found.append(
        Saving(
            tier="L2",
            dollars=(spared - spent) * per_request * MILLION,
            queries=usage.of_l2_hits.statements * per_request * usage.rate,
            what="its hits would be queries of D1, and no entry would be read or written",
        )
    )
    queue = usage.queue
    if queue.batches:
        alone = batch_work(scenario, 1.0).times(queue.conversions)
        together = batch_work(scenario, queue.size).times(queue.batches)
        found.append(
            Saving(
                tier="batches",
                dollars=(_dollars(scenario, alone) - _dollars(scenario, together))
                * per_request
                * MILLION,
                # A batch has two operations: its journeys are read, its results stored.
                queries=2 * (queue.conversions - queue.batches) * per_request * usage.rate,
                what="each conversion would be stored alone",
            )
        )
    return tuple(sorted(found, key=lambda each: -each.dollars))


def _dollars(scenario: Scenario, work: Work) -> float:
    prices = scenario.prices.d1
    return (work.read * prices.rows_read.price + work.written * prices.rows_written.price) / MILLION
