"""edgeproof bench: micro-benchmarks, and the exact gate on simulated figures."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.micro import run_benchmarks
from edgeproof import calibrate, compare, golden

app = typer.Typer(
    help="Micro-benchmarks (run), the gate on their speed (compare, "
    "calibrate), and the gate on exact "
    "simulated figures (check, accept).",
    no_args_is_help=True,
)
app.command("compare")(compare.command)
app.command("calibrate")(calibrate.command)
app.command("check")(golden.check)
app.command("accept")(golden.accept)


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
