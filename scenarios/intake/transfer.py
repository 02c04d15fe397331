"""One pass over access logs into a trace, and what a scenario is written from."""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from core.errors import InputError
from scenarios.intake.chunk import Left
from scenarios.intake.clustering import Collector
from scenarios.intake.figures import REASONS, EndpointFigures, Figures
from scenarios.intake.layout import Field
from scenarios.intake.log_file import LogFile, Piece, Reading
from scenarios.intake.notices import of_file, of_latencies, of_rules
from scenarios.intake.ordering import ACCESS, SORTED_WITHIN, Accesses, Waiting, outliers, spread
from scenarios.intake.recognition import Stated
from scenarios.intake.rules import LEFT_OUT, KeyFrom, Rule, check_rules
from scenarios.intake.window import Window, choose

COMPILED_FROM = 2**25
"""Bytes of logs from which the compiled reader is worth its start."""

_COMPRESSED = (".gz", ".xz", ".zst", ".bz2")
_RATIO = 8
_SAMPLE_BLOCKS = 24

Progress = Callable[[str, float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an import is asked for; rules: empty for proposed ones. window: seconds of the run."""

    stated: Stated = field(default_factory=Stated)
    rules: Sequence[Rule] = ()
    agents: tuple[str, ...] = ()
    keep_ids: bool = False
    window: float | None = None
    is_compiled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What was read of the logs.

    counts: accesses by rule, those of the trace's order alone. told and notices: of the files.
    first and last: times in microseconds since 1970.
    """

    rules: Sequence[Rule]
    figures: Figures
    counts: list[int]
    window: Window
    told: tuple[str, ...]
    notices: tuple[str, ...]
    first: int
    last: int
    sampled: int
    has_latency: bool


def open_logs(files: Sequence[Path], stated: Stated) -> tuple[list[LogFile], list[str]]:
    """Return the logs that are not empty, and a notice for each that is.

    Raise InputError for a file that cannot be used, or if all are empty.
    """
    logs: list[LogFile] = []
    empty = []
    for number, path in enumerate(files):
        if path.is_file() and any(o.exists() and o.samefile(path) for o in files[:number]):
            raise InputError(f"{path}: is given twice, and would count twice; give it once")
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError(
                f"{path}: is a pipe or a device, and a log is read twice; save it to a file (.gz "
                "will do)"
            )
        if path.is_file() and not path.stat().st_size and len(files) > 1:
            empty.append(f"{path}: is empty")
            continue
        log = LogFile(path, stated)
        same = next((o for o in logs if o.beginning and o.beginning == log.beginning), None)
        if same is not None:
            raise InputError(
                f"{path}: begins with the same requests as {same.path}, which would count twice; "
                "give one of them"
            )
        logs.append(log)
    if not logs:
        raise InputError(f"{files[0]}: is empty, as all files are; give a log with requests")
    return logs, empty


def gather(
    files: Sequence[Path], asked: Asked, part: Path, on_progress: Progress | None = None
) -> Gathered:
    """Read *files*, and write their accesses in order to *part*, with key texts beside it.

    Raise InputError for files that cannot be used.
    """
    tell = on_progress or (lambda *_: None)
    logs, notices = open_logs(files, asked.stated)
    agents = tuple(word.lower().encode() for word in asked.agents)
    rules, sampled = list(asked.rules), 0
    if not rules:
        rules, sampled = _proposed(logs, agents, tell)
    size = sum(_size(log.path) for log in logs)
    reading = Reading(
        rules=rules,
        agents=agents,
        salt=(secrets.randbits(64), secrets.randbits(64)),
        with_keys=asked.keep_ids,
        is_compiled=size >= COMPILED_FROM if asked.is_compiled is None else asked.is_compiled,
    )
    for log in logs:
        _check_fields(log, reading)
    if reading.is_compiled and any(log.found.layout is not None for log in logs):
        from scenarios.intake.compilation import prepare

        tell("preparing", 0.0, "the reader")
        prepare()
    figures = Figures(endpoints=[EndpointFigures() for _ in rules])
    waiting = Waiting()
    counts = np.zeros(len(rules), np.int64)
    first, last, total = 2**62, -(2**62), 0
    with ExitStack() as stack:
        stream = stack.enter_context(part.open("wb"))
        texts = stack.enter_context(_texts_of(part).open("wb")) if asked.keep_ids else None
        for accesses, words in _ordered(logs, reading, figures, waiting, tell):
            _write(stream, texts, accesses, words)
            figures.add_times(accesses["time"])
            counts += np.bincount(accesses["rule"], minlength=len(rules))
            first = min(first, int(accesses["time"][0]))
            last = max(last, int(accesses["time"][-1]))
            total += accesses.size
    if waiting.late:
        figures.left(Left.LATE, waiting.late, str(logs[0].path))
    if not total:
        raise InputError(_nothing(figures, logs))
    bad = sum(figures.left_out[reason] for reason in (Left.BAD_LINE, Left.BAD_TIME))
    if bad > figures.lines - bad:
        reason = max((Left.BAD_LINE, Left.BAD_TIME), key=lambda each: figures.left_out[each])
        raise InputError(
            f"{logs[0].path}: of {figures.lines:,} lines {bad:,} cannot be read ({REASONS[reason]},"
            f" first at {figures.examples[reason]}); see --format and --log-format"
        )
    notices += dict.fromkeys(notice for log in logs for notice in of_file(log))
    for rule, each in zip(rules, figures.endpoints, strict=True):
        if each.unkeyed and rule.key is not KeyFrom.NOTHING and rule.name != LEFT_OUT:
            notices.append(
                f"requests of {rule.name} without a {rule.subject}: {each.unkeyed:,}; they share a "
                "key"
            )
    notices += of_rules(rules, figures)
    tells = any(Field.LATENCY in log.found.fields for log in logs)
    notices += of_latencies(figures, tells_latency=tells)
    if waiting.moved:
        notices.append(
            f"requests that stood behind later ones: {waiting.moved:,}; sorted by their begin (a "
            "line is often written at the answer's end)"
        )
    if figures.without_zone:
        notices.append(f"{figures.without_zone:,} times have no zone and are taken as UTC")
    if figures.coarse:
        notices.append(
            "times have whole seconds; the requests of a second are spread over it at random"
        )
    return Gathered(
        rules=rules, figures=figures, counts=counts.tolist(),
        window=choose(part, figures.minutes, first, last, total, asked.window),
        told=tuple(dict.fromkeys(log.found.told for log in logs if log.found.told)),
        notices=tuple(notices), first=first, last=last, sampled=sampled,
        has_latency=any(each.latency.count for each in figures.endpoints),
    )  # fmt: skip


def _check_fields(log: LogFile, reading: Reading) -> None:
    """Raise InputError where a rule or an option needs what the lines of *log* do not tell."""
    told = log.found.fields
    for needed, what in (
        (Field.AGENT, "--ignore-agent: {} holds no user agents; leave it out"),
        (Field.ADDRESS, "by address: {} holds no addresses; choose another key"),
        (Field.USER, "by user: {} holds no users; choose another key"),
    ):
        if needed in reading.fields and needed not in told:
            raise InputError(what.format(log.path))


def _texts_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.keys")


def remove(part: Path) -> None:
    """Remove what `gather` has written."""
    for path in (part, _texts_of(part)):
        with suppress(OSError):
            path.unlink()


def texts_between(part: Path, start: int, stop: int) -> Iterator[bytes]:
    """Yield the texts of the keys of accesses from *start* to *stop*."""
    with _texts_of(part).open("rb") as stream:
        for number, line in enumerate(stream):
            if number >= stop:
                return
            if number >= start:
                yield line[:-1]


def _write(
    stream: IO[bytes], texts: IO[bytes] | None, accesses: Accesses, words: list[bytes]
) -> None:
    accesses.tofile(stream)
    if texts is not None:
        texts.writelines(word + b"\n" for word in words)


def _size(path: Path) -> int:
    size = path.stat().st_size
    return size * _RATIO if path.suffix in _COMPRESSED else size


def _proposed(
    logs: Sequence[LogFile], agents: Sequence[bytes], tell: Progress
) -> tuple[list[Rule], int]:
    """Return the rules that the logs show, and how many requests they were told by."""
    collector = Collector(agents)
    most = max(1, _SAMPLE_BLOCKS // len(logs))
    for number, log in enumerate(logs):
        for share in log.sample(collector, most):
            tell("looking", (number + share) / len(logs), "for endpoints")
    rules = collector.propose()
    if not rules:
        raise InputError(
            f"{logs[0].path}: shows no endpoint: {collector.requests:,} requests that are no "
            "static files, none answered below status 400; state endpoints with --endpoint "
            "'NAME = GET /items/{item}'"
        )
    check_rules(rules, str(logs[0].path))
    return rules, collector.requests


def _ordered(
    logs: Sequence[LogFile],
    reading: Reading,
    figures: Figures,
    waiting: Waiting,
    tell: Progress,
) -> Iterator[tuple[Accesses, list[bytes]]]:
    """Yield the accesses of all *logs* in the order of their times."""
    heap = [(log.begin, number) for number, log in enumerate(logs)]
    heapq.heapify(heap)
    streams: dict[int, Iterator[Piece]] = {}
    rngs = {n: np.random.Generator(np.random.Philox(n)) for n in range(len(logs))}
    coarse: dict[int, bool] = {}
    while heap:
        position, number = heapq.heappop(heap)
        log = logs[number]
        if number not in streams:
            streams[number] = log.pieces(reading)
        piece = next(streams[number], None)
        if piece is None:
            streams[number] = iter(())
            continue
        accesses, words = _accesses(log, piece, reading, figures, rngs[number], coarse, number)
        if accesses.size:
            position = max(position if position < 2**62 else 0, int(accesses["time"].max()))
            waiting.add(accesses, words)
        heapq.heappush(heap, (position, number))
        yield from waiting.ready(heap[0][0] - SORTED_WITHIN)
        done = sum(each.share for each in logs) / len(logs)
        tell("importing", min(done, 0.99), f"{figures.lines:,} lines")
    yield from waiting.rest()
    tell("importing", 1.0, f"{figures.lines:,} lines")


def _accesses(
    log: LogFile,
    piece: Piece,
    reading: Reading,
    figures: Figures,
    rng: np.random.Generator,
    coarse: dict[int, bool],
    number: int,
) -> tuple[Accesses, list[bytes] | None]:
    """Return the accesses of *piece*, in its order, and count its lines."""
    chunk = piece.chunk
    kept = chunk.rule >= 0
    times = chunk.time
    if kept.any():
        far = np.zeros(kept.size, np.bool_)
        far[kept] = outliers(times[kept])
        kept &= ~far
    figures.add(chunk, (str(log.path), piece.line), kept)
    chosen = np.flatnonzero(kept)
    accesses = np.empty(chosen.size, ACCESS)
    accesses["key"], accesses["rule"] = chunk.key[chosen], chunk.rule[chosen]
    at = times[chosen]
    lasts = chunk.latency[chosen]
    lasts = np.where(lasts > 0, lasts, 0) if log.found.is_end else 0 * lasts
    if number not in coarse and chosen.size > 1:
        coarse[number] = not ((at + lasts) % 10**6).any()
    if coarse.get(number, False):
        figures.coarse += chosen.size
        at = spread(at + lasts, rng) - lasts
    accesses["time"] = at
    words = None
    if chunk.key_text is not None:
        words = [chunk.key_text[place] for place in chosen.tolist()]
    return accesses, words


def _nothing(figures: Figures, logs: Sequence[LogFile]) -> str:
    why = "; ".join(
        f"{count:,} lines: {REASONS[reason]} (first at {figures.examples[reason]})"
        for reason, count in figures.left_out.most_common(3)
    )
    return f"{logs[0].path}: no line is a request of an endpoint; {why or 'it has no lines'}"
