"""A batch of 50 conversions: their journeys, seven models, and the results stored."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from bench.benchmarks.fixtures import Tiers, finish
from core.caching.kv import MemoryKV
from core.clock import DATA_EPOCH_MS, ManualClock
from core.context import Span
from core.ledger.processor import BatchAttributionProcessor
from core.scenario.population import conversion_id

BATCH = 50
ROUNDS = 60


def test_attribution_batch_of_50_conversions(benchmark: BenchmarkFixture) -> None:
    clock = ManualClock()
    tiers = Tiers(MemoryKV(clock.now), clock, l1_ttl=60.0)
    connection = tiers.database.connection
    processor = BatchAttributionProcessor(
        tiers.queries, now_ms=lambda: DATA_EPOCH_MS, in_force=lambda _: tiers.scheme
    )
    ids = [conversion_id(subject) for subject in range(BATCH)]

    def unprocess() -> None:
        for sql in (
            "UPDATE conversions SET processed = 0 WHERE conversion_id = ?",
            "DELETE FROM credits WHERE conversion_id = ?",
        ):
            connection.executemany(sql, [(c,) for c in ids])

    def process() -> int:
        before = processor.processed
        finish(processor.process(Span(is_batch=True), ids))
        return processor.processed - before

    processed = benchmark.pedantic(  # type: ignore[no-untyped-call]  # it has no annotations
        process, setup=unprocess, rounds=ROUNDS, warmup_rounds=1
    )
    assert processed == BATCH
    (waiting,) = connection.execute(
        "SELECT count(*) FROM conversions WHERE processed = 0"
    ).fetchone()
    assert waiting == 0
