"""edgeproof bench promise: what this project promises about its speed, held in one run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Annotated, Any

import typer

from bench.halves import Speeds
from bench.promise import LOOKS, Pairs, Promise, Verdict, Word, judged
from bench.promises import PROMISES
from core.errors import InputError
from edgeproof.ci import is_in_ci
from edgeproof.options import JsonOption
from edgeproof.paired.options import seconds
from edgeproof.paired.result import told_processes
from edgeproof.paired.versions import Unusable
from edgeproof.promised import Crashed, TimeUp, block_of

Measure = Callable[[Promise, int, float], Pairs]
"""Measures a promise in a fresh process: its number, and the monotonic time at which it ends."""

_ADVICE = "ratios are of turns that meet the same speed; a rate may differ for that alone"


@dataclass(slots=True)
class Held:
    """A promise, the pairs of each process so far, and what they come to.

    fault: what ended a process early, which makes the run untrusted.
    """

    promise: Promise
    blocks: list[Pairs] = field(default_factory=list)
    verdict: Verdict = field(default_factory=lambda: Verdict(word=Word.UNDECIDED))
    longest: float = 0.0
    fault: str = ""


def command(
    select: Annotated[
        str | None,
        typer.Option("-k", metavar="NAME", help="Only promises whose name holds NAME."),
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Stop after this time, e.g. 90s.")
    ] = "10m",
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Exit with 4 if a promise is undecided or could not be measured."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Hold what this project promises about its speed: KEPT, BROKEN, UNDECIDED or NOT MEASURED.

    Each promise is a ratio, measured in turns in fresh processes, with an interval at 95 % over the
    three looks at it. Exit code 1: one is broken; 3: a measuring process failed, and the other
    promises are held. In CI, what could not be measured exits with 4, as with --strict.
    """
    chosen = [promise for promise in PROMISES if select is None or select in promise.name]
    if not chosen:
        names = ", ".join(promise.name for promise in PROMISES)
        raise InputError(f"bench promise: -k {select}: no promise's name holds that; of {names}")
    try:
        limit = seconds(budget, "--budget")
    except Unusable as error:
        raise InputError(f"bench promise: {error}") from None
    held = [Held(promise=promise) for promise in chosen]
    speeds, is_interrupted = Speeds(), False
    try:
        hold(held, budget=limit, measure=block_of, speeds=speeds, say=_note)
    except KeyboardInterrupt:
        is_interrupted = True
        for one in held:
            if one.verdict.word is Word.UNDECIDED:
                one.verdict = replace(one.verdict, reason="interrupted before it was decided")
    code = exit_code([one.verdict for one in held], strict=strict, environment=os.environ)
    code = 3 if any(one.fault for one in held) else code
    code = 130 if is_interrupted else code
    note = speeds.line(_ADVICE)
    if as_json:
        print(json.dumps(_json(held, note, code), allow_nan=False))
    else:
        for line in (*([note] if note else []), *table(held)):
            print(line)
    sys.stdout.flush()
    return code


def hold(
    held: Sequence[Held],
    *,
    budget: float,
    measure: Measure,
    speeds: Speeds,
    say: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = monotonic,
) -> None:
    """Measure each promise, a process of each in turn, until all are decided or *budget* is spent.

    budget: seconds. A promise whose process ends early is not measured; the others are.
    """
    end = clock() + budget
    for one in held:
        if lacks := one.promise.lacks():
            one.verdict = Verdict(word=Word.NOT_MEASURED, reason=lacks)
    try:
        for number in range(LOOKS[-1]):
            if all(one.verdict.is_decided for one in held):
                break
            _one_of_each(held, number, end, measure, speeds, clock, say)
            open_ = [one for one in held if not one.verdict.is_decided]
            done = len(held) - len(open_)
            say(f"{told_processes(number + 1)} of each, {done} of {len(held)} decided")
            if not any(clock() + one.longest < end for one in open_):
                break
        speeds.sample()
    finally:
        for one in held:
            if not one.verdict.is_decided:
                one.verdict = judged(one.promise, one.blocks)


def _one_of_each(
    held: Sequence[Held],
    number: int,
    end: float,
    measure: Measure,
    speeds: Speeds,
    clock: Callable[[], float],
    say: Callable[[str], None],
) -> None:
    for one in held:
        started = clock()
        if one.verdict.is_decided or started + one.longest >= end:
            continue
        speeds.sample()
        try:
            one.blocks.append(measure(one.promise, number, end))
        except TimeUp:
            return
        except Crashed as crash:
            one.fault = str(crash)
            one.verdict = Verdict(word=Word.NOT_MEASURED, reason=one.fault)
            say(f"{one.promise.name} {Word.NOT_MEASURED}: {one.fault}")
            continue
        one.longest = max(one.longest, clock() - started)
        if len(one.blocks) in LOOKS:
            one.verdict = judged(one.promise, one.blocks)


def exit_code(verdicts: Sequence[Verdict], *, strict: bool, environment: Mapping[str, str]) -> int:
    """Return 1 if a promise is broken; 4 if one is undecided, or not measured, and that counts.

    A runner that lacks a program would else pass in silence; what noise leaves open would not.
    """
    words = {verdict.word for verdict in verdicts}
    if Word.BROKEN in words:
        return 1
    counts = {Word.UNDECIDED, Word.NOT_MEASURED} if strict else set()
    if is_in_ci(environment):
        counts |= {Word.NOT_MEASURED}
    return 4 if words & counts else 0


def table(held: Sequence[Held]) -> Iterator[str]:
    """Yield the table, the reasons of what is not decided, and a sentence."""
    rows: list[tuple[str, ...]]
    rows = [("promise", "", "limit", "measured", "95 % interval", "verdict")]
    rows += [_cells(one) for one in held]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.rjust(width) if column in (2, 3, 4) else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
    for one in held:
        if one.verdict.reason:
            yield f"{one.promise.name} {one.verdict.word}: {one.verdict.reason}"
    words = [one.verdict.word for one in held]
    told = ", ".join(f"{words.count(word)} {word}" for word in Word if word in words)
    yield f"{told}. {told_processes(sum(len(one.blocks) for one in held))}."


def _cells(one: Held) -> tuple[str, ...]:
    promise, ratio = one.promise, one.verdict.ratio
    limit, measured, interval = f"<= {promise.limit:.2f}", "", ""
    if promise.rate is not None:
        rate, unit = promise.rate
        limit = f">= {rate / 1e6:g} M {unit}"
        if ratio is not None:
            measured = f"{rate / ratio.median / 1e6:.1f} M"
            interval = f"{rate / ratio.high / 1e6:.1f} to {rate / ratio.low / 1e6:.1f} M"
    elif ratio is not None:
        measured, interval = f"{ratio.median:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}"
    return promise.name, promise.says, limit, measured, interval, str(one.verdict.word)


def _json(held: Sequence[Held], note: str, code: int) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "exit_code": code,
        "note": note,
        "promises": [
            {
                "name": one.promise.name,
                "says": one.promise.says,
                "limit": one.promise.limit,
                "rate": None if one.promise.rate is None else one.promise.rate[0],
                "verdict": str(one.verdict.word),
                "reason": one.verdict.reason,
                "ratio": None if (ratio := one.verdict.ratio) is None else ratio.median,
                "interval": None if ratio is None else [ratio.low, ratio.high],
                "pairs": 0 if ratio is None else ratio.pairs,
                "processes": len(one.blocks),
            }
            for one in held
        ],
    }


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
