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

CLOSE_SECONDS = 5.0
"""At most, until a command that was ended is gone."""

_LOOK_SECONDS = 0.2
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
        self._fetched_at = self._tried_at = monotonic()
        self._is_refused = False
        self._done = threading.Event()
        self._done.set()
        self._command = _Command()
        self.values: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._commands)

    def fetch(self) -> dict[str, str]:
        """Return the secrets by variable; InputError, without any output, if a command fails.

        A thread starts the commands: a signal would strike this one between the start of a command
        and the note of it, and the command would run on.
        """
        found: list[dict[str, str]] = []
        faults: list[BaseException] = []

        def work() -> None:
            try:
                found.append(self._fetch())
            except BaseException as error:
                faults.append(error)

        self._in_thread(work)
        self._done.wait()
        for fault in faults:
            raise fault
        return found[0]

    def _fetch(self) -> dict[str, str]:
        command = self._command
        try:
            found = {name: command.run(name, words) for name, words in self._commands.items()}
        finally:
            self._tried_at = monotonic()
        self._fetched_at = self._tried_at
        self._is_refused = False
        self.values = found
        return found

    def ready(self) -> dict[str, str]:
        """Return the secrets that a load begins with.

        A fetch that the load before it began is waited for. They are fetched where that is due, or
        where the newest were refused. Raise InputError as `fetch`.
        """
        self._done.wait()
        return self.fetch() if self._is_refused or self._is_due else self.values

    @property
    def _is_due(self) -> bool:
        return self._every is not None and monotonic() - self._fetched_at >= self._every

    def renew(
        self,
        on_done: Callable[[Mapping[str, str]], None],
        on_fault: Callable[[str], None],
        *,
        given: Mapping[str, str],
        is_asked: bool = False,
    ) -> None:
        """Fetch the secrets again in a thread, if that is due or is asked for, and not too soon.

        given: those that the load has; where there are newer ones, it is given these. *on_done* is
        called with the values, or *on_fault* with the reason, perhaps by the thread.
        """
        has_newest = self.values == given
        self._is_refused = self._is_refused or (is_asked and has_newest)
        if not self._commands or not self._done.is_set():
            return
        if is_asked and not has_newest:
            on_done(self.values)
            return
        if monotonic() - self._tried_at < PAUSE_SECONDS or not (is_asked or self._is_due):
            return

        command = self._command

        def work() -> None:
            try:
                on_done(self._fetch())
            except InputError as error:
                if not command.is_closing:
                    on_fault(f"the token was not fetched again: {error}")

        self._in_thread(work)

    def _in_thread(self, work: Callable[[], None]) -> None:
        # A thread that is joined is taken for ended where a signal interrupts the join.
        self._done = done = threading.Event()

        def whole() -> None:
            try:
                work()
            finally:
                done.set()

        threading.Thread(target=whole, daemon=True).start()

    def close(self) -> None:
        """End a command that runs, with all that it has started; secrets can be fetched again."""
        self._command.close()
        self._done.wait(CLOSE_SECONDS)
        self._command = _Command()


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


class _Command:
    """Runs one command at a time, which another thread may end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.is_closing = False

    def close(self) -> None:
        """End the command that runs; none runs any more."""
        with self._lock:
            self.is_closing = True
            self._kill()

    def _kill(self) -> None:
        """Kill the command and all that it has started, unless it has ended."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def run(self, name: str, words: Sequence[str]) -> str:
        """Return the first line that the command prints, if it can be a secret."""
        what = f"{_OPTION} {name}: {os.path.basename(words[0])}"
        try:
            with self._lock:
                self._process = process = self._started(words, what)
            output = self._read(process, what)
        finally:
            with self._lock:
                self._kill()
                ended, self._process = self._process, None
            if ended is not None:
                ended.wait()
                if ended.stdout is not None:
                    ended.stdout.close()
        if process.returncode:
            raise InputError(
                f"{what} ended with code {process.returncode}; run it by hand to see why, its "
                "output is never shown"
            )
        try:
            text = output.decode().strip()
        except UnicodeDecodeError:
            raise InputError(f"{what} printed no text in UTF-8; print the token alone") from None
        if not text:
            raise InputError(f"{what} printed nothing; print the token on standard output")
        return checked(text, f"{what}: what it printed")

    def _started(self, words: Sequence[str], what: str) -> subprocess.Popen[bytes]:
        if self.is_closing:
            raise InputError(f"{what} was not started: the command is over")
        try:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it may hold what it is not to show
                start_new_session=True,  # to end all that it starts
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a command"
            raise InputError(
                f"{what} cannot be started ({reason.lower()}); check the path"
            ) from None

    def _read(self, process: subprocess.Popen[bytes], what: str) -> bytes:
        """Return what *process* prints until it ends, bounded in time and size."""
        pipe, end, output = process.stdout, monotonic() + COMMAND_SECONDS, b""
        assert pipe is not None
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while (left := end - monotonic()) > 0 and not self.is_closing:
                if not selector.select(min(_LOOK_SECONDS, left)):
                    continue
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
