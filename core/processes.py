"""Processes that work for a command, and end with it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from core.errors import EdgeproofError


@contextmanager
def worker_pool(
    jobs: int, begin: Callable[..., None] | None = None, given: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of *jobs* processes, each of which calls *begin* with *given* first.

    What ends the context early ends them at once, whatever they are at. Raise EdgeproofError if one
    of them is killed.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, begin, given) as pool:
        try:
            yield pool
        except BaseException as error:
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()  # leaving the pool would wait for what they are at
            # Its thread must be over before Python ends, which would wake it by a closed pipe.
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise EdgeproofError(
                    f"one of the {jobs} processes that work for this command was killed, as the "
                    "system does where memory runs out; free some, or ask for less"
                ) from None
            raise


@contextmanager
def workers_deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes start with SIGINT blocked, from their first instruction on.

    A terminal sends it to all of them; the parent, which takes it after this, ends its workers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal reaches another thread
        return
    asked: list[int] = []
    # Blocking it here is not enough: another thread may take it, and then it interrupts this one.
    handler = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if asked:
        raise KeyboardInterrupt
