"""An asyncio event loop whose time is that of a SimPy environment.

Unmodified `async` code runs on simulated time. Ready callbacks run before the next timed event;
timed events run in the order (time, priority, sequence) and arrivals come last at their instant.
"""

from __future__ import annotations

import asyncio
import gc
import types
from asyncio import events
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from heapq import heappop, heappush
from math import inf
from typing import Any, NoReturn, TypeVar

import simpy

_T = TypeVar("_T")


class _Handle:
    """The part of a handle that asyncio's tasks and futures need."""

    __slots__ = ("_arguments", "_callback", "_cancelled", "_context", "_when")

    def __init__(
        self,
        callback: Callable[..., object],
        arguments: tuple[Any, ...],
        context: Context,
        when: float = 0.0,
    ) -> None:
        self._callback = callback
        self._arguments = arguments
        self._context = context
        self._cancelled = False
        self._when = when

    def cancel(self) -> None:
        self._cancelled = True
        self._arguments = ()

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when


_OUTSIDE = Context()
"""The context for waking a flow, which enters its own context itself."""


@types.coroutine
def _pause(when: float) -> Generator[float, None, None]:
    """Yield an absolute time to the flow that drives this coroutine."""
    yield when


class Flow:
    """Drives one coroutine without asyncio's bookkeeping: it cannot be cancelled or awaited.

    A wait for a time goes straight into the heap and resumes the coroutine from there; a wait for
    a future resumes it through the ready queue, as a task's does.
    """

    __slots__ = ("_loop", "_run", "_send", "close")

    def __init__(self, loop: SimLoop, coroutine: Coroutine[Any, Any, None]) -> None:
        self._loop = loop
        self._send = coroutine.send
        self.close = coroutine.close
        self._run = copy_context().run

    def step(self, _: object = None) -> None:
        """Run the coroutine until it waits again or ends."""
        loop = self._loop
        loop._flow = self
        try:
            waits_for = self._run(self._send, None)
        except StopIteration:
            return
        finally:
            loop._flow = None
        self.wait(waits_for)

    def wait(self, waits_for: Any) -> None:
        """Resume the coroutine when what it waits for has come."""
        if isinstance(waits_for, int | float):
            self._loop.resume_at(float(waits_for), self)
        elif getattr(waits_for, "_asyncio_future_blocking", None):
            waits_for._asyncio_future_blocking = False
            waits_for.add_done_callback(self.step, context=_OUTSIDE)
        else:
            raise RuntimeError(f"a simulated request waits for {waits_for!r}, which never ends")


