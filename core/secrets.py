"""Secrets: taken from the environment, and blotted out of every text that is shown or kept."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from core.errors import InputError

MASK = "***"
MAX_SECRET = 16_384
"""Characters of a secret; servers refuse longer headers."""

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_WINDOW = 8
"""Characters: a run of so many that a secret holds, too, is a part of it."""

_NAME = (
    r"(?:token|secret|passwords?|passwd|pwd|authorization|cookies?|credentials?|signature|jwt"
    r"|(?:api|access|private|auth)[_-]?key)(?!_variable)"
)
_AUTH = r"(?<![a-z0-9])auth(?:entication)?(?![a-z0-9])"
_OF_SETTING = rf"(?:{_NAME}|{_AUTH})"
_SETTING = re.compile(
    rf"(?is)^((?:--[\w-]+=)?-{{0,2}}(?:[\w.\[\]-]*[._-])?{_OF_SETTING}[\w-]*\s*=).+"
)


def _field(name: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?is)({name}[\w-]{{0,64}}+\\?[\"']?\s*+[=:]\s*+)"
        r"(?:(?P<mark>\\?(?:\"\"\"|'''|[\"'])).*?(?:(?<!\\)(?P=mark)|$)|[^\s\"',}&\\]+)"
    )


_FIELD, _FIELD_OF_SETTING = _field(_NAME), _field(_OF_SETTING)
_OPTION = re.compile(rf"(?i)^--(?:(?:[\w-]+-)?{_NAME}|token-command)$")
_USER = re.compile(r"(\w[\w+.-]{0,31}://)[^/\s?#]*@")
_QUERY = re.compile(r"([?&;][^=&;?\s#\"']*=)(?!\{)[^&;\s#\"'\\]+")
_SCHEME = re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{6,}")
_HEADER = re.compile(rf"(?i){_NAME}|-session(?:-|$)|{_AUTH}")
_CREDENTIALS = re.compile(r"(?i)\s*(?:bearer|basic|token)\s+([^\s{}]+)\s*")


def is_secret_name(name: str) -> bool:
    """Return whether a header called *name* holds a secret by its name."""
    return _HEADER.search(name) is not None


def literal_secret(name: str, value: str) -> str:
    """Return what of the header *name* with *value* is a secret, "" if nothing is.

    Its name says so, or the value is one word after Bearer, Basic or Token.
    """
    if found := _CREDENTIALS.fullmatch(value):
        return found[1]
    return value if is_secret_name(name) else ""


def references(text: str) -> list[str]:
    """Return the variables that *text* takes from the environment; ValueError for a faulty name."""
    names = _REFERENCE.findall(text)
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(
                f"${{{name}}} names no environment variable; use letters, digits and _, such as "
                "${STAGING_TOKEN}"
            )
    return names


def split(text: str) -> list[str]:
    """Return the literal parts of *text* and, between them, the names of its variables."""
    return _REFERENCE.split(text)


def secret(name: str, environment: Mapping[str, str], *, where: str) -> str:
    """Return the variable *name* of *environment*; InputError, without its value, if it is unfit.

    where: the place that asks for it.
    """
    value = environment.get(name)
    if not value:
        state = "not set" if value is None else "empty"
        raise InputError(
            f"{where}: the environment variable {name} is {state}; set it, or let "
            f"--token-command '{name}=COMMAND' fetch it"
        )
    return checked(value, f"{where}: the environment variable {name}")


def checked(value: str, what: str) -> str:
    """Return *value* if it can stand in a header; InputError about *what*, without the value."""
    if len(value) > MAX_SECRET:
        raise InputError(f"{what} has more than {MAX_SECRET:,} characters; no header holds it")
    if not _FIELD_VALUE.fullmatch(value):
        raise InputError(
            f"{what} holds a line break or another character that no header may; set it without one"
        )
    return value


class Blotter:
    """Blots known secrets out of texts that others wrote, however a service writes them back.

    A text takes time in proportion to its length, whatever the secrets' number and length.
    """

    __slots__ = ("_known", "_parts", "_short", "_shorts")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._parts: set[str] = set()
        self._short: set[str] = set()
        self._shorts: re.Pattern[str] | None = None
        for value in secrets:
            self.add(value)

    def add(self, value: str) -> None:
        """Blot *value* out from now on, in its usual encodings, too."""
        if not value or value in self._known:
            return
        self._known.add(value)
        for form in {form for each in (value, *_decoded(value)) for form in _encoded(each)}:
            if len(form) < _WINDOW:
                self._short.add(form)
                continue
            lower = _lower(form)
            self._parts.update(lower[at : at + _WINDOW] for at in range(len(lower) - _WINDOW + 1))
        if self._short:
            longest_first = sorted(self._short, key=len, reverse=True)
            self._shorts = re.compile("|".join(map(re.escape, longest_first)))

    def blot(self, text: str, *, is_cut: bool = False) -> str:
        """Return *text* with every secret, and every long part of one, as ***.

        What a name or a scheme calls a secret is blotted out, too, known or not. is_cut: more
        followed, so that the end, which may be too little of a secret to be known, is left out.
        """
        text = _SCHEME.sub(rf"\g<1>\g<2>{MASK}", self.hide(text))
        text = _FIELD.sub(_masked_field, _USER.sub(rf"\g<1>{MASK}@", text))
        return text[: 1 - _WINDOW] if is_cut and not text.endswith(MASK) else text

    def hide(self, text: str) -> str:
        """Return *text* with every known secret, and every long part of one, as ***."""
        lower = _lower(text)
        places = [
            (at, at + _WINDOW)
            for at in range(len(text) - _WINDOW + 1)
            if lower[at : at + _WINDOW] in self._parts
        ]
        if self._shorts is not None:
            places = sorted([*places, *(found.span() for found in self._shorts.finditer(text))])
        if not places:
            return text
        pieces: list[str] = []
        at = 0
        for start, end in places:
            if start > at or not pieces:
                pieces += (text[at:start], MASK)
            at = max(at, end)
        return "".join((*pieces, text[at:]))


def _lower(text: str) -> str:
    """Return *text* in lower case, each letter at its place."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := each.lower()) == 1 else each for each in text)


