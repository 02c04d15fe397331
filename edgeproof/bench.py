"""edgeproof bench: micro-benchmarks, and the gates on speed and on simulated figures."""

from __future__ import annotations

import typer

from edgeproof.commands import BENCH
from edgeproof.group import ListedGroup


class BenchGroup(ListedGroup):
    """The commands of `edgeproof bench`, from their table."""

    listed = BENCH


app = typer.Typer(
    cls=BenchGroup,
    help="Micro-benchmarks (run, history), the gate on their speed (compare, calibrate; our own: "
    "compare-base, accept-base), what this project promises about its own (promise), and the gate "
    "on exact simulated figures (check, accept).",
    no_args_is_help=True,
)
