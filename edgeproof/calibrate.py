"""edgeproof bench calibrate: the error rates of bench compare, on this machine."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from core.errors import InputError, InvalidRun
from edgeproof.options import JsonOption
from edgeproof.paired.calibration import Calibration, calibrate, lines, subjects
from edgeproof.paired.comparison import Untrusted
from edgeproof.paired.options import seconds, share
from edgeproof.paired.result import Rules
from edgeproof.paired.versions import Unusable


def command(
    suites: Annotated[
        int, typer.Option("--suites", min=1, metavar="N", help="Suites of unchanged code.")
    ] = 20,
    slowdowns: Annotated[
        str,
        typer.Option(
            "--slowdowns",
            metavar="LIST",
            help="Slowdowns that are planted, with commas; none for unchanged code alone.",
        ),
    ] = "2%,5%,10%",
    max_regression: Annotated[
        str, typer.Option("--max-regression", metavar="SHARE", help="The gate's limit.")
    ] = "5%",
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Of each comparison.")
    ] = "2m",
    apart: Annotated[
        bool, typer.Option("--apart", help="Give each version a process of its own.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Compare unchanged code, and planted slowdowns, and print how often each fails the gate.

    It takes about half a minute a suite. Do nothing else on the machine meanwhile, or the figures
    are those of a busy one.
    """
    try:
        rules = Rules(
            limit=share(max_regression, "--max-regression"), budget=seconds(budget, "--budget")
        )
        is_alone = slowdowns.strip() == "none"
        texts = [] if is_alone else slowdowns.split(",")
        planted = [share(text, "--slowdowns") for text in texts]
        with subjects(rules, apart=apart) as compared:
            found = calibrate(
                suites, planted, compared, say=lambda text: print(text, file=sys.stderr)
            )
    except Unusable as error:
        raise InputError(f"bench calibrate: {error}") from None
    except Untrusted as error:
        raise InvalidRun(f"bench calibrate: {error}") from None
    mode = "processes of their own" if apart else "one process"
    if as_json:
        print(json.dumps({"schema_version": 1, "mode": mode, **_json(found, rules)}))
    else:
        print(f"mode: {mode}")
        for line in lines(found, rules):
            print(line)
    sys.stdout.flush()
    return 130 if found.is_interrupted else 0


def _json(found: Calibration, rules: Rules) -> dict[str, object]:
    return {
        "max_regression": rules.limit,
        "rates": [
            {
                "planted": rate.planted,
                "suites": rate.tried,
                "fail": rate.failed,
                "slower": rate.slower,
                "undecided": rate.undecided,
                "fail_at_most": rate.at_most,
                "fail_at_least": rate.at_least,
            }
            for rate in (found.unchanged, *found.planted)
            if rate.tried
        ],
    }
