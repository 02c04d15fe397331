"""edgeproof curve: the miss ratio of a trace over the size of a cache."""

from __future__ import annotations

import json as json_module
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, TypeVar, get_args

import numpy as np
import typer

from core.errors import InputError
from core.scenario.trace_formats import TraceFormat
from core.scenario.trace_time import TimeUnit
from core.texts import count_of
from core.units import parse_duration, parse_ratio
from edgeproof.attribution_choices import given_options
from edgeproof.curve_panels import answer_of, csv_of, panels_of, table_of
from edgeproof.finish import show_table
from edgeproof.invocation import current
from edgeproof.notices import tell_plain
from edgeproof.options import (
    ColumnsOption,
    FormatOption,
    JsonOption,
    OutOption,
    PlainOption,
    TimeUnitOption,
    trace_columns,
)
from edgeproof.progress import Display
from edgeproof.runs import new_folder, run_facts, write_json

T = TypeVar("T")
POLICY_NAMES = ("LRU", "FIFO", "SIEVE", "S3-FIFO", "2Q")
_MOST_SIZES, _MOST_ISOLATES = 200, 64
_SHOWN = 12

TraceArgument = Annotated[
    Path,
    typer.Option(
        "--trace", metavar="FILE",
        help="The trace: a table, JSON lines or a published format, also .gz, .xz and .zst.",
    ),
]  # fmt: skip
SizesOption = Annotated[
    str | None,
    typer.Option(
        "--sizes", metavar="N,N,...",
        help="Sizes of the cache in entries. Default: 24 from a thousandth of the keys to all.",
    ),
]  # fmt: skip
PoliciesOption = Annotated[
    str | None,
    typer.Option(
        "--policies", metavar="NAME,...",
        help=f"Of {', '.join(POLICY_NAMES)}. Default: all of them.",
    ),
]  # fmt: skip
TtlOption = Annotated[
    str | None,
    typer.Option(
        "--ttl", metavar="D,D,...",
        help="LRU, too, where every entry lives that long: 30s,5m,1h. Needs times.",
    ),
]  # fmt: skip
IsolatesOption = Annotated[
    str | None,
    typer.Option(
        "--isolates", metavar="N,N,...",
        help="L1 alone, too, where so many isolates share out the accesses, each with a cache.",
    ),
]  # fmt: skip
RateOption = Annotated[
    float | None,
    typer.Option(
        "--rate", min=1e-6, metavar="R",
        help="R accesses/s at equal gaps, in place of the trace's times.",
    ),
]  # fmt: skip
WarmUpOption = Annotated[
    str,
    typer.Option(
        "--warm-up", metavar="SHARE",
        help="The first accesses fill the cache and are not counted: 20%.",
    ),
]  # fmt: skip
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Take the first N reads alone.")
]
ShufflesOption = Annotated[
    int,
    typer.Option(
        "--shuffles", min=0, max=100, metavar="N",
        help="How many random orders the real one is held against; 0 for none.",
    ),
]  # fmt: skip
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, metavar="N", help="Of random orders and isolates.")
]


