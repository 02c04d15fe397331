"""edgeproof bench: micro-benchmarks, and the gates on speed and on simulated figures."""

from __future__ import annotations

import typer

from edgeproof import base, benchmarks, calibrate, compare, golden, history, promise

app = typer.Typer(
    help="Micro-benchmarks (run, history), the gate on their speed (compare, calibrate; our own: "
    "compare-base, accept-base), what this project promises about its own (promise), and the gate "
    "on exact simulated figures (check, accept).",
    no_args_is_help=True,
)
app.command("run")(benchmarks.command)
app.command("history")(history.command)
app.command("compare")(compare.command)
app.command("calibrate")(calibrate.command)
app.command("promise")(promise.command)
app.command("check")(golden.check)
app.command("accept")(golden.accept)
app.command("compare-base")(base.compare_base)
app.command("accept-base")(base.accept_base)
