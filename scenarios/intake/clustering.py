"""Proposed rules: requests of a log whose paths differ in ids only become one endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.endpoint import check_name
from scenarios.intake.chunk import Left
from scenarios.intake.layout import Field
from scenarios.intake.requests import Row, is_static, split_request
from scenarios.intake.rules import MOST_SEGMENTS, Rule, parse_rule

ID = b""
MOST_ENDPOINTS = 40
LEAST_SHARE = 0.001
"""Of the requests; a rarer one gets no endpoint."""

_MOST_SHAPES = 100_000
_MOST_LITERALS = (64, 16)
"""Fixed words at one place of a path: of the first segment, and of those behind it."""

_UNSENT = (b"CONNECT", b"TRACE")
_VERSION = re.compile(rb"v\d{1,2}(?:\.\d{1,2})?", re.IGNORECASE)
_SHORT = re.compile(rb"[A-Za-z]{1,2}\d+")
_ID = re.compile(
    rb"\d+|[0-9a-fA-F-]*\d[0-9a-fA-F-]{7,}|[0-9a-fA-F-]{7,}\d[0-9a-fA-F-]*|.*[@%:=,].*|.{33,}"
    rb"|(?:\D*\d){3}.*",
    re.DOTALL,
)


@dataclass(slots=True)
class _Node:
    count: int = 0
    children: dict[bytes, _Node] = field(default_factory=dict)
    ends: dict[bytes, list[int]] = field(default_factory=dict)
    """By method: requests, those below status 400, those with a slash at the end."""

    def add(self, other: _Node) -> None:
        self.count += other.count
        for method, counts in other.ends.items():
            mine = self.ends.setdefault(method, [0, 0, 0])
            for place, number in enumerate(counts):
                mine[place] += number
        for name, child in other.children.items():
            self.children.setdefault(name, _Node()).add(child)


class Collector:
    """Counts the shapes of requests; it stands where a reader has a `Matcher`."""

    def __init__(self, agents: Sequence[bytes] = ()) -> None:
        self._agents = tuple(agents)
        self._shapes: dict[tuple[bytes, tuple[bytes, ...]], list[int]] = {}
        self.requests = 0
        self.lines = 0

    def row(self, fields: Mapping[Field, bytes], time: int, status: int, latency: int) -> Row:
        """Count the request that *fields* tell; the row has no endpoint."""
        row = Row(code=Left.NO_RULE, time=time, status=status, latency=latency)
        found = split_request(fields)
        if found is None:
            row.code = Left.NO_REQUEST
            return row
        agent = fields.get(Field.AGENT, b"").lower()
        if any(word in agent for word in self._agents):
            return row
        method, path, _ = found
        segments = [segment for segment in path.split(b"/") if segment]
        if len(segments) > MOST_SEGMENTS or is_static(method, segments):
            return row
        self.requests += 1
        shape = (
            method,
            tuple(
                ID if is_id(segment, is_first=not place) else segment
                for place, segment in enumerate(segments)
            ),
        )
        counts = self._shapes.get(shape)
        if counts is None:
            if len(self._shapes) >= _MOST_SHAPES:
                self._forget()
            counts = self._shapes[shape] = [0, 0, 0]
        counts[0] += 1
        counts[1] += status < 400
        counts[2] += path.endswith(b"/")
        return row

    def _forget(self) -> None:
        """Drop the rarest shapes: a page that matters comes again."""
        for least in (1, 2, 4, 8, 16, 2**30):
            for shape in [s for s, counts in self._shapes.items() if counts[0] <= least]:
                del self._shapes[shape]
            if len(self._shapes) < _MOST_SHAPES // 2:
                return

    def propose(self) -> list[Rule]:
        """Return a rule for each endpoint, the one with most requests first."""
        root = _Node()
        for (method, segments), counts in self._shapes.items():
            node = root
            node.count += counts[0]
            for segment in segments:
                node = node.children.setdefault(segment, _Node())
                node.count += counts[0]
            ends = node.ends.setdefault(method, [0, 0, 0])
            for place, number in enumerate(counts):
                ends[place] += number
        _merge(root, 0)
        found: list[tuple[int, bytes, tuple[bytes, ...], bool]] = []
        least = self.requests * LEAST_SHARE
        _ends(root, (), found, least)
        found.sort(key=lambda each: (-each[0], each[1], each[2]))
        chosen = found[:MOST_ENDPOINTS]
        names: set[str] = set()
        methods: dict[tuple[bytes, ...], int] = {}
        for _, _, segments, _ in chosen:
            methods[segments] = methods.get(segments, 0) + 1
        return [
            _rule(method, segments, names, has_slash=slash, is_shared=methods[segments] > 1)
            for _, method, segments, slash in chosen
        ]


def is_id(segment: bytes, *, is_first: bool = False) -> bool:
    """Return whether a segment of a path looks like an id rather than a word of a route.

    is_first: whether it is the path's first one, which names a service (s3) sooner than an id.
    """
    if _VERSION.fullmatch(segment):
        return False
    return _ID.fullmatch(segment) is not None or (
        not is_first and _SHORT.fullmatch(segment) is not None
    )


def _merge(node: _Node, depth: int) -> None:
    words = [name for name in node.children if name != ID]
    numbered = [w for w in words if re.search(rb"\d", w) and not _VERSION.fullmatch(w)]
    merged = set(numbered) if ID in node.children or len(numbered) >= 3 else set()
    rest = [word for word in words if word not in merged]
    most = _MOST_LITERALS[min(depth, 1)]
    count = sum(node.children[word].count for word in rest)
    is_sparse = depth > 0 and len(rest) >= 5 and count < 4 * len(rest)
    if len(rest) > most or is_sparse:
        # A word far more frequent than the others is a route of its own.
        usual = max(count / 10, 4 * count / len(rest))
        merged.update(word for word in rest if node.children[word].count < usual)
    if merged:
        into = node.children.setdefault(ID, _Node())
        for word in merged:
            into.add(node.children.pop(word))
    for child in node.children.values():
        _merge(child, depth + 1)


def _ends(
    node: _Node,
    segments: tuple[bytes, ...],
    found: list[tuple[int, bytes, tuple[bytes, ...], bool]],
    least: float,
) -> None:
    for method, (count, fine, slashes) in node.ends.items():
        if fine and count >= least and method not in _UNSENT and b"_" not in method:
            found.append((count, method, segments, slashes * 2 > count))
    for name, child in node.children.items():
        _ends(child, (*segments, name), found, least)


def _rule(
    method: bytes, segments: tuple[bytes, ...], names: set[str], *, has_slash: bool, is_shared: bool
) -> Rule:
    path: list[str] = []
    placeholders: set[str] = set()
    before = ""
    for segment in segments:
        if segment == ID:
            name = _unique(f"{_singular(before)}_id" if before else "id", placeholders)
            path.append(f"{{{name}}}")
        else:
            # A brace, a quote or a control character is none of a route's.
            text = re.sub(r"[^!-~]|[{}#\"\\]", "_", segment.decode("latin-1"))
            path.append(text)
            before = _word(text)
    words = [_word(text) for text in path if not text.startswith("{")]
    verb = method.decode("ascii").lower().replace("-", "_") if method else ""
    name = "_".join(word for word in words if word) or "home"
    if verb and (is_shared or verb not in ("get", "post")):
        name = f"{verb}_{name}"
    slash = "/" if has_slash and path else ""
    route = f"/{'/'.join(path)}{slash}"
    return parse_rule(f"{_unique(name, names)} = {verb.upper().replace('_', '-') or '*'} {route}",
                      "the log")  # fmt: skip


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us")) else word


def _unique(name: str, taken: set[str]) -> str:
    """Return *name*, or one like it that an endpoint can have and none has yet."""
    name = name if name[:1].isalpha() else f"r_{name}"
    name = name[:28].rstrip("_")
    found, number = name, 1
    while found in taken or not _is_name(found):
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found


def _is_name(name: str) -> bool:
    try:
        check_name(name, "endpoint")
    except ValueError:
        return False
    return True