def command(
    context: typer.Context,
    trace: TraceArgument,
    format_: FormatOption = None,
    columns: ColumnsOption = None,
    time_unit: TimeUnitOption = None,
    limit: LimitOption = None,
    sizes: SizesOption = None,
    policies: PoliciesOption = None,
    ttl: TtlOption = None,
    isolates: IsolatesOption = None,
    rate: RateOption = None,
    warm_up: WarmUpOption = "0%",
    shuffles: ShufflesOption = 5,
    seed: SeedOption = 1,
    out: OutOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Show the miss ratio of a trace over the size of a cache: exact, and by eviction policy.

    The curve of LRU is exact for every size (stack distances, one pass). It stands beside that of
    the same accesses in random order and beside theory (Che's approximation): what lies between is
    what a plan from popularity alone would miss. FIFO, SIEVE, S3-FIFO and 2Q are simulated for each
    size, with the trace's TTLs if it has any.

    Example: edgeproof curve --trace accesses.csv --isolates 1,4,16
    """
    from sim.curves.reading import read_accesses  # numba is slow to import
    from sim.curves.trace_curve import trace_curve

    tell_plain(plain=plain, as_json=json)
    if rate is not None and time_unit is not None:
        raise InputError(f"--time-unit has no effect: --rate {rate:g} replaces the trace's times")
    chosen = _policies(policies)
    lives = _each(ttl, "--ttl", _life)
    shares = _each(isolates, "--isolates", _whole(_MOST_ISOLATES))
    at = _each(sizes, "--sizes", _whole(2**40))
    if len(at) > _MOST_SIZES:
        raise InputError(f"--sizes: {len(at)} sizes; give {_MOST_SIZES} at most")
    try:
        first = parse_ratio(warm_up)
    except ValueError as error:
        raise InputError(f"--warm-up: {error}") from None
    if not 0 <= first < 1:
        raise InputError(f"--warm-up {warm_up}: leaves nothing to count; give 0% to 99%")
    if not shuffles and not shares and "--seed" in given_options(context):
        raise InputError(
            f"--seed {seed} has no effect: --shuffles 0 draws no order, and no --isolates are given"
        )
    started = monotonic()
    display = Display(plain=plain, quiet=json)
    steps = 4 + len(chosen) + len(lives)
    with display.open():
        display.update("reading", 0.0, trace.name)
        read = read_accesses(
            trace, stop=limit, format_=_format(format_), columns=trace_columns(columns),
            time_unit=_unit(time_unit), with_times=rate is None and bool(lives), with_sizes=False,
        )  # fmt: skip
        accesses, notes = read.accesses, list(read.notes)
        if accesses.ttls is None and not lives and (rate is not None or time_unit is not None):
            option = "--time-unit" if rate is None else "--rate"
            raise InputError(
                f"{option} has no effect: the trace has no TTLs; give --ttl, or leave it out"
            )
        accesses = _timed(accesses, rate, lives, has_ttls=read.has_ttls, notes=notes)
        done = 0

        def tell(step: str) -> None:
            nonlocal done
            done += 1
            display.update("counting", min(0.99, done / steps), step)

        found = trace_curve(
            read.source, accesses, sizes=at, policies=chosen, ttls=lives, isolates=shares,
            start=int(first * accesses.keys.size), shuffles=shuffles, seed=seed, tell=tell,
        )  # fmt: skip
        display.update("counting", 1.0)
    panels = panels_of(found)
    folder = new_folder(out, f"curve-{trace.name.partition('.')[0]}")
    from reports.document import write_exhibit
    from reports.exhibit import Exhibit, Section

    table = table_of(found)
    answer = answer_of(found)
    counted = count_of(found.counted, "access", "accesses")
    exhibit = Exhibit(
        kind="Miss-ratio curve",
        title=f"{found.source}: {counted} of {count_of(found.key_count, 'key')}",
        answer=answer,
        sections=[
            *(Section(heading=panel.heading, panel=panel) for panel in panels),
            Section(heading="Miss ratios by size", table=table),
        ],
        notes=notes,
        data={
            "accesses": found.accesses, "counted": found.counted, "keys": found.key_count,
            "first_accesses": found.first_accesses, "panels": [each.to_json() for each in panels],
        },
    )  # fmt: skip
    told = {
        "command": shlex.join(["edgeproof", *current().arguments]), "trace": str(trace),
        "seed": seed,
    }  # fmt: skip
    write_exhibit(folder, exhibit, "curve", {"curve.csv": csv_of(found.exact)})
    write_json(
        folder / "run.json", run_facts("curve", {"curve": monotonic() - started}, asked=told)
    )
    if json:
        print(json_module.dumps({"out": str(folder), "answer": answer, **exhibit.data}))
        return 0
    step = max(1, len(table[1:]) // _SHOWN)
    show_table([table[0], *table[1:][step - 1 :: step]], plain=plain)
    print(answer)
    for line in notes:
        print(line)
    print(f"{folder / 'curve.html'}")
    return 0


def _each(text: str | None, option: str, parse: Callable[[str], T]) -> tuple[T, ...]:
    """Return the values of a list with commas; InputError names *option* and the value."""
    values = []
    for part in (text or "").split(",") if text is not None else ():
        try:
            values.append(parse(part.strip()))
        except ValueError as error:
            raise InputError(f"{option} {part.strip()!r}: {error}") from None
    return tuple(dict.fromkeys(values))


def _whole(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = text.replace("_", "")
        if not number.isdecimal() or not number.isascii() or not 1 <= int(number) <= most:
            raise ValueError(f"is no whole number from 1 to {most:,}")
        return int(number)

    return parse


def _life(text: str) -> float:
    seconds = parse_duration(text)
    if not 0 < seconds < math.inf:
        raise ValueError("is no life; give 1s or more")
    return seconds


def _policies(text: str | None) -> tuple[Any, ...]:
    by_name = {name.lower(): name for name in POLICY_NAMES}
    chosen = []
    for part in (text or ",".join(POLICY_NAMES)).split(","):
        name = by_name.get(part.strip().lower())
        if name is None:
            raise InputError(
                f"--policies {part.strip()!r}: is no policy; give some of {', '.join(POLICY_NAMES)}"
            )
        chosen.append(name)
    return tuple(dict.fromkeys(chosen))


def _format(text: str | None) -> TraceFormat | None:
    if text is not None and text not in get_args(TraceFormat):
        raise InputError(f"--format {text!r}: give one of {', '.join(get_args(TraceFormat))}")
    return text  # type: ignore[return-value]


def _unit(text: str | None) -> TimeUnit | None:
    if text is not None and text not in get_args(TimeUnit):
        raise InputError(f"--time-unit {text!r}: give one of {', '.join(get_args(TimeUnit))}")
    return text  # type: ignore[return-value]


def _timed(
    accesses: Any, rate: float | None, lives: Sequence[float], *, has_ttls: bool, notes: list[str]
) -> Any:
    """Return *accesses* with the times and TTLs that count, and note what was taken."""
    from dataclasses import replace

    if rate is not None:
        times = np.arange(accesses.keys.size) / rate
        notes.append(f"Times are at equal gaps, {rate:g} accesses/s.")
        return replace(accesses, times=times)
    if lives and accesses.times is None:
        raise InputError("--ttl: the trace has no times; give --rate R")
    if has_ttls:
        notes.append("Policies and isolates heed the trace's TTLs; the exact curve has none.")
        return accesses
    return replace(accesses, ttls=None)
