"""What each tier saves: the same answers without it, at the same prices."""

from __future__ import annotations

from dataclasses import dataclass

from core.cost.rows import Units, row_table
from core.cost.usage import MILLION, Usage, alone_units
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
    entry would be read or written. Without batches each conversion would be stored alone.
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
    spent += (usage.l2_reads + usage.l2_puts) * cpu.per_l2_operation * ms
    spared = usage.l2_rows * prices.d1.rows_read.price / MILLION
    spared += usage.l2_queries * cpu.per_l3_operation * ms
    found.append(
        Saving(
            tier="L2",
            dollars=(spared - spent) * per_request * MILLION,
            queries=usage.l2_queries * per_request * usage.rate,
            what="its hits would be queries of D1, and no entry would be read or written",
        )
    )
    if usage.conversions:
        together: Units = {
            "batch": usage.batches, "conversion": usage.conversions,
            "touch": usage.conversions * usage.touches,
            "channel": usage.batches * usage.channels,
        }  # fmt: skip
        alone = alone_units(scenario, usage)
        dollars = _rows_dollars(scenario, alone) - _rows_dollars(scenario, together)
        found.append(
            Saving(
                tier="batches",
                dollars=dollars * per_request * MILLION,
                queries=2 * (usage.conversions - usage.batches) * per_request * usage.rate,
                what="each conversion would be stored alone",
            )
        )
    return tuple(sorted(found, key=lambda each: -each.dollars))


def _rows_dollars(scenario: Scenario, units: Units) -> float:
    prices = scenario.prices.d1
    dollars = 0.0
    for statement in row_table().of("batch", has_queue=scenario.prices.queue == "d1"):
        dollars += statement.rows_read(units) * prices.rows_read.price / MILLION
        dollars += statement.rows_written(units) * prices.rows_written.price / MILLION
    return dollars
