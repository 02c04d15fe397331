"""Why something outside failed, as one line that a terminal and a report can show."""

from __future__ import annotations

import os
import re
import socket
import ssl

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
