"""A fresh process that measures one promise, from both sides."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic

from bench.loopback import WrongAnswer
from bench.promise import Pairs, Promise, Timer
from bench.promises import PROMISES
from core.errors import EdgeproofError
from edgeproof.paired.timing import ROUNDS, Cost, timed_pairs

_FOLDER = str(Path(__file__).resolve().parents[1])
_WARM_UP_CALLS = 64
_WARM_UPS = 3


class TimeUp(Exception):
    """The time was over before the process was done."""


class Crashed(Exception):
    """The process ended without its pairs; the message has its last words."""


def block_of(promise: Promise, number: int, end: float, *, rounds: int = ROUNDS) -> Pairs:
    """Return the pairs of *promise* from a fresh process, the *number*-th.

    end: monotonic seconds. Raise TimeUp if it is not done by then, Crashed if it ends early. What
    the process has started ends with it.
    """
    code = f"import sys; sys.path[:0] = [{_FOLDER!r}]; from edgeproof.promised import main; main()"
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, promise.name, str(rounds), str(number)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=log,
            start_new_session=True,  # Ctrl-C is for the process that keeps what is done
        )  # fmt: skip
        try:
            process.wait(max(0.0, end - monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeUp from None
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        said = output.read().strip()
        if process.returncode or not said:
            log.seek(0)
            lines = log.read().decode(errors="replace").split("\n")
            words = " | ".join(line.strip() for line in lines if line.strip())[-400:]
            raise Crashed(
                f"the measuring process ended with exit code {process.returncode}: "
                f"{words or 'it said nothing'}"
            )
    return [(base, ours) for base, ours in json.loads(said.splitlines()[-1])]


class _Timed:
    """A timer as `timed_pairs` takes it."""

    def __init__(self, timer: Timer, calls: int | None) -> None:
        self._timer = timer
        self._calls = calls

    def warm_up(self) -> Cost:
        calls = self._calls or _WARM_UP_CALLS
        shortest = min(self._timer(calls) for _ in range(_WARM_UPS))
        return Cost(timed=shortest, whole=shortest, most_calls=None)

    def block(self, calls: int) -> float:
        gc.collect()
        gc.disable()
        try:
            return self._timer(self._calls or calls)
        finally:
            gc.enable()


class InTurns:
    """Times two things in *rounds* turns; the process with an odd *number* starts with ours."""

    def __init__(self, rounds: int, *, number: int) -> None:
        self.rounds = rounds
        self._is_turned = number % 2 == 1

    def __call__(self, base: Timer, ours: Timer, *, calls: int | None = None) -> Pairs:
        """Return nanoseconds a call of both in each turn."""
        sides = (_Timed(base, calls), _Timed(ours, calls))
        return timed_pairs(*sides, turned=self._is_turned, most=self.rounds)


def main() -> None:
    """Measure the promise that the arguments name; print its pairs as JSON on the last line."""
    name, rounds, number = sys.argv[1:]
    promise = next(promise for promise in PROMISES if promise.name == name)
    try:
        pairs = promise.measure(InTurns(int(rounds), number=int(number)))
    except (EdgeproofError, WrongAnswer, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(json.dumps([list(pair) for pair in pairs]))
