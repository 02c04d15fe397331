"""edgeproof curve: miss ratios over the size and the TTLs of a cache, of a scenario or a trace."""

from __future__ import annotations

import typer

from core.errors import InputError
from edgeproof import curve_options as of
from edgeproof.attribution_choices import given_options
from edgeproof.curve_options import (
    AimOption,
    IsolatesOption,
    L2TtlOption,
    PoliciesOption,
    QuickOption,
    ReplicationsOption,
    ShufflesOption,
    SizesOption,
    TtlOption,
    WarmUpOption,
)
from edgeproof.notices import tell_plain
from edgeproof.options import (
    ColumnsOption,
    FormatOption,
    JsonOption,
    OptionalScenario,
    OutOption,
    PlainOption,
    RateOption,
    SeedOption,
    SetOption,
    TimeUnitOption,
    TraceLimitOption,
    TraceOffsetOption,
    TraceOption,
    chosen_scenario,
    trace_columns,
)
from edgeproof.scenario_curves import OfScenario, curve_of_scenario
from edgeproof.trace_curves import OfTrace, curve_of_trace


def command(
    context: typer.Context,
    scenario: OptionalScenario = None,
    trace: TraceOption = None,
    trace_offset: TraceOffsetOption = None,
    trace_limit: TraceLimitOption = None,
    time_unit: TimeUnitOption = None,
    format_: FormatOption = None,
    columns: ColumnsOption = None,
    seed: SeedOption = None,
    rate: RateOption = None,
    set_: SetOption = None,
    sizes: SizesOption = None,
    ttl: TtlOption = None,
    isolates: IsolatesOption = None,
    shuffles: ShufflesOption = 5,
    l2_ttl: L2TtlOption = None,
    aim: AimOption = None,
    replications: ReplicationsOption = 5,
    quick: QuickOption = False,
    policies: PoliciesOption = None,
    warm_up: WarmUpOption = "0%",
    out: OutOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Show the miss ratio over the size and the TTLs of the caches of SCENARIO, or of a trace.

    Of SCENARIO: what L1, L2 and the database are asked over L1's size, its TTL and L2's TTLs, by
    number of isolates, with intervals. The real order, of its traffic or of --trace FILE, stands
    beside random ones and beside theory: what lies between is what a plan from popularity would
    miss.

    Of a trace alone (--trace FILE): LRU exactly for every size, FIFO, SIEVE, S3-FIFO and 2Q for
    each size, with the trace's TTLs if it has any.

    Example: edgeproof curve baseline --isolates 1,4,16,request --aim 85%
    """
    tell_plain(plain=plain, as_json=json)
    given = given_options(context)
    places = of.each_of(sizes, "--sizes", of.whole(2**40))
    lives = of.each_of(ttl, "--ttl", of.life)
    if scenario is not None:
        of.refuse(given, of.OF_TRACE, "on a scenario: leave SCENARIO out for a trace alone")
        wanted = OfScenario(
            isolates=of.each_of(isolates, "--isolates", of.isolates), sizes=places, ttls=lives,
            l2_factors=of.each_of(l2_ttl, "--l2-ttl", of.factor), shuffles=shuffles,
            replications=replications, is_quick=quick,
            aim=of.aim(aim),
        )  # fmt: skip
        chosen = chosen_scenario(
            scenario, command="curve", overrides=set_, seed=seed, rate=rate, trace=trace,
            trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
            format_=format_, columns=columns,
        )  # fmt: skip
        return curve_of_scenario(chosen, scenario, wanted, out=out, plain=plain, json=json)
    if trace is None:
        raise InputError("give SCENARIO, --trace FILE, or both")
    of.refuse(given, of.OF_SCENARIO, "on a trace alone: name a SCENARIO, too")
    if rate is not None and time_unit is not None:
        raise InputError(f"--time-unit has no effect: --rate {rate} replaces the trace's times")
    shares = of.each_of(isolates, "--isolates", of.whole(of.MOST_ISOLATES))
    first = of.share(warm_up, "--warm-up")
    if not 0 <= first < 1:
        raise InputError(f"--warm-up {warm_up}: leaves nothing to count; give 0% to 99%")
    if not shuffles and not shares and seed is not None:
        raise InputError(
            f"--seed {seed} has no effect: --shuffles 0 draws no order, and no --isolates are given"
        )
    asked = OfTrace(
        trace=trace, format=of.trace_format(format_), columns=trace_columns(columns),
        time_unit=of.time_unit(time_unit), limit=trace_limit, sizes=places,
        policies=of.policies(policies), ttls=lives, isolates=shares, rate=of.rate(rate),
        first=first, shuffles=shuffles, seed=1 if seed is None else seed,
    )  # fmt: skip
    return curve_of_trace(asked, out=out, plain=plain, json=json)
