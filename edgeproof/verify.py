"""edgeproof verify: the simulation's model against closed forms."""

from __future__ import annotations

import json as json_text
import math
import sys
from typing import Annotated, Any

import typer

from core.errors import InputError
from core.units import parse_ratio
from edgeproof.finish import show_table
from edgeproof.notices import tell_plain
from edgeproof.options import JsonOption, PlainOption
from edgeproof.progress import Display
from sim.verification import LIMIT, REPLICATIONS, Verified, cases, verify

CUSTOMERS, QUICK = 40_000, 6_000

OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="CASE", help="Check this case alone, e.g. M/M/1; repeatable."),
]
QuickOption = Annotated[
    bool, typer.Option("--quick", help="Take fewer customers: a few seconds, wider intervals.")
]
PlantOption = Annotated[
    str | None,
    typer.Option(
        "--plant", metavar="P%",
        help="Plant an error: services, TTLs or the capacity are P% larger than theory knows.",
    ),
]  # fmt: skip


def command(
    only: OnlyOption = None,
    quick: QuickOption = False,
    plant: PlantOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Check the simulation against closed forms: queues, LRU and TTL caches.

    Each case is run 20 times. It fails if |t| is 3.9 or more, which chance brings about once in a
    thousand. The last column is the smallest error that the check would have caught. The exit code
    is 1 if a case fails.

    Example: edgeproof verify --only M/M/1 --plant 5%
    """
    tell_plain(plain=plain, as_json=json)
    planted = _planted(plant)
    known = list(cases(QUICK if quick else CUSTOMERS))
    names = [case.name for case in known]
    for name in only or ():
        if name not in names:
            raise InputError(f"--only {name!r} is no case; give one of {', '.join(names)}")
    chosen = [case for case in known if not only or case.name in only]
    found: list[Verified] = []
    display = Display(plain=plain, quiet=json)
    with display.open():
        for number, case in enumerate(chosen):
            display.update("verifying", number / len(chosen), case.name)
            found.append(verify(case, planted=planted))
        display.update("verifying", 1.0)
    failed = [each.case.name for each in found if not each.holds]
    if json:
        print(json_text.dumps({"cases": [_data(each) for each in found], "failed": failed}))
    else:
        show_table(_table(found), plain=plain)
        about = f"{REPLICATIONS} replications a case; a case fails if |t| is {LIMIT} or more."
        print(f"{about} Caught: the smallest error that is caught 19 times in 20.")
        if planted:
            print(f"Planted: {100 * planted:g} % more than theory knows.")
        verdict = f"FAIL: {', '.join(failed)}" if failed else "PASS: the model agrees with theory"
        print(f"{verdict}.")
    sys.stdout.flush()
    return 1 if failed else 0


def _planted(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        share = parse_ratio(text)
    except ValueError as error:
        raise InputError(f"--plant: {error}; give a percentage such as 5%") from None
    if not 0 <= share <= 0.5:
        raise InputError(f"--plant is {text}; give 0% to 50%, such as 5%")
    return float(share)


def _table(found: list[Verified]) -> list[tuple[str, ...]]:
    rows = [("case", "figure", "theory", "estimate", "95 % interval", "t", "caught", "verdict")]
    for each in found:
        low, high = each.interval
        caught = "none" if each.caught is None else f"{_percent(each.caught)} {each.case.error}"
        rows.append(
            (
                each.case.name, each.case.what, f"{each.theory:.5g}", f"{each.estimate:.5g}",
                f"{low:.5g}-{high:.5g}", f"{each.t:+.2f}", caught,
                "PASS" if each.holds else "FAIL",
            )
        )  # fmt: skip
    return [*rows]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 1e-4 else "<0.01 %"


def _data(each: Verified) -> dict[str, Any]:
    return {
        "case": each.case.name,
        "figure": each.case.what,
        "theory": each.theory,
        "estimate": each.estimate,
        "interval": list(each.interval),
        "t": each.t if math.isfinite(each.t) else "Infinity",
        "caught": each.caught,
        "error": each.case.error,
        "holds": each.holds,
    }
