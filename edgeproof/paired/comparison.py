"""The comparison: fresh processes until each benchmark is decided, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from time import monotonic

from edgeproof.paired.processes import Clock, Crashed, Event, Task, TimeUp, Turn, repetition
from edgeproof.paired.result import BenchmarkRow, Comparison, Count, Missing, Rules, told_processes
from edgeproof.paired.verdicts import ENOUGH, FEWEST, Verdict, Word, judged

MOST = 32
"""The most processes: twice as many would not decide an undecided benchmark."""
CONFIRMING_SHARE = 0.3
"""The share of the budget that is kept for confirming slower benchmarks."""
SPEEDS_DIFFER = 0.05

Measured = list[tuple[float, float]]
"""Pairs of one process."""
Repeat = Callable[[Task, Turn], Iterator[Event]]


class Untrusted(Exception):
    """A comparison that cannot be trusted (exit code 3)."""


class Empty(Untrusted):
    """Neither version has a benchmark, possibly because of the selection."""


@dataclass(slots=True)
class _Found:
    """The results of the processes so far."""

    pairs: dict[str, list[Measured]] = field(default_factory=dict)
    confirming: dict[str, list[Measured]] = field(default_factory=dict)
    sides: dict[str, list[str]] = field(default_factory=dict)
    broken: dict[str, dict[str, str]] = field(default_factory=dict)
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)
    extra: dict[str, dict[str, dict[str, set[int]]]] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    speeds: list[float] = field(default_factory=list)
    has_code: bool | None = None
    processes: int = 0

    def unusable(self) -> set[str]:
        """Return the benchmarks that a version skips or fails."""
        return {
            name
            for of_sides in (self.broken, self.skipped)
            for of_side in of_sides.values()
            for name in of_side
        }


def compare(
    task: Task,
    rules: Rules,
    *,
    say: Callable[[str, float], None],
    clock: Clock = monotonic,
    repeat: Repeat = repetition,
) -> Comparison:
    """Measure until each benchmark is decided or the budget is spent; report progress to *say*.

    A benchmark that reads as slower is measured again in further processes, and counts as slower
    only if these confirm it. Raise Untrusted if files changed meanwhile or nothing was
    compared, Unusable if a version cannot be run.
    """
    started = clock()
    found = _Found()
    is_interrupted = False
    notes: list[str] = []
    confirmed: set[str] = set()
    try:
        numbers = count()
        last = started + rules.budget
        first = last - rules.budget * CONFIRMING_SHARE

        def measure(
            pairs: dict[str, list[Measured]], deadline: float, only: Sequence[str] | None
        ) -> None:
            _measure(task, rules, found, pairs, deadline, numbers, only, clock, repeat, say)

        measure(found.pairs, first, None)
        suspects = _suspects(found, found.pairs, rules)
        if not suspects and (open_ := _undecided(found, found.pairs, rules)):
            measure(found.pairs, last, open_)
            suspects = _suspects(found, found.pairs, rules)
        if suspects:
            say(f"measuring again, to confirm: {', '.join(map(_short, suspects))}", 1.0)
            measure(found.confirming, last, suspects)
            confirmed = {*_suspects(found, found.confirming, rules)}
    except KeyboardInterrupt:
        is_interrupted = True
        notes.append("interrupted: what had been decided by then")
    rows, missing = tuple(_rows(found, rules, confirmed)), tuple(_missing(found))
    if not any((rows, missing, *found.sides.values())) and not is_interrupted:
        raise Empty(
            "nothing was compared: there is no benchmark (a test with the fixture `benchmark`)"
        )
    if not rows and not is_interrupted and (rules.allow_missing or not missing):
        raise Untrusted(
            "nothing was compared: no benchmark (a test with the fixture `benchmark`) runs in "
            "both versions"
        )
    return Comparison(
        rows=rows,
        missing=missing,
        notes=(*notes, *_code_notes(found.has_code), *_speed_notes(found.speeds)),
        faults=() if is_interrupted else tuple(_faults(found, rows, rules)),
        is_interrupted=is_interrupted,
        seconds=clock() - started,
        processes=found.processes,
    )


def _measure(
    task: Task,
    rules: Rules,
    found: _Found,
    pairs: dict[str, list[Measured]],
    deadline: float,
    numbers: Iterator[int],
    only: Sequence[str] | None,
    clock: Clock,
    repeat: Repeat,
    say: Callable[[str, float], None],
) -> None:
    longest = 0.0
    for number in range(MOST):
        if number and clock() + longest > deadline:
            return
        begun = clock()
        turn = Turn(
            number=next(numbers), only=None if only is None else tuple(only), deadline=deadline
        )
        try:
            for event in repeat(task, turn):
                _take(event, found, pairs)
                if event["event"] == "files":
                    found.has_code = bool(found.has_code) or _has_code(event, task)
        except TimeUp:
            return
        except Crashed as crash:
            raise Untrusted(str(crash)) from None
        finally:
            found.processes += 1
        longest = max(longest, clock() - begun)
        undecided = _undecided(found, pairs, rules, only)
        done = len(found.pairs) - len(undecided)
        say(f"{told_processes(found.processes)}, {done} of {len(found.pairs)} benchmarks decided",
            1 - len(undecided) / max(1, len(found.pairs)))  # fmt: skip
        if not undecided:
            return
        only = undecided


def _undecided(
    found: _Found,
    pairs: dict[str, list[Measured]],
    rules: Rules,
    only: Sequence[str] | None = None,
) -> list[str]:
    is_confirming = pairs is found.confirming
    return [
        name
        for name in found.pairs
        if (only is None or name in only)
        and not _is_done(name, found, pairs, rules, is_confirming=is_confirming)
    ]


def _is_done(
    name: str,
    found: _Found,
    pairs: Mapping[str, list[Measured]],
    rules: Rules,
    *,
    is_confirming: bool,
) -> bool:
    of_name = pairs.get(name, [])
    if len(of_name) < FEWEST:
        return name in found.unusable()
    verdict = _judged(name, found, pairs, rules)
    if is_confirming:
        return verdict.word is not Word.UNDECIDED or verdict.processes >= ENOUGH
    return verdict.is_decided(rules.limit)


def _judged(
    name: str,
    found: _Found,
    pairs: Mapping[str, list[Measured]],
    rules: Rules,
) -> Verdict:
    return judged(pairs.get(name, []), limit=rules.limit, benchmarks=len(found.pairs))


def _suspects(found: _Found, pairs: Mapping[str, list[Measured]], rules: Rules) -> list[str]:
    return [name for name in pairs if _judged(name, found, pairs, rules).word is Word.SLOWER]


def _take(event: Event, found: _Found, pairs: dict[str, list[Measured]]) -> None:
    kind = event["event"]
    if kind == "collected":
        found.sides.update(event["sides"])
        for name in event["chosen"]:
            found.pairs.setdefault(name, [])
    elif kind == "measured":
        name = event["benchmark"]
        pairs.setdefault(name, []).append([(base, head) for base, head in event["pairs"]])
        found.speeds.append(event["speed"])
    elif kind == "side":
        side = event["name"]
        found.broken.setdefault(side, {}).update(event["broken"])
        found.skipped.setdefault(side, {}).update(event["skipped"])
        for name, parts in event["extra"].items():
            of_name = found.extra.setdefault(side, {}).setdefault(name, {})
            for numbers in parts.values():
                for figure, value in numbers.items():
                    of_name.setdefault(figure, set()).add(value)
            found.declared |= {f"{name}\0{figure}" for figure in parts["counts"]}
    elif kind == "files":
        for place, stamp in event["files"].items():
            if found.files.setdefault(place, tuple(stamp)) != tuple(stamp):
                raise Untrusted(f"{place} was changed while the versions were compared")


def _rows(found: _Found, rules: Rules, confirmed: set[str]) -> Iterator[BenchmarkRow]:
    unusable = found.unusable()
    for name in found.pairs:
        if name in unusable:
            continue
        verdict = _judged(name, found, found.pairs, rules)
        if verdict.word is Word.SLOWER:
            verdict = _of_all(name, found, rules, is_confirmed=name in confirmed)
        is_regression = verdict.is_beyond(rules.limit)
        yield BenchmarkRow(
            name=name, verdict=verdict, is_regression=is_regression,
            counts=tuple(_counts(name, found, rules)),
        )  # fmt: skip


def _of_all(name: str, found: _Found, rules: Rules, *, is_confirmed: bool) -> Verdict:
    """Return what all processes say of a benchmark that read as slower before it was confirmed."""
    again = found.confirming.get(name, [])
    verdict = _judged(name, found, {name: [*found.pairs[name], *again]}, rules)
    if is_confirmed or verdict.word is not Word.SLOWER:
        return verdict
    reason = "it read as slower, and "
    if len(again) < FEWEST:
        reason += "the run ended before that was confirmed; give a larger budget"
    else:
        reason += "fresh processes did not confirm it"
    return Verdict(
        word=Word.UNDECIDED, base=verdict.base, head=verdict.head, ratio=verdict.ratio,
        interval=verdict.interval, processes=verdict.processes, pairs=verdict.pairs, reason=reason,
    )  # fmt: skip


def _counts(name: str, found: _Found, rules: Rules) -> Iterator[Count]:
    base, head = (found.extra.get(side, {}).get(name, {}) for side in ("base", "head"))
    for figure in sorted(base.keys() & head.keys()):
        is_count = (
            figure in rules.counts
            or figure == "count"
            or figure.endswith("_count")
            or f"{name}\0{figure}" in found.declared
        )
        # A count that varies within a version is not exact, and proves nothing.
        if is_count and len(base[figure]) == len(head[figure]) == 1:
            yield Count(name=figure, base=min(base[figure]), head=min(head[figure]))


def _faults(found: _Found, rows: Sequence[BenchmarkRow], rules: Rules) -> Iterator[str]:
    """Yield a line for each requested count that no benchmark compares."""
    compared = {count.name for row in rows for count in row.counts}
    known = [
        {figure for figures in found.extra.get(side, {}).values() for figure in figures}
        for side in ("base", "head")
    ]
    for name in dict.fromkeys(rules.counts):
        if name in compared:
            continue
        if name in known[0] & known[1]:
            why = "is in no benchmark a whole number that stays the same in each version"
        elif name in known[0] ^ known[1]:
            why = f"only {'base' if name in known[0] else 'head'} has it"
        else:
            there = ", ".join(sorted(known[0] & known[1])[:8]) or "none"
            why = f"no benchmark's extra_info has a whole number of that name; there are: {there}"
        yield f"--count {name}: {why}"


def _missing(found: _Found) -> Iterator[Missing]:
    sides = {side: {*found.sides.get(side, [])} for side in ("base", "head")}
    broken = {side: found.broken.get(side, {}) for side in ("base", "head")}
    skipped = {side: found.skipped.get(side, {}) for side in ("base", "head")}
    for name in sorted(
        sides["base"] | sides["head"] | broken["base"].keys() | broken["head"].keys()
    ):
        if name in broken["head"] and name in broken["base"]:
            yield Missing(name=name, told=f"broken in both: {broken['head'][name]}")
        elif name in broken["head"]:
            yield Missing(name=name, told=f"broken in head: {broken['head'][name]}", fault=True)
        elif name in broken["base"]:
            yield Missing(name=name, told=f"broken in base: {broken['base'][name]}")
        elif name not in sides["head"]:
            yield Missing(name=name, told="gone: only base has it")
        elif name not in sides["base"]:
            yield Missing(name=name, told="new: only head has it")
        elif (name in skipped["base"]) != (name in skipped["head"]):
            side = "base" if name in skipped["base"] else "head"
            yield Missing(name=name, told=f"skipped in {side} only: {skipped[side][name]}")


def _has_code(event: Event, task: Task) -> bool:
    """Return whether a version loaded more than its benchmarks' files."""
    suite = next((of["suite"] for of in task.worlds if of.get("name") == event["name"]), ())
    places = [Path(text.partition("::")[0]) for text in suite]
    folders = [place if place.is_dir() else place.parent for place in places]
    return any(not any(map(Path(file).is_relative_to, folders)) for file in event["files"])


def _code_notes(has_code: bool | None) -> Iterator[str]:
    if has_code is False:
        yield (
            "no version loaded code of its own but the benchmarks; if that is not meant, name the "
            "folder of the packages within a version: --path DIR"
        )


def _speed_notes(speeds: Sequence[float]) -> Iterator[str]:
    if len(speeds) < 4:
        return
    middle = len(speeds) // 2
    ratio = median(speeds[middle:]) / median(speeds[:middle])
    if not 1 / (1 + SPEEDS_DIFFER) <= ratio <= 1 + SPEEDS_DIFFER:
        yield (
            f"this machine was {abs(1 / ratio - 1):.0%} {'slower' if ratio > 1 else 'faster'} in "
            "the second half of the run; pairs meet the same speed, medians of times do not"
        )


def _short(name: str) -> str:
    return name.rpartition("::")[2]
