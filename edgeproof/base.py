"""edgeproof bench compare-base and accept-base: our own speed beside a pinned revision."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from bench.base import ROOT, find, is_changed, move
from core.errors import InputError, InvalidRun
from edgeproof.ci import is_in_ci
from edgeproof.paired.calibration import ALONE
from edgeproof.paired.comparison import Untrusted
from edgeproof.paired.options import Shown, run, seconds
from edgeproof.paired.request import OWN_SUITE, Request
from edgeproof.paired.result import Rules
from edgeproof.paired.versions import Unusable

FILES = ("bench_cache.py", "bench_simulation.py", "bench_attribution.py")
CHOSEN = (
    "test_l1_hit_through_the_tiers",
    "test_l2_hit_in_memory",
    "test_full_miss",
    "test_simulated_requests",
    "test_attribution_batch_of_50_conversions",
)
"""The benchmarks that every change is held to."""
LIMIT = 0.10


def compare_base(
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Stop after this time, e.g. 90s.")
    ] = "70s",
) -> int:
    """Compare five benchmarks with the revision that bench/base.json pins; fail beyond 10 %.

    What is undecided passes. Where the clone lacks the revision it is fetched if CI is set, and
    else nothing is compared, with a line that says so. The same goes for sources without a git
    history, in CI, too: there is nothing to fetch from.
    """
    try:
        rules = Rules(limit=LIMIT, budget=seconds(budget, "--budget"), allow_missing=True)
        in_ci = is_in_ci(os.environ)
        base = find(may_fetch=in_ci)
        if base.absence:
            told = f"bench compare-base: {base.absence}; {base.remedy}"
            if in_ci and base.has_history:
                raise InputError(told)
            print(f"{told}. Nothing was compared.")
            return 0
        if not is_changed(base.revision):
            print(f"Nothing that is measured differs from the base, {base.revision[:10]}.")
            return 0
        asked = Request(
            base=base.revision,
            head=None,
            project=ROOT,
            suite=tuple(f"{OWN_SUITE}/{name}" for name in FILES),
            options=(*ALONE, "-k", " or ".join(CHOSEN)),
            same_suite=True,  # a change of the benchmarks is no change of speed
        )
        code = run(asked, rules, Shown())
        if code == 1:
            print(
                "If that is meant, commit it, and then: edgeproof bench accept-base HEAD "
                "--reason TEXT",
                file=sys.stderr,
            )
        return code
    except Unusable as error:
        raise InputError(f"bench compare-base: {error}") from None
    except Untrusted as error:
        raise InvalidRun(
            f"bench compare-base: {error}; if the benchmarks no longer run on the base, move it "
            "with edgeproof bench accept-base"
        ) from None


def accept_base(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="The merged revision to compare with.")
    ],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why the base moves; it is kept.")
    ],
) -> int:
    """Pin another revision for compare-base and keep the reason beside it."""
    print(f"The base is {move(revision, reason)[:10]}; the reason stands in bench/base.json.")
    return 0
