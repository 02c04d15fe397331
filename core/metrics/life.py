"""What is told of isolates that start, and of regions, where a scenario states them."""

from __future__ import annotations

from collections.abc import Sequence

from core.metrics.metric_table import MetricTable
from core.metrics.ratio import Ratio
from core.metrics.stage import Stage

COLD = Stage(
    name="cold", source="simulated", title="requests' waits for an isolate to start",
)  # fmt: skip
"""A time for each request that had to wait: the one that started the isolate, and those behind."""

COLD_SHARE = Ratio(
    name="cold", counted=("requests.cold",), of=("requests",),
    title="requests that waited for an isolate to start",
)  # fmt: skip


OUTDATED = Stage(
    name="outdated", source="simulated", title="outdated values' ages when they were read",
)  # fmt: skip
"""A time for each cache read that was answered with a value older than a write: since that."""

OUTDATED_SHARE = Ratio(
    name="outdated", counted=("reads.outdated",), of=("reads",),
    title="cache reads answered with a value that a write had outdated",
)  # fmt: skip

BEHIND = Ratio(
    name="behind", counted=("counters.replica_reads_behind",), of=("counters.replica_reads",),
    title="reads at a replica that lacked the same user's own writes",
)  # fmt: skip


def with_life(
    table: MetricTable,
    *,
    starts: bool = False,
    regions: Sequence[str] = (),
    has_replicas: bool = False,
    invalidates: bool = False,
) -> MetricTable:
    """Return *table* with what a scenario makes happen.

    starts: whether it starts isolates in its run. regions: their names, each a series of its own;
    ValueError if one is taken. has_replicas: whether the database has. invalidates: whether
    something outdates cached values.
    """
    if invalidates:
        table = table.extended(stages=(OUTDATED,), ratios=(OUTDATED_SHARE,))
    if has_replicas:
        table = table.extended(ratios=(BEHIND,))
    if starts:
        table = table.extended(stages=(COLD,), ratios=(COLD_SHARE,))
    for name in regions:
        if name in table.series:
            raise ValueError(
                f"region {name} has the name of an endpoint, a stage or another region; choose "
                "another one"
            )
        of_region = Stage(name=name, source="region", title=f"requests from the region {name}")
        table = table.extended(stages=(of_region,))
    return table
