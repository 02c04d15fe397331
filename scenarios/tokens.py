"""Secrets that a command prints: fetched before a load, and again when they expire."""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from time import monotonic

from core.errors import InputError
from core.secrets import MAX_SECRET, checked

COMMAND_SECONDS = 30.0
"""A command that takes longer is ended."""

PAUSE_SECONDS = 10.0
"""Between two fetches at least: a service that refuses every token would have it asked for ever."""

_OPTION = "--token-command"


class Tokens:
    """The commands that print secrets, by the variable that takes each.

    every: seconds after which they are fetched again, None to wait until one is refused.
    """

    def __init__(
        self, commands: Mapping[str, Sequence[str]], *, every: float | None = None
    ) -> None:
        self._commands = dict(commands)
        self._every = every
        self._fetched_at = monotonic()
        self._running: threading.Thread | None = None
        self.values: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._commands)

    def fetch(self) -> dict[str, str]:
        """Return the secrets by variable; InputError, without any output, if a command fails."""
        found = {name: _printed(name, words) for name, words in self._commands.items()}
        self._fetched_at = monotonic()
        self.values = found
        return found

    def renew(
        self,
        on_done: Callable[[Mapping[str, str]], None],
        on_fault: Callable[[str], None],
        *,
        is_asked: bool = False,
    ) -> None:
        """Fetch the secrets again in a thread, if that is due or is asked for, and not too soon.

        The thread calls *on_done* with the values, or *on_fault* with the reason.
        """
        since = monotonic() - self._fetched_at
        is_due = is_asked or (self._every is not None and since >= self._every)
        is_busy = self._running is not None and self._running.is_alive()
        if not self._commands or not is_due or is_busy or since < PAUSE_SECONDS:
            return

        def work() -> None:
            try:
                on_done(self.fetch())
            except InputError as error:
                self._fetched_at = monotonic()
                on_fault(f"the token was not fetched again: {error}")

        self._running = threading.Thread(target=work, daemon=True)
        self._running.start()


def tokens_of(texts: Iterable[str], *, every: float | None, used: Iterable[str]) -> Tokens:
    """Return the tokens of the options; used: the variables that headers name.

    Raise InputError for a text that is no VARIABLE=COMMAND, and for a variable that is not used.
    """
    commands: dict[str, list[str]] = {}
    for text in texts:
        name, separator, command = text.partition("=")
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise InputError(f"{_OPTION} {name}: {error}; quote it as in a shell") from None
        if not separator or not words or not name.strip():
            raise InputError(
                f"{_OPTION} {name}: write VARIABLE=COMMAND, such as "
                "'STAGING_TOKEN=gcloud auth print-access-token'"
            )
        known = tuple(used)
        if name not in known:
            asked = f"they name {', '.join(known)}" if known else "they name none"
            raise InputError(
                f"{_OPTION} {name}: no header of the scenario names it, {asked}; write "
                f'"Bearer ${{{name}}}" into endpoints.NAME.headers, or leave it out'
            )
        if name in commands:
            raise InputError(f"{_OPTION} {name}: stands twice; keep one of the two")
        commands[name] = words
    if every is not None and not commands:
        raise InputError(f"--token-refresh: without {_OPTION} no token is fetched; leave it out")
    if every is not None and every < PAUSE_SECONDS:
        raise InputError(
            f"--token-refresh {every:g}s: tokens are fetched at most every {PAUSE_SECONDS:g} s"
        )
    return Tokens(commands, every=every)


def _printed(name: str, words: Sequence[str]) -> str:
    """Return the first line that the command prints, if it can be a secret."""
    what = f"{_OPTION} {name}: {os.path.basename(words[0])}"
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may hold what it is not to show
            start_new_session=True,  # to end all that it starts
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a command"
        raise InputError(f"{what} cannot be started ({reason.lower()}); check the path") from None
    try:
        output = _read(process, what)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if process.returncode:
        raise InputError(
            f"{what} ended with code {process.returncode}; run it by hand to see why, its output "
            "is never shown"
        )
    try:
        text = output.decode().strip()
    except UnicodeDecodeError:
        raise InputError(f"{what} printed no text in UTF-8; print the token alone") from None
    if not text:
        raise InputError(f"{what} printed nothing; print the token on standard output")
    return checked(text, f"{what}: what it printed")


def _read(process: subprocess.Popen[bytes], what: str) -> bytes:
    """Return what *process* prints until it ends, bounded in time and size."""
    pipe, end, output = process.stdout, monotonic() + COMMAND_SECONDS, b""
    assert pipe is not None
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while selector.select(max(0.0, end - monotonic())):
            if not (piece := os.read(pipe.fileno(), 65_536)):
                break
            output += piece
            if len(output) > 2 * MAX_SECRET:
                raise InputError(f"{what} printed more than a token; print the token alone")
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(0.1, end - monotonic()))
        return output
    raise InputError(
        f"{what} did not end within {COMMAND_SECONDS:g} s; give a command that asks nobody"
    )
