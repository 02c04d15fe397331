"""The headers of an endpoint's requests; secrets come from the environment only."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from core.errors import InputError
from core.secrets import checked, literal_secret, references
from core.wire import ISOLATE_HEADER

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_OWN = {"content-length", "transfer-encoding", "connection", "expect", ISOLATE_HEADER.lower()}
"""Headers that the generator writes itself."""

_MOST = 64


def _checked(headers: dict[str, str]) -> dict[str, str]:
    """Return *headers*; ValueError, which never shows a value, for what cannot be sent."""
    if len(headers) > _MOST:
        raise ValueError(f"{len(headers)} headers; at most {_MOST} are sent")
    seen: set[str] = set()
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r:.60} is no name of a header; use letters, digits and -")
        if name.lower() in _OWN:
            raise ValueError(f"{name} is written by the load generator; leave it out")
        if name.lower() in seen:
            raise ValueError(f"{name} stands twice; keep one of the two")
        seen.add(name.lower())
        try:
            checked(value, name)
        except InputError as error:
            raise ValueError(str(error)) from None
        if not references(value) and literal_secret(name, value):
            raise ValueError(
                f"{name} holds a secret in the file, where others read it; write "
                f'{name} = "{_scheme(value)}${{NAME}}" and set the environment variable NAME'
            )
    return headers


def _scheme(value: str) -> str:
    word = value.split(" ", maxsplit=1)[0]
    return f"{word} " if word.lower() in ("bearer", "basic", "token") else ""


HeaderFields = Annotated[dict[str, str], AfterValidator(_checked)]
"""Name and value; `${NAME}` in a value is the environment variable NAME, {placeholders} are those
of the target."""
