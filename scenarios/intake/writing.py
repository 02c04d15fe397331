"""The files of an imported log: scenario, trace and rules, all of them or none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np

from core.errors import InputError
from scenarios.intake.chunk import NO_KEY
from scenarios.intake.figures import MINUTE, busiest, rates, zipf_exponent
from scenarios.intake.ordering import Accesses
from scenarios.intake.rules import LEFT_OUT, Rule
from scenarios.intake.scenario_text import SubjectFigures, Written, scenario_text
from scenarios.intake.transfer import Asked, Gathered, Progress, gather, remove, texts_between
from scenarios.intake.window import accesses_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MOST_HOURS = 48
_ROWS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the files of an import stand."""

    scenario: Path
    trace: Path
    rules: Path

    @property
    def every(self) -> tuple[Path, Path, Path]:
        """All of them."""
        return self.scenario, self.trace, self.rules


def places_of(out: Path, *, force: bool) -> Places:
    """Return where the files of --out stand; InputError if they cannot, or are there already."""
    if out.suffix != ".toml" or not _NAME.fullmatch(out.stem):
        raise InputError(
            f"--out {out}: a scenario is called NAME.toml, NAME of letters, digits, - _ and ."
        )
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}; make it first")
    places = Places(
        scenario=out, trace=out.with_suffix(".trace.csv"), rules=out.with_suffix(".rules")
    )
    for path in places.every:
        if path.is_dir() or (path.exists() and not force):
            raise InputError(
                f"{path}: is there already; name another --out, or say --force to replace it"
            )
    return places


def import_log(
    files: Sequence[Path], places: Places, asked: Asked, on_progress: Progress | None = None
) -> tuple[Gathered, Written]:
    """Write scenario, trace and rules of the access logs *files*; return what they say.

    The files appear when all are complete. Raise InputError for logs that cannot be used.
    """
    out = places.scenario
    part = out.with_name(f".{out.name}.accesses.part")
    parts = {path: path.with_name(f".{path.name}.part") for path in places.every}
    try:
        gathered = gather(files, asked, part, on_progress)
        window = gathered.window
        kept = accesses_of(part, window.first, window.stop)
        texts = texts_between(part, window.first, window.stop) if asked.keep_ids else None
        _write_trace(parts[places.trace], kept, gathered.rules, texts)
        written = _written(places, gathered, kept)
        parts[places.rules].write_text(_rules_text(gathered, written), encoding="utf-8")
        parts[places.scenario].write_text(scenario_text(written), encoding="utf-8")
        for path, ready in parts.items():
            ready.replace(path)
    except OSError as error:
        raise InputError(
            f"--out {out}: cannot be written ({error.strerror or error}); see that its disk has "
            "room"
        ) from None
    finally:
        remove(part)
        for ready in parts.values():
            with suppress(OSError):
                ready.unlink()
    return gathered, written


def _write_trace(
    file: Path, kept: Accesses, rules: Sequence[Rule], texts: Iterator[bytes] | None
) -> None:
    names = [rule.name for rule in rules]
    begin = int(kept["time"][0])
    with file.open("w", encoding="utf-8", newline="") as stream:
        stream.write("key,time,endpoint\n")
        for start in range(0, kept.size, _ROWS):
            rows = kept[start : start + _ROWS]
            times = ((rows["time"] - begin) / 1e6).tolist()
            columns = zip(rows["key"].tolist(), times, rows["rule"].tolist(), strict=True)
            if texts is None:
                stream.writelines(
                    f"{key:016x},{time:.6f},{names[rule]}\n" if key != NO_KEY
                    else f"1,{time:.6f},{names[rule]}\n" for key, time, rule in columns
                )  # fmt: skip
            else:
                stream.writelines(
                    f"{_cell(next(texts))},{time:.6f},{names[rule]}\n"
                    for _, time, rule in columns
                )  # fmt: skip


def _cell(text: bytes) -> str:
    """Return an id as a cell of a CSV, decoded from its URL; "1" for none."""
    found = unquote_to_bytes(text).decode("utf-8", "replace") or "1"
    found = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in found)[:512]
    if any(c in found for c in ',"#') or found != found.strip():
        return '"' + found.replace('"', '""') + '"'
    return found


def _written(places: Places, gathered: Gathered, kept: Accesses) -> Written:
    window, rules = gathered.window, gathered.rules
    run = kept[window.offset :]
    subjects: dict[str, SubjectFigures] = {}
    for name in dict.fromkeys(r.subject for r in rules if r.name != LEFT_OUT):
        members = [at for at, rule in enumerate(rules) if rule.subject == name]
        keys = kept["key"][np.isin(kept["rule"], members)]
        if keys.size:
            counts = np.unique(keys, return_counts=True)[1]
            subjects[name] = SubjectFigures(count=int(counts.size), exponent=zipf_exponent(counts))
    counts = np.bincount(run["rule"], minlength=len(rules)).tolist()
    every = [sum(gathered.counts), len([n for n in gathered.counts if n])]
    what = f"{every[0]:,} requests of {every[1]} endpoints"
    if window.is_whole:
        what = f"an access log: {what}"
    else:
        at = _clock(window.begin)
        what = f"the busiest {window.seconds:g} s ({at} UTC) of an access log of {what}"
    return Written(
        name=places.scenario.stem,
        description=what,
        trace=places.trace.name,
        rules_file=places.rules.name,
        rules=rules,
        counts=[max(n, 0) for n in counts],
        figures=gathered.figures.endpoints,
        subjects=subjects,
        stages=rates(run["time"] - window.begin, window.seconds),
        seconds=window.seconds,
        offset=window.offset,
        is_whole=window.is_whole,
        profile=list(_profile(gathered)),
    )


def _clock(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds // 10**6, UTC).strftime("%Y-%m-%d %H:%M")


def _profile(gathered: Gathered) -> Iterator[str]:
    """Yield the arrival rate of the log by hours, where it has several."""
    minutes = gathered.figures.minutes
    hours: dict[int, int] = {}
    for minute, count in minutes.items():
        hours[minute // 60] = hours.get(minute // 60, 0) + count
    if len(hours) < 2:
        return
    first, most = busiest(minutes, 1)
    yield ""
    yield "The log by hours (UTC):"
    for hour in sorted(hours)[:_MOST_HOURS]:
        yield f"  {_clock(hour * 60 * MINUTE)}  {hours[hour] / 3600:10.4g}/s  {hours[hour]:,}"
    if len(hours) > _MOST_HOURS:
        yield f"  ... {len(hours) - _MOST_HOURS:,} more hours"
    yield f"The busiest minute is {_clock(first * MINUTE)}: {most / 60:.4g}/s"


def _rules_text(gathered: Gathered, written: Written) -> str:
    lines = [
        "# Which requests are one endpoint. Edit, and give it back: edgeproof import log FILE...",
        f"# --rules {written.rules_file} --out {written.name}.toml --force",
        "#",
        "#   NAME = METHOD /path/{id}       {id} is the key; {} is any segment; * any method",
        "#   NAME = GET /search?q={q}       the key is a parameter of the query",
        "#   NAME = POST /track by address  the key is the client's address; or by user",
        "#   - = GET /health                left out",
        "",
    ]
    total = max(1, sum(gathered.counts))
    for rule, count in zip(gathered.rules, gathered.counts, strict=True):
        share = f"{100 * count / total:.1f} %" if rule.name != LEFT_OUT else "left out"
        lines.append(f"{rule!s:<60} # {share}")
    return "\n".join(lines) + "\n"