class SimLoop(asyncio.BaseEventLoop):
    """Runs coroutines on the time of *env*; threads and executors raise RuntimeError."""

    def __init__(self, env: simpy.Environment) -> None:
        super().__init__()
        self.env = env
        self._timed: list[Any] = env._queue  # SimPy's own heap: absolute times, no float detour
        self._sequence = env._eid
        self._ready_calls: deque[_Handle] = deque()
        self._is_starting_task = False
        self._step_type: type | None = None
        self._flow: Flow | None = None

    def time(self) -> float:
        """Return the simulated time in seconds."""
        return float(self.env._now)

    def call_soon(  # type: ignore[override]  # a lighter handle than asyncio's
        self, callback: Callable[..., object], *arguments: Any, context: Context | None = None
    ) -> _Handle:
        """Run *callback* before the next timed event."""
        if type(callback) is self._step_type and not self._is_starting_task and not arguments:
            raise RuntimeError("asyncio.sleep(0) has no meaning in simulated time: nothing passes")
        handle = _Handle(callback, arguments, copy_context() if context is None else context)
        self._ready_calls.append(handle)
        return handle

    def call_at(  # type: ignore[override]  # a lighter handle than asyncio's
        self,
        when: float,
        callback: Callable[..., object],
        *arguments: Any,
        context: Context | None = None,
    ) -> _Handle:
        """Run *callback* at the absolute simulated time *when*, or now if that is past."""
        now = self.env._now
        when = max(when, now)
        handle = _Handle(callback, arguments, copy_context() if context is None else context, when)
        heappush(self._timed, (when, 1, next(self._sequence), handle))
        return handle

    def call_later(  # type: ignore[override]  # a lighter handle than asyncio's
        self,
        delay: float,
        callback: Callable[..., object],
        *arguments: Any,
        context: Context | None = None,
    ) -> _Handle:
        """Run *callback* after *delay* seconds."""
        return self.call_at(self.env._now + delay, callback, *arguments, context=context)

    def until(self, when: float) -> Awaitable[None]:
        """Return an awaitable that is done at the absolute time *when*, or now if that is past.

        The calling coroutine must await it at once.
        """
        if self._flow is not None:
            return _pause(when)
        future: asyncio.Future[None] = asyncio.Future(loop=self)
        now = self.env._now
        heappush(self._timed, (when if when > now else now, 1, next(self._sequence), future))
        return future

    def resume_at(self, when: float, flow: Flow) -> None:
        """Resume *flow* at the absolute time *when*, or now if that is past."""
        now = self.env._now
        heappush(self._timed, (when if when > now else now, 1, next(self._sequence), flow))

    def start_at(self, when: float, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start *coroutine* at the absolute time *when* as a flow; nobody waits for its end."""
        heappush(self._timed, (when, 1, next(self._sequence), Flow(self, coroutine)))

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        """Start *coro* as a task."""
        self._is_starting_task = True
        try:
            return super().create_task(coro, name=name, context=context)
        finally:
            self._is_starting_task = False

    def run_in_executor(  # type: ignore[override]  # it never returns
        self, executor: Any, func: Any, *args: Any
    ) -> NoReturn:
        """Refuse: a thread would run on the machine's time."""
        raise RuntimeError("threads and executors do not exist in simulated time")

    def call_soon_threadsafe(  # type: ignore[override]  # it never returns
        self, callback: Any, *args: Any, context: Any = None
    ) -> NoReturn:
        """Refuse: a thread would run on the machine's time."""
        raise RuntimeError("threads and executors do not exist in simulated time")

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Do nothing: a cancelled timer stays in the heap and is skipped."""

    def run(
        self,
        main: Coroutine[Any, Any, _T],
        arrivals: Sequence[float] = (),
        arrive: Callable[[int], None] | None = None,
    ) -> _T:
        """Run until *main* returns, and return its result.

        arrivals: absolute times, ascending; arrive(i) is called at the i-th of them, after
        everything else of that instant.
        """
        if self._step_type is None:
            self._step_type = _step_type(self)
        ready, timed, env = self._ready_calls, self._timed, self.env
        take, sequence = ready.popleft, self._sequence
        future_type = asyncio.Future
        events._set_running_loop(self)
        position, count = 0, len(arrivals)
        next_arrival = arrivals[0] if count else inf
        try:
            with _rare_collection():
                task = self.create_task(main)
                while True:
                    if ready:
                        while ready:
                            handle = take()
                            if not handle._cancelled:
                                handle._context.run(handle._callback, *handle._arguments)
                        if task.done():  # a task can end only in the ready queue
                            break
                    if timed and timed[0][0] <= next_arrival:
                        env._now, _, _, event = heappop(timed)
                        kind = type(event)
                        if kind is Flow:  # as `Flow.step`, without calls
                            self._flow = event
                            try:
                                waits_for = event._run(event._send, None)
                            except StopIteration:
                                continue
                            finally:
                                self._flow = None
                            if type(waits_for) is float:
                                now = env._now
                                when = waits_for if waits_for > now else now
                                heappush(timed, (when, 1, next(sequence), event))
                            else:
                                event.wait(waits_for)
                        elif kind is future_type:
                            if not event.done():
                                event.set_result(None)
                        elif kind is _Handle:
                            if not event._cancelled:
                                event._context.run(event._callback, *event._arguments)
                        else:
                            _process_simpy(event)
                    elif position < count:
                        env._now = next_arrival
                        assert arrive is not None
                        arrive(position)
                        position += 1
                        next_arrival = arrivals[position] if position < count else inf
                    else:
                        raise RuntimeError("nothing is left to happen, and the run has not ended")
                result: _T = task.result()
                return result
        except BaseException:
            # The error is raised: the tasks that it ends need not report it one by one.
            self.set_exception_handler(lambda *_: None)
            raise
        finally:
            events._set_running_loop(None)
            for *_, event in timed:
                if type(event) is Flow:
                    event.close()
            for left in asyncio.all_tasks(self):
                left._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own flag


def _process_simpy(event: Any) -> None:
    """Do what `simpy.Environment.step` does with an event that it has taken from its queue."""
    callbacks, event.callbacks = event.callbacks, None
    for callback in callbacks:
        callback(event)
    if not event._ok and not hasattr(event, "_defused"):
        raise event._value


def _step_type(loop: SimLoop) -> type:
    """Return the type of the callable that takes a task's first step."""

    async def nothing() -> None:
        """Be a task."""

    task = loop.create_task(nothing())
    handle = loop._ready_calls.pop()
    step = type(handle._callback)
    handle._context.run(handle._callback)
    assert task.done()
    return step


@contextmanager
def _rare_collection() -> Iterator[None]:
    """Run the cycle collector rarely: reference counting frees requests, which make no cycles."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(2_000_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
