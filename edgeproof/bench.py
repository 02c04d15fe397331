"""edgeproof bench: micro-benchmarks, and the exact gate on simulated figures."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.golden import accept as accept_golden
from bench.golden import check as check_golden
from bench.micro import run_benchmarks
from edgeproof import base, calibrate, compare

app = typer.Typer(
    help="Micro-benchmarks (run), the gate on their speed (compare, calibrate; our own: "
    "compare-base, accept-base), and the gate on exact simulated figures (check, accept).",
    no_args_is_help=True,
)
app.command("compare")(compare.command)
app.command("calibrate")(calibrate.command)
app.command("compare-base")(base.compare_base)
app.command("accept-base")(base.accept_base)


@app.command()
def run(
    select: Annotated[
        str | None,
        typer.Option("-k", metavar="NAME", help="Only benchmarks whose name holds NAME."),
    ] = None,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write pytest-benchmark's JSON.")
    ] = None,
) -> int:
    """Time an L1 hit, an L2 hit, a full miss, a simulated request and an attribution batch."""
    return run_benchmarks(select=select, json=json)


@app.command()
def check() -> int:
    """Compare the scenarios' simulated KPIs and counters with the golden files; exit 1 if any
    figure differs."""
    differences = check_golden(on_scenario=lambda name: print(f"simulating {name}", flush=True))
    for line in differences:
        print(line)
    if differences:
        print(
            f"{len(differences)} figures differ. If that is meant: "
            "edgeproof bench accept --reason TEXT"
        )
        return 1
    print("Every simulated figure equals its golden file.")
    return 0


@app.command()
def accept(
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why the figures changed; it is kept.")
    ],
) -> int:
    """Write the golden files anew and keep the reason beside them."""
    changed = accept_golden(
        reason, on_scenario=lambda name: print(f"simulating {name}", flush=True)
    )
    print(f"{changed} figures changed; the reason stands in the golden files.")
    return 0
