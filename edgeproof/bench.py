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
    help="Time code (run, history), gate its speed (compare, calibrate; this project's own: "
    "promise, compare-base, accept-base), and gate exact simulated figures (check, accept).",
    no_args_is_help=True,
)