def _encoded(value: str) -> set[str]:
    """Return how a service may write *value* back: as it is, in JSON, a URL, HTML or base64."""
    data = value.encode("utf-8", "replace")
    return {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        json.dumps(value)[1:-1].replace("/", r"\/"),
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        html.escape(value),
        repr(value)[1:-1],
        base64.b64encode(data).decode().rstrip("="),
        base64.urlsafe_b64encode(data).decode().rstrip("="),
    }


def _decoded(value: str) -> list[str]:
    """Return what *value* stands for if it is base64 of a text: "user:password" and its password.

    A service may name the user whom it refuses; the password it must not show.
    """
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return []
    if len(text) < 4 or not text.isprintable():
        return []
    password = text.partition(":")[2]
    return [text, password] if len(password) >= 4 else [text]


def masked(arguments: Any) -> list[str]:
    """Return *arguments* without what may be a secret.

    That is what stands before the @ of a URL, the values of a query but for {placeholders}, the
    value of a setting, an option or a field whose name says so, and what follows "Bearer" or
    "Basic".
    """
    found: list[str] = []
    is_value = False
    for argument in arguments:
        text = MASK if is_value else _SETTING.sub(rf"\g<1>{MASK}", argument)
        is_value = bool(_OPTION.match(argument))
        text = _FIELD_OF_SETTING.sub(_masked_field, _SCHEME.sub(rf"\g<1>\g<2>{MASK}", text))
        if "?" in text or "://" in text:
            text = _QUERY.sub(rf"\g<1>{MASK}", _USER.sub(rf"\g<1>{MASK}@", text))
        found.append(text)
    return found


def _masked_field(field: re.Match[str]) -> str:
    mark = field["mark"] or ""
    return f"{field[1]}{mark}{MASK}{mark}"
