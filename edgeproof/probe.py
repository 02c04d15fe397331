"""edgeproof probe: the real database, store or service, measured from where one stands."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from bench.probe.steps import LEVELS, Level, Plan, Target, dollars, probe
from core.clock import SystemClock
from core.errors import InputError
from core.query.d1 import BASE_URL
from core.scenario.addresses import is_loopback
from core.texts import without_secrets
from core.units import parse_duration
from edgeproof.finish import show_table
from edgeproof.group import HelpfulGroup
from edgeproof.learning import CALIBRATION_FILE, write_calibration
from edgeproof.notices import tell_plain
from edgeproof.options import AllowOption, JsonOption, OutOption, PlainOption
from edgeproof.runs import new_folder, run_facts, write_json

MOST_OPERATIONS = 20_000
REST_OPERATIONS = 1_100
"""Of one probe of the platform's REST API, which takes 1,200 requests in five minutes."""

app = typer.Typer(
    cls=HelpfulGroup,
    help="Measure the real D1, KV, Redis or HTTP service from here, and write calibration.toml.",
    no_args_is_help=True,
)

ConcurrencyOption = Annotated[
    int,
    typer.Option(
        "--concurrency", min=1, max=LEVELS[-1], metavar="N",
        help="Up to N operations at a time, of 1, 2, 4, 8, 16 and 32.",
    ),
]  # fmt: skip
TimeOption = Annotated[
    str, typer.Option("--time", metavar="TIME", help="Stop after TIME, with what is measured.")
]
CostOption = Annotated[
    float, typer.Option("--max-cost", min=0.0, metavar="DOLLARS", help="Refuse to cost more.")
]
SamplesOption = Annotated[
    int,
    typer.Option(
        "--samples", min=10, metavar="N",
        help="Operations of each kind, one at a time; half of it at each further level.",
    ),
]  # fmt: skip


