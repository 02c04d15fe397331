"""What the options of `edgeproof curve` mean, and which of them go together."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Annotated, Any, TypeVar, get_args

import typer

from core.errors import InputError
from core.scenario.trace_formats import TraceFormat
from core.scenario.trace_time import TimeUnit
from core.units import parse_duration, parse_ratio

T = TypeVar("T")
POLICY_NAMES = ("LRU", "FIFO", "SIEVE", "S3-FIFO", "2Q")
MOST_PLACES, MOST_ISOLATES = 200, 64
_REQUEST = "request"

OF_TRACE = ("--policies", "--warm-up")
OF_SCENARIO = ("--l2-ttl", "--aim", "--replications", "--quick", "--set", "--trace-offset")

SizesOption = Annotated[
    str | None,
    typer.Option(
        "--sizes", metavar="N,N,...",
        help="Entries of the cache (of each isolate's L1). Default: from a thousandth of the keys "
        "to all.",
    ),
]  # fmt: skip
PoliciesOption = Annotated[
    str | None,
    typer.Option(
        "--policies", metavar="NAME,...",
        help=f"Of a trace alone: of {', '.join(POLICY_NAMES)}. Default: all of them.",
        rich_help_panel="A trace alone",
    ),
]  # fmt: skip
TtlOption = Annotated[
    str | None,
    typer.Option(
        "--ttl", metavar="D,D,...",
        help="TTLs: 30s,5m,1h. Of a scenario those of L1 that are tried (default: from a 16th of "
        "its own to 16 times). Of a trace alone: LRU, too, where every entry lives that long; "
        "needs times.",
    ),
]  # fmt: skip
L2TtlOption = Annotated[
    str | None,
    typer.Option(
        "--l2-ttl", metavar="X,X,...",
        help="Times the TTLs of L2 that are tried: 0.5,1,2. Default: from a 16th to 16 times.",
        rich_help_panel="A scenario",
    ),
]  # fmt: skip
IsolatesOption = Annotated[
    str | None,
    typer.Option(
        "--isolates", metavar="N,N,...",
        help="L1 for each number of isolates that share out the reads, each with a cache; of a "
        "scenario also request, for an L1 that dies with its request. Default of a scenario: "
        "1,4,16,request.",
    ),
]  # fmt: skip
WarmUpOption = Annotated[
    str,
    typer.Option(
        "--warm-up", metavar="SHARE",
        help="Of a trace alone: the first accesses fill the cache and are not counted: 20%.",
        rich_help_panel="A trace alone",
    ),
]  # fmt: skip
ShufflesOption = Annotated[
    int,
    typer.Option(
        "--shuffles", min=0, max=100, metavar="N",
        help="How many random orders the real one is held against; 0 for none.",
    ),
]  # fmt: skip
ReplicationsOption = Annotated[
    int,
    typer.Option(
        "--replications", min=2, max=100, metavar="N", help="Runs behind each mean and interval.",
        rich_help_panel="A scenario",
    ),
]  # fmt: skip
AimOption = Annotated[
    str | None,
    typer.Option(
        "--aim", metavar="P%",
        help="Say for each number of isolates from which size and TTL on L1 answers P% of the "
        "reads.",
        rich_help_panel="A scenario",
    ),
]  # fmt: skip
QuickOption = Annotated[
    bool,
    typer.Option(
        "--quick", help="Leave out the whole simulations that passes are checked by.",
        rich_help_panel="A scenario",
    ),
]  # fmt: skip


def refuse(given: Collection[str], options: Collection[str], why: str) -> None:
    """Raise InputError if one of *options* is given: it has no effect, *why* says so."""
    for option in options:
        if option in given:
            raise InputError(f"{option} has no effect {why}")


def each_of(text: str | None, option: str, parse: Callable[[str], T]) -> tuple[T, ...]:
    """Return the values of a list with commas; InputError names *option* and the value."""
    values = []
    for part in (text or "").split(",") if text is not None else ():
        try:
            values.append(parse(part.strip()))
        except ValueError as error:
            raise InputError(f"{option} {part.strip()!r}: {error}") from None
    found = tuple(dict.fromkeys(values))
    if len(found) > MOST_PLACES:
        raise InputError(f"{option}: {len(found)} values; give {MOST_PLACES} at most")
    return found


def whole(most: int) -> Callable[[str], int]:
    """Return what reads a whole number from 1 to *most*; ValueError for another text."""

    def parse(text: str) -> int:
        number = text.replace("_", "")
        if not number.isdecimal() or not number.isascii() or not 1 <= int(number) <= most:
            raise ValueError(f"is no whole number from 1 to {most:,}")
        return int(number)

    return parse


def isolates(text: str) -> str:
    """Return a number of isolates as it is written, or request; ValueError for another text."""
    if text == _REQUEST:
        return text
    try:
        return str(whole(MOST_ISOLATES)(text))
    except ValueError as error:
        raise ValueError(f"{error}, nor request, for an L1 that dies with its request") from None


def life(text: str) -> float:
    """Return the seconds of a TTL; ValueError for what is none."""
    seconds = parse_duration(text)
    if not 0 < seconds < math.inf:
        raise ValueError("is no life; give 1s or more")
    return seconds


def factor(text: str) -> float:
    """Return a factor of TTLs; ValueError for what is none."""
    try:
        number = float(text.removesuffix("x"))
    except ValueError:
        number = math.nan
    if not 1e-6 <= number <= 1e6:
        raise ValueError("is no factor; give 0.000001 to 1000000, such as 0.5 or 2")
    return number


def share(text: str, option: str) -> float:
    """Return a share such as 85%; InputError names *option*."""
    try:
        found = parse_ratio(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None
    return float(found)


def aim(text: str | None) -> float | None:
    """Return the share of --aim; InputError for what L1 cannot answer."""
    if text is None:
        return None
    found = share(text, "--aim")
    if not 0 < found < 1:
        raise InputError(f"--aim {text}: is no share that L1 may answer; give 1% to 99%")
    return found


def rate(text: str | None) -> float | None:
    """Return the accesses/s of --rate for a trace alone; InputError for what is no rate."""
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 1e-6 <= found <= 1e12:
        raise InputError(f"--rate is {text!r}; a trace alone takes accesses/s, such as 400")
    return found


def policies(text: str | None) -> tuple[Any, ...]:
    """Return the policies of --policies; InputError names what is none."""
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


def trace_format(text: str | None) -> TraceFormat | None:
    """Return the format of --format; InputError for what is none."""
    if text is not None and text not in get_args(TraceFormat):
        raise InputError(f"--format {text!r}: give one of {', '.join(get_args(TraceFormat))}")
    return text  # type: ignore[return-value]  # checked above


def time_unit(text: str | None) -> TimeUnit | None:
    """Return the unit of --time-unit; InputError for what is none."""
    if text is not None and text not in get_args(TimeUnit):
        raise InputError(f"--time-unit {text!r}: give one of {', '.join(get_args(TimeUnit))}")
    return text  # type: ignore[return-value]  # checked above
