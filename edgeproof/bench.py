"""edgeproof bench: micro-benchmarks, and the gates on speed and on simulated figures."""

from __future__ import annotations

import typer

from edgeproof import benchmarks, calibrate, compare, golden, history

app = typer.Typer(
    help="Micro-benchmarks (run, history), the gate on their speed (compare, calibrate), and the "
    "gate on exact simulated figures (check, accept).",
    no_args_is_help=True,
)
app.command("run")(benchmarks.command)
app.command("history")(history.command)
app.command("compare")(compare.command)
app.command("calibrate")(calibrate.command)
app.command("check")(golden.check)
app.command("accept")(golden.accept)