@app.command("d1")
def d1(
    samples: SamplesOption = 60,
    concurrency: ConcurrencyOption = LEVELS[-1],
    time: TimeOption = "2m",
    max_cost: CostOption = 0.05,
    out: OutOption = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Ask the D1 database of CLOUDFLARE_DATABASE_ID the statements of the service.

    Three reads, and a write that changes nothing. CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN
    are needed, too. The REST API takes 1,200 requests in five minutes, others' included.

    Example: edgeproof probe d1 --concurrency 8
    """
    from bench.probe.targets import D1Target, rest_base_url  # httpx is slow to import

    return _probe(
        D1Target, _plan(samples, concurrency), time, max_cost, rest=rest_base_url(), out=out,
        plain=plain, as_json=as_json,
    )  # fmt: skip


@app.command("kv")
def kv(
    samples: SamplesOption = 60,
    concurrency: ConcurrencyOption = LEVELS[-1],
    time: TimeOption = "2m",
    max_cost: CostOption = 0.05,
    out: OutOption = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Read and write keys of the KV namespace of CLOUDFLARE_KV_NAMESPACE_ID.

    The keys begin with edgeproof-probe-, and are deleted. CLOUDFLARE_ACCOUNT_ID and
    CLOUDFLARE_API_TOKEN are needed, too.

    Example: edgeproof probe kv --samples 30
    """
    from bench.probe.targets import kv_target, rest_base_url

    return _probe(
        kv_target, _plan(samples, concurrency), time, max_cost, rest=rest_base_url(), out=out,
        plain=plain, as_json=as_json,
    )  # fmt: skip


@app.command("redis")
def redis(
    url: Annotated[str, typer.Argument(metavar="URL", help="Such as redis://127.0.0.1:6379/0.")],
    samples: SamplesOption = 300,
    concurrency: ConcurrencyOption = LEVELS[-1],
    time: TimeOption = "1m",
    allow: AllowOption = None,
    out: OutOption = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Read and write keys of a Redis or Valkey; they begin with edgeproof-probe-, and are deleted.

    Example: edgeproof probe redis redis://127.0.0.1:6379/0
    """
    from bench.probe.targets import redis_target

    _check_own(url, allow)
    return _probe(
        lambda: redis_target(url), _plan(samples, concurrency), time, 0.0, out=out, plain=plain,
        as_json=as_json,
    )  # fmt: skip


@app.command("http")
def http(
    url: Annotated[str, typer.Argument(metavar="URL", help="What is asked for, by GET.")],
    samples: SamplesOption = 200,
    concurrency: ConcurrencyOption = LEVELS[-1],
    time: TimeOption = "1m",
    allow: AllowOption = None,
    out: OutOption = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Ask a service for URL; where {n} stands in it, also for another number each time.

    The calibration has it as what lies between clients and the service: give a path that does
    little. A host beyond this machine has to be named by --i-am-allowed-to-load.

    Example: edgeproof probe http http://127.0.0.1:8787/openapi.json
    """
    from bench.probe.targets import HttpTarget

    parts = _parts(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{without_secrets(url)[:80]}: give a URL such as http://127.0.0.1:8787/")
    _check_own(url, allow)
    return _probe(
        lambda: HttpTarget(url), _plan(samples, concurrency), time, 0.0, out=out, plain=plain,
        as_json=as_json,
    )  # fmt: skip


def _parts(url: str) -> Any:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise InputError(f"{url[:80]!r}: {error}; correct the URL") from None


def _check_own(url: str, allow: Sequence[str] | None) -> None:
    """Raise InputError for a host beyond this machine that is not allowed by name."""
    host = (_parts(url).hostname or "localhost").lower()  # a Unix socket has no host
    named = {name.strip().lower() for name in allow or ()}
    if stray := named - {host}:
        raise InputError(f"--i-am-allowed-to-load {min(stray)}: the URL names {host}; correct it")
    if not is_loopback(host) and host not in named:
        raise InputError(
            f"{host} is not this machine; give --i-am-allowed-to-load {host} if you may load it"
        )


def _plan(samples: int, concurrency: int) -> Plan:
    return Plan(samples=samples, most=concurrency)


def _probe(
    opened: Callable[[], Target],
    plan: Plan,
    time: str,
    max_cost: float,
    *,
    out: Path | None,
    plain: bool,
    as_json: bool,
    rest: str = "",
) -> int:
    """Say what it takes, measure, print the levels, and write the calibration."""
    tell_plain(plain=plain, as_json=as_json)
    try:
        seconds = parse_duration(time)
    except ValueError as error:
        raise InputError(f"--time: {error}") from None
    if seconds <= 0:
        raise InputError(f"--time {time}: give more than 0s")
    started = monotonic()

    async def run() -> tuple[Target, list[Level], dict[str, float]]:
        target = opened()
        operations, bill = plan.operations(target), plan.bill(target)
        most = REST_OPERATIONS if rest == BASE_URL else MOST_OPERATIONS
        try:
            if operations > most:
                raise InputError(
                    f"probe {target.name} would make {operations:,} operations, at most {most:,} "
                    "are made: lower --samples or --concurrency"
                )
            if dollars(bill) > max_cost:
                raise InputError(
                    f"probe {target.name} would cost up to ${dollars(bill):.6f}; raise --max-cost "
                    f"{max_cost:g} or lower --samples"
                )
        except InputError:
            await target.close()
            raise
        units = "".join(f", {number:,.0f} {unit}" for unit, number in bill.items())
        money = (
            f": up to ${dollars(bill):.6f} at the price list, beyond what a plan includes"
            if bill
            else ""
        )
        print(
            f"Probe {target.name}: at most {operations:,} operations in {time}{units}{money}.",
            file=sys.stderr,
            flush=True,
        )
        levels = await probe(target, plan, SystemClock(), seconds=seconds)
        return target, levels, bill

    target, levels, bill = asyncio.run(run())
    if len({level.kind.name for level in levels}) < len(target.kinds):
        raise InputError(f"--time {time}: it was up before each kind was measured; give more")
    folder = new_folder(out, f"probe-{target.name}")
    path = folder / CALIBRATION_FILE
    known = target.learned(levels)
    write_calibration(path, known, source=f"edgeproof probe {target.name}")
    table = [_row(level) for level in levels]
    write_json(
        folder / "run.json",
        run_facts(
            "probe", {"probe": monotonic() - started}, asked={"target": target.name},
            notes=known.notes,
        ),
    )  # fmt: skip
    if as_json:
        print(
            json.dumps(
                {
                    "schema_version": 1,
                    "calibration": str(path),
                    "dollars": dollars(bill),
                    "levels": table,
                    "notes": list(known.notes),
                }
            )
        )
        return 0
    names = ("operation", "keys", "at a time", "operations", "p50", "p95", "p99", "per second")
    rows = [names, *(tuple(map(_cell, row.values())) for row in table)]
    show_table(rows, plain=plain)
    for level in levels:
        for reason, number in level.failures.items():
            print(f"{number} of {level.kind.name} failed: {reason}")
    for note in known.notes:
        print(f"  {note}")
    if len(levels) < len(plan.levels) * len(target.kinds):
        print(f"--time {time} was up before all levels were measured.")
    print(f"Written: {path}")
    return 0


def _row(level: Level) -> dict[str, Any]:
    p50, p95, p99 = (round(1e3 * each, 3) for each in level.percentiles())
    return {
        "operation": level.kind.name,
        "keys": level.kind.keys,
        "at_a_time": level.concurrency,
        "operations": len(level.seconds),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "per_second": round(level.per_second, 1),
    }


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
