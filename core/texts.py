"""Texts from outside, bounded before they are parsed or shown: TOML, JSON, values in errors,
why something outside failed, and counts in messages."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_DEPTH = 32
"""Of brackets within brackets in TOML; a scenario needs 6."""
MAX_PARTS = 16
"""Of a dotted key in TOML; a scenario needs 4. The parser's time grows with their third power."""
MAX_RECORD_BYTES = 64_000_000
SHOWN = 60
_LARGEST_INTEGER = 2**63
_TOML = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5})?'
    r"|'''(?:[^']|'(?!''))*+(?:'{3,5})?"
    r'|"(?:[^"\\\n]|\\[^\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|\#[^\n]*+"
    r"|[\[\]{}.=,\n]",
    re.DOTALL,
)
"""What decides depth and parts; a text that is not closed reaches to its end, so no time is lost.
"""


def bounded_text(path: Path, most: int, what: str) -> str:
    """Return the text of the file at *path*, which may be a pipe.

    Raise OSError, or ValueError for more than *most* bytes (is it *what*?) and what is no UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"larger than {most:,} bytes; is it {what}?")
    return data.decode("utf-8")


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of *text*; ValueError, in one line, if it is not TOML or nests too deeply.

    The standard parser takes seconds and gigabytes for long dotted keys, so they are refused by a
    scan before it.
    """
    _check_toml(text)
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise ValueError("brackets nest too deeply; close them") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # of int(): a number of thousands of digits
        raise ValueError("an integer has too many digits; it holds at most 64 bits") from None
    for name, value in _leaves(data):
        if isinstance(value, int) and not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
            raise ValueError(f"{shown(name)} is an integer of more than 64 bits")
    return data


def _check_toml(text: str) -> None:
    depth = parts = 0
    line = 1
    for found in _TOML.finditer(text):
        token = found[0]
        first = token[0]
        if first == "." and len(token) == 1:
            parts += 1
            if parts >= MAX_PARTS:
                raise ValueError(f"line {line}: a key of more than {MAX_PARTS} parts; shorten it")
            continue
        if first in "\"'#":  # a part of a key may be a text
            line += token.count("\n")
            continue
        parts = 0
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(
                    f"line {line}: brackets nest more than {MAX_DEPTH} deep; close them"
                )
        elif first in "]}":
            depth = max(0, depth - 1)
        elif first == "\n":
            line += 1


def _leaves(data: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield each plain value with the last key of its place."""
    waiting: list[tuple[str, object]] = [("", data)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(name, one) for one in value]
        else:
            yield name, value


def parse_json(text: str | bytes | bytearray) -> Any:
    """Return the value of *text*; ValueError, in one line, if it is not JSON or nests too deeply.

    A number of more than 4,300 digits, which the interpreter does not read, is an error, too.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("brackets nest too deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError as error:
        raise ValueError(_without_advice(error)) from None


class GivenTwice(ValueError):
    """A key that stands twice in one JSON object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise GivenTwice(f"{shown(twice)} stands twice in an object; give it once")
    return found


_REQUESTS = json.JSONDecoder(object_pairs_hook=_once)


def parse_request(body: bytes) -> Any:
    """Return the value of the JSON *body*; ValueError as of `parse_json`, GivenTwice for a key.

    Which of two values was meant nobody knows, and another reader may take the other one.
    """
    try:
        return _REQUESTS.decode(body.decode(json.detect_encoding(body)))
    except RecursionError:
        raise ValueError("brackets nest too deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError, GivenTwice):
        raise
    except ValueError as error:
        raise ValueError(_without_advice(error)) from None


def _without_advice(error: ValueError) -> str:
    """Return what *error* says, but for the interpreter's advice on its limit of digits."""
    text = str(error)
    return "a number has too many digits" if "int_max_str_digits" in text else text


def read_json(path: Path, what: str, *, most: int = MAX_RECORD_BYTES) -> Any:
    """Return the value in the JSON file at *path*; OSError or ValueError if there is none."""
    return parse_json(bounded_text(path, most, what))


def shown(value: object) -> str:
    """Return *value* as an error message shows it, at most SHOWN characters."""
    try:
        text = json.dumps(value, default=str)
    except (RecursionError, ValueError):  # nested deeply, or a number of thousands of digits
        text = f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def count_of(amount: float, noun: str, plural: str = "") -> str:
    """Return *amount* with *noun*, or with *plural* where it is not 1: "1 KPI", "3 KPIs".

    plural: where it has more than an ending: `count_of(n, "row has", "rows have")`.
    """
    number = f"{amount:,.6g}" if isinstance(amount, float) else f"{amount:,}"
    if amount != 1 and not plural:
        plural = f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
    return f"{number} {noun if amount == 1 else plural}"


MOST_SHOWN = 500
_CLIENT = frozenset({"anyio", "builtins", "h11", "httpcore", "httpx", "socket", "ssl"})
_SSL_PLACE = re.compile(r"^\[[^\]]*\] *| *\(_ssl\.c:\d+\)$")


def reason_of(error: BaseException) -> str:
    """Return why a connection or an exchange over it failed: the system's reason at the end of the
    chain where there is one, else what *error* says, else its type.

    An HTTP client wraps "connection refused" two or three times, and shows the outermost text.
    """
    seen: BaseException | None = error
    while seen is not None and type(seen).__module__.partition(".")[0] in _CLIENT:
        if isinstance(seen, BaseExceptionGroup):
            seen = seen.exceptions[0]  # one for each address of a name
            continue
        if isinstance(seen, OSError) and seen.errno is not None:
            return one_line(_system_reason(seen))
        seen = seen.__cause__ or seen.__context__
    return one_line(str(error)) or type(error).__name__


def _system_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return _SSL_PLACE.sub("", _SSL_PLACE.sub("", error.strerror or str(error)))
    if isinstance(error, socket.gaierror):
        return (error.strerror or str(error)).lower()
    assert error.errno is not None
    return os.strerror(error.errno).lower()


def one_line(text: str, *, most: int = MOST_SHOWN) -> str:
    """Return *text* as one line of at most *most* characters without control characters.

    What comes from outside could otherwise move the cursor of a terminal or begin another line.
    """
    line = " ".join(text[: 4 * most].split())
    line = "".join(c if c.isascii() and c.isprintable() else "?" for c in line)
    return line if len(line) <= most else line[: most - 3] + "..."


def without_secrets(url: str) -> str:
    """Return *url* without the credentials that may stand in it."""
    scheme = url.partition("://")[0]
    if "?" in url:
        return f"{scheme}://..."  # a password may stand on either side of it
    _, at, place = url.rpartition("@")
    return f"{scheme}://...@{place}" if at else url
