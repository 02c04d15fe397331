"""The joiner between the channels of a path: ">", an arrow, or another text, found or refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.attribution.path_lists import listed
from core.attribution.paths import Integers
from core.errors import InputError

DEFAULT = ">"
_ARROW = re.compile(r"[→⇒⟶⟹⇨➔➜➝➞➡⮕▶►▸»›＞〉❯]\ufe0f?|[-=–—~]*&gt;")
"""Arrows, and ">" as HTML and XML write it; an emoji's arrow ends with a selector."""
_BARS = ("|", ";")
"""Joiners that are recognised beside ">": few names hold them."""
_BACKWARD = re.compile(r"[←⇐⟵⟸⬅◀◄«‹＜〈❮]|(?<![\w<])<[-=]+|<<|&lt;")
_TAIL = re.compile(r"[-=–—~|]+\s*$")  # of an arrow before its ">"
_APART = re.compile(r"\s[-=–—~|]+\s*$")
_WEAK = (
    "|",
    ";",
    ",",
    "/",
    "\\",
    " - ",
    " – ",
    " — ",
    " + ",
    "::",
    "~",
    "^",
    "•",
    "·",
    "\t",
    "\n",
    "<",
)
_RARE = re.compile(r"\s(?:then|to|and|&)\s|\s*[^\w\s()\[\]{}'\"]+\s*|_+", re.IGNORECASE)
_MOST_RARE = 50
_HAS_WEAK = re.compile("|".join(map(re.escape, _WEAK)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Paths as they were split: `texts` are the parts between joiners, spaces included.

    codes: positions in texts, one a touch; offsets: as in `Paths`. seen: the place of the first
    occurrence of each of texts, for errors. joiner: of the paths; is_given: whether the caller gave
    the joiner, so nothing is guessed.
    """

    texts: Sequence[str]
    codes: NDArray[np.int32]
    offsets: Integers
    seen: Sequence[str]
    joiner: str
    is_given: bool


def named(parts: Parts) -> tuple[tuple[str, ...], NDArray[np.int32], Integers, list[str]]:
    """Return the channels' names, the codes among them, offsets, and notices.

    Split at ">", an arrow ("->", "=>", ">>", "→", "»") joins as well. Any other joiner is
    recognised by channels of a path that also stand alone or elsewhere; beside ">" only "|" and
    ";" are. Notices tell of each. Raise InputError for a channel without a name, for paths from
    right to left, and where two readings are possible.
    """
    notes: list[str] = []
    if parts.is_given:
        if len(parts.codes) and len(parts.codes) == int((np.diff(parts.offsets) > 0).sum()):
            notes.append(f"no path holds the joiner {parts.joiner!r}: each is one channel")
        return *_coded(parts, [text.strip() for text in parts.texts]), parts.offsets, notes
    parts = _undoubled(parts, notes)
    is_last = np.zeros(len(parts.codes), dtype=np.bool_)
    is_last[parts.offsets[1:][np.diff(parts.offsets) > 0] - 1] = True
    if is_last.all():
        parts = _unjoined(parts, notes)
        return *_coded(parts, [text.strip() for text in parts.texts]), parts.offsets, notes
    names = [text.strip() for text in parts.texts]
    followed = np.flatnonzero(np.bincount(parts.codes[~is_last]))
    _cut_tails(parts, names, followed.tolist(), notes)
    parts, names = _split_others(parts, names, notes)
    return *_coded(parts, names), parts.offsets, notes


def _coded(parts: Parts, names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the distinct *names*, in their order, and the codes among them."""
    numbers: dict[str, int] = {}
    for place, name in enumerate(names):
        if not name:
            raise InputError(
                f"{parts.seen[place]} has a channel without a name; join channels by "
                f"' {parts.joiner} '"
            )
        numbers.setdefault(name, len(numbers))
    moved = np.array([numbers[name] for name in names], dtype=np.int32)
    return tuple(numbers), moved[parts.codes] if len(moved) else parts.codes


def _undoubled(parts: Parts, notes: list[str]) -> Parts:
    """Return *parts* of paths joined by ">>" as if one ">" had joined them."""
    if "" not in parts.texts:
        return parts
    empty = parts.codes == parts.texts.index("")
    lengths = np.diff(parts.offsets)
    place = np.arange(len(parts.codes)) - np.repeat(parts.offsets[:-1], lengths)
    if (empty != (place % 2 == 1)).any() or (lengths[lengths > 0] % 2 == 0).any():
        return parts  # a channel has no name
    notes.append("channels are joined by '>>'")
    before = np.concatenate(([0], np.cumsum(~empty)))
    gone = parts.texts.index("")
    left = parts.codes[~empty]
    return Parts(
        texts=[text for text in parts.texts if text],
        codes=left - (left > gone).astype(np.int32),
        offsets=before[parts.offsets],
        seen=[seen for text, seen in zip(parts.texts, parts.seen, strict=True) if text],
        joiner=parts.joiner,
        is_given=False,
    )


def _cut_tails(parts: Parts, names: list[str], followed: Sequence[int], notes: list[str]) -> None:
    """Take from *names* the tails of arrows; *followed*: those that stand before a ">"."""
    tailed = [code for code in followed if _TAIL.search(names[code])]
    if not tailed:
        return
    example = names[tailed[0]]
    tail = _TAIL.search(example)
    arrow = f"{tail[0].strip() if tail else ''}>"
    if len(tailed) < len(followed):
        known = {name for code, name in enumerate(names) if code not in set(tailed)}
        for code in tailed:
            if not _APART.search(names[code]) and _TAIL.sub("", names[code]).strip() not in known:
                raise InputError(
                    f"{parts.seen[code]} is joined by {arrow!r}, other paths by '>'; join all by "
                    "one, or give --joiner '>' if the names of channels end so"
                )
        arrow = f"{arrow}' and by '>"
    notes.append(f"channels are joined by '{arrow}'")
    for code in tailed:
        names[code] = _TAIL.sub("", names[code]).strip()


def _split_others(parts: Parts, names: list[str], notes: list[str]) -> tuple[Parts, list[str]]:
    """Return *parts* and *names*, those split that are themselves paths with another joiner."""
    known = set(names)
    joiners: dict[str, int] = {}
    for code, name in enumerate(names):
        if found := _BACKWARD.search(name):
            raise _refused(parts.seen[code], found[0])
        if found := _ARROW.search(name):
            joiners.setdefault(found[0], code)
        elif _HAS_WEAK.search(name):
            for joiner in _WEAK:
                steps = _steps(name, joiner)
                if len(steps) > 1 and known.issuperset(steps):
                    if joiner not in _BARS:
                        raise _refused(parts.seen[code], joiner.strip() or "a tab")
                    joiners.setdefault(joiner, code)
    if not joiners:
        return parts, names
    shown = " and by ".join(map(repr, joiners))
    notes.append(f"channels are joined by '>' and by {shown}; --joiner '>' says otherwise")
    arrows = re.compile("|".join(map(re.escape, joiners)))

    def split(name: str) -> list[str]:
        steps = [step.strip() for step in arrows.split(name)]
        is_path = _ARROW.search(name) is not None or known.issuperset(steps)
        return steps if is_path else [name]

    cut = _split(replace(parts, texts=names), split)
    return cut, list(cut.texts)


def _refused(seen: str, joiner: str) -> InputError:
    return InputError(
        f"{seen} seems to be joined by {joiner!r}, other paths by '>'; join all by one, or give "
        f"--joiner '>' if {joiner!r} is part of a channel's name"
    )


def _unjoined(parts: Parts, notes: list[str]) -> Parts:
    """Return *parts* of paths without any ">", split at the arrows that they hold.

    Raise InputError if the paths seem to have another joiner: the channels of a path also stand in
    other places.
    """
    for code, text in enumerate(parts.texts):
        if found := _BACKWARD.search(text):
            raise _from_right_to_left(parts.seen[code], found[0])
    if any(map(_ARROW.search, parts.texts)):
        arrows = sorted({arrow for text in parts.texts for arrow in _ARROW.findall(text)})
        notes.append(f"channels are joined by {' and by '.join(map(repr, arrows))}")
        return _split(parts, _ARROW.split)
    if (steps := listed(parts.texts)) is not None:
        notes.append(f"paths are lists of channels, such as {parts.texts[0].strip()[:40]!r}")
        return _split(parts, steps.__getitem__)
    candidates: dict[str, int] = {}
    for code, text in enumerate(parts.texts):
        if _HAS_WEAK.search(text):
            for joiner in _WEAK:
                if len(_steps(text, joiner)) > 1:
                    candidates.setdefault(joiner, code)
    joining = [joiner for joiner in candidates if _joins(joiner, parts.texts)]
    for joiner in joining[:1]:
        if other := _left_over(joiner, candidates, parts.texts):
            raise InputError(
                f"{parts.seen[candidates[other]]} may be joined by {joiner.strip()!r} or by "
                f"{other.strip()!r}; give the one that joins channels with --joiner"
            )
    if joining:
        joiner = joining[0]
        if joiner == "<":
            raise _from_right_to_left(parts.seen[candidates[joiner]], joiner)
        shown = joiner.strip() or {"\t": "a tab", "\n": "a line break"}[joiner]
        notes.append(
            f"channels are joined by {shown!r}, as {parts.seen[candidates[joiner]]} shows; "
            "--joiner says otherwise"
        )
        return _split(parts, lambda text: text.split(joiner))
    if candidates:
        joiner, code = next(iter(candidates.items()))
        notes.append(
            f"no path holds '>': each is one channel, such as {parts.texts[code].strip()[:40]!r}; "
            f"give --joiner {_quoted(joiner)} if that joins channels"
        )
    elif possible := _possible(parts):
        notes.append(
            f"no path holds '>': each is one channel, such as {possible[1].strip()[:40]!r}; give "
            f"--joiner {_quoted(possible[0])} if that joins channels"
        )
    return parts


def _from_right_to_left(seen: str, joiner: str) -> InputError:
    return InputError(
        f"{seen} is joined by {joiner!r}, from right to left; write the oldest touch first and "
        f"join channels by ' > ', or give --joiner {_quoted(joiner)} if the oldest is first"
    )


def _quoted(joiner: str) -> str:
    """Return *joiner* as a shell takes it."""
    return (
        f"'{joiner}'" if joiner.isprintable() else f"$'{joiner.encode('unicode_escape').decode()}'"
    )


def _possible(parts: Parts) -> tuple[str, str] | None:
    """Return a text that may join channels though names often hold it, and a path with it.

    Nothing is split at it: of "paid-search" beside "paid" and "search" nobody knows.
    """
    first: dict[str, str] = {}
    for text in parts.texts:
        for found in _RARE.finditer(text.strip()):
            first.setdefault(found[0], text)
    for joiner, text in sorted(first.items(), key=lambda item: -len(item[0]))[:_MOST_RARE]:
        if _joins(joiner, parts.texts):
            return joiner, text
    return None


def _left_over(joiner: str, candidates: Iterable[str], texts: Sequence[str]) -> str:
    """Return another of *candidates* that joins what *joiner* leaves whole, "" if none does."""
    left = list(dict.fromkeys(step for text in texts for step in _steps(text, joiner)))
    return next((other for other in candidates if other != joiner and _joins(other, left)), "")


def _joins(joiner: str, texts: Sequence[str]) -> bool:
    """Return whether *joiner* joins channels in *texts*, distinct paths.

    It does if channels of a path also stand alone or at another place elsewhere. For "|" and ";"
    one such channel is enough. Names may contain the other joiners, so for these all channels of a
    path have to. The parts of names such as "google / organic" have fixed places; channels do not.
    """
    paths = [_steps(text, joiner) for text in texts]
    places: dict[str, set[int]] = {}
    for steps in paths:
        for place, step in enumerate(steps):
            places.setdefault(step, set()).add(place if len(steps) > 1 else -1)
    enough: Callable[[list[bool]], bool] = any if joiner in ("|", ";") else all
    return any(
        len(steps) > 1 and all(steps) and enough([len(places[step]) > 1 for step in steps])
        for steps in paths
    )


def _steps(text: str, joiner: str) -> list[str]:
    return [step.strip() for step in text.split(joiner)]


def _split(parts: Parts, split: Callable[[str], list[str]]) -> Parts:
    """Return *parts*, each of their texts cut by *split*."""
    numbers: dict[str, int] = {}
    seen: list[str] = []
    cut: list[list[int]] = []
    for text, place in zip(parts.texts, parts.seen, strict=True):
        own = []
        for step in split(text):
            if step not in numbers:
                numbers[step] = len(numbers)
                seen.append(place)
            own.append(numbers[step])
        cut.append(own)
    sizes = np.array([len(own) for own in cut], dtype=np.int64)
    codes = [code for place in parts.codes.tolist() for code in cut[place]]
    ends = np.concatenate(([0], np.cumsum(sizes[parts.codes]))).astype(np.int64)
    return Parts(
        texts=list(numbers),
        codes=np.array(codes, dtype=np.int32),
        offsets=ends[parts.offsets],
        seen=seen,
        joiner=parts.joiner,
        is_given=False,
    )
