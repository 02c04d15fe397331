"""What an import of a log says that it took for granted, or that the log leaves open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scenarios.intake.figures import Figures
from scenarios.intake.log_file import LogFile
from scenarios.intake.objects import UNIT_NAMES
from scenarios.intake.rules import LEFT_OUT, Rule, by_specificity


def of_file(log: LogFile) -> Iterator[str]:
    """Yield what was taken for granted of a file."""
    yield from log.found.notices
    objects = log.found.objects
    if objects is not None and objects.is_unit_told and objects.time_unit is not None:
        yield (
            f"times look like {UNIT_NAMES[objects.time_unit]} since 1970 and are taken so; "
            "--time-unit says otherwise"
        )


def of_rules(rules: Sequence[Rule], figures: Figures) -> Iterator[str]:
    """Yield which endpoints have no request, and why where the rules tell it."""
    order = by_specificity(rules)
    for place, at in enumerate(order):
        rule = rules[at]
        if rule.name == LEFT_OUT or figures.endpoints[at].count:
            continue
        before = next((rules[each] for each in order[:place] if rules[each].covers(rule)), None)
        why = "" if before is None else f": {before} takes what fits it"
        yield f"no request is of {rule}{why}; it is not in the scenario"


def of_latencies(figures: Figures, *, tells_latency: bool) -> Iterator[str]:
    """Yield what latencies leave open; tells_latency: whether the format has a place for them."""
    known = sum(each.latency.count for each in figures.endpoints)
    if known < figures.accesses and (known or tells_latency):
        others = "; the quantiles are those of the others" if known else ""
        yield (
            f"{figures.accesses - known:,} of {figures.accesses:,} requests tell no latency that "
            f"can be read (such as - of an upstream that was not asked){others}"
        )
    if known and not figures.has_fractions:
        yield (
            "latencies are whole seconds: the true ones are up to 1 s longer, and quantiles and "
            "KPIs from them are rough; log milliseconds (%D, %{ms}T)"
        )
