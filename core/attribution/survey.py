"""The account of a whole database, larger than memory if need be, in one or several processes."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from core.attribution.account import (
    Account,
    account_from,
    chosen_models,
    time_window,
    transitions_of,
)
from core.attribution.bulk import (
    RANGE_TOUCHES,
    Window,
    events_at_most,
    read_paths,
    user_ranges,
)
from core.attribution.connections import Reader, open_reader
from core.attribution.fitted import MIN_CONVERSIONS, FittedModel, fit
from core.attribution.fused import Credit, Engine, chosen_engine, share_credit
from core.attribution.markov import Transitions, merge
from core.attribution.models import DATA_DRIVEN
from core.attribution.parameters import Parameters
from core.attribution.paths import Paths

MEMORY_BYTES = 256 * 1024 * 1024
"""Journeys beyond this many bytes wait for the second pass in files."""

Progress = Callable[[str, float], None]
_T = TypeVar("_T")
_Users = tuple[str, str | bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is asked of a database; it travels to other processes."""

    file: Path
    parameters: Parameters
    window: Window = field(default_factory=Window)
    with_nulls: bool = True
    touches_per_range: int = RANGE_TOUCHES


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What reading a range of users gave: its paths or their file, and what a fit needs."""

    paths: Paths | Path
    transitions: Transitions
    window: tuple[int, int] | None


def account_of_database(
    survey: Survey,
    *,
    models: Sequence[str] = (),
    minimum: int = MIN_CONVERSIONS,
    jobs: int = 1,
    engine: Engine = "auto",
    on_progress: Progress = lambda phase, share: None,
) -> Account:
    """Return the account of the conversions in the window of *survey*.

    Users are read range by range, each by ordered scans; ranges are added up in their order, so
    that the figures are the same bit by bit whatever *jobs* is. With one job the database is read
    in one state; with several, do not write to it meanwhile. Raise InputError for a database or
    models that cannot be used.
    """
    chosen, notices = chosen_models(models, has_times=True)
    with ExitStack() as stack:
        connection = stack.enter_context(closing(open_reader(survey.file)))
        events = max(1, events_at_most(connection))
        ranges = user_ranges(connection, touches=survey.touches_per_range)
        # One engine for all, whatever each process has loaded.
        picked: Engine = chosen_engine(engine, events)
        told = partial(_told, on_progress, max(1, events // survey.touches_per_range))
        pool = stack.enter_context(_pool(jobs)) if jobs > 1 else None
        reader = connection if pool is None else None
        fitted: FittedModel | None = None
        if DATA_DRIVEN in chosen:
            folder = Path(stack.enter_context(_folder()))
            look = partial(_look, survey, reader, folder, _Budget(0 if pool else MEMORY_BYTES))
            seen = list(told("reading", _mapped(pool, look, enumerate(ranges))))
            fitted = _fitted(survey, seen, minimum)
            share = partial(_share, survey, fitted, picked)
            sources = [part.paths for part in seen]
            credits = list(told("sharing", _mapped(pool, share, sources)))
        else:
            one_pass = partial(_read_and_share, survey, reader, picked)
            credits = list(told("reading", _mapped(pool, one_pass, ranges)))
        return account_from(credits, chosen, survey.parameters, fitted, notices)


def fit_database(
    survey: Survey,
    *,
    minimum: int = MIN_CONVERSIONS,
    on_progress: Progress = lambda phase, share: None,
) -> FittedModel:
    """Return the data-driven model of the paths in the window of *survey*."""
    with closing(open_reader(survey.file)) as connection:
        events = max(1, events_at_most(connection))
        ranges = user_ranges(connection, touches=survey.touches_per_range)
        look = partial(_look, survey, connection, None, _Budget(0))
        seen = _told(
            on_progress,
            max(1, events // survey.touches_per_range),
            "reading",
            map(look, enumerate(ranges)),
        )
        return _fitted(survey, list(seen), minimum)


def _fitted(survey: Survey, seen: Sequence[_Seen], minimum: int) -> FittedModel:
    windows = [part.window for part in seen if part.window is not None]
    window = (min(w[0] for w in windows), max(w[1] for w in windows)) if windows else None
    transitions = merge([part.transitions for part in seen])
    return fit(transitions, survey.parameters, window=window, minimum=minimum)


class _Budget:
    """How many bytes of paths may stay in memory."""

    def __init__(self, left: int) -> None:
        self.left = left

    def takes(self, paths: Paths) -> bool:
        """Return whether *paths* still fit, and count them."""
        size = sum(a.nbytes for a in _arrays(paths).values())
        if size > self.left:
            return False
        self.left -= size
        return True


def _look(
    survey: Survey,
    reader: Reader | None,
    folder: Path | None,
    budget: _Budget,
    task: tuple[int, _Users],
) -> _Seen:
    number, users = task
    paths = _read(survey, reader, users)
    transitions = transitions_of(paths, survey.parameters, with_nulls=survey.with_nulls)
    kept: Paths | Path = paths
    if folder is None:
        kept = Path()
    elif not budget.takes(paths):
        kept = folder / f"{number}.npz"
        np.savez(kept, channels=np.array(paths.channels, dtype=np.str_), **_arrays(paths))
    return _Seen(paths=kept, transitions=transitions, window=time_window(paths))


def _share(survey: Survey, fitted: FittedModel, engine: Engine, source: Paths | Path) -> Credit:
    paths = source if isinstance(source, Paths) else _loaded(source)
    weights = fitted.weights_of(paths.channels)
    return share_credit(paths, survey.parameters, weights=weights, engine=engine)


def _read_and_share(survey: Survey, reader: Reader | None, engine: Engine, users: _Users) -> Credit:
    paths = _read(survey, reader, users)
    return share_credit(paths, survey.parameters, engine=engine)


def _read(survey: Survey, reader: Reader | None, users: _Users) -> Paths:
    if reader is not None:
        return read_paths(reader, survey.parameters, users=users, window=survey.window)
    with closing(open_reader(survey.file)) as own:
        return _read(survey, own, users)


def _arrays(paths: Paths) -> dict[str, Any]:
    found = {each.name: getattr(paths, each.name) for each in fields(paths)}
    return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}


def _loaded(file: Path) -> Paths:
    with np.load(file) as data:
        arrays = {name: data[name] for name in data.files if name != "channels"}
        return Paths(channels=tuple(data["channels"].tolist()), **arrays)


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="edgeproof-")


def _pool(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


def _mapped(
    pool: ProcessPoolExecutor | None, call: Callable[[Any], _T], tasks: Iterable[Any]
) -> Iterator[_T]:
    """Yield the result of each task in order; with a pool, a few tasks run ahead."""
    if pool is None:
        yield from map(call, tasks)
        return
    rest = iter(tasks)
    waiting: list[Future[_T]] = [pool.submit(call, task) for task in islice(rest, 16)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(call, task) for task in islice(rest, 1)]


def _told(on_progress: Progress, expected: int, phase: str, parts: Iterable[_T]) -> Iterator[_T]:
    on_progress(phase, 0.0)
    for number, part in enumerate(parts, 1):
        yield part
        on_progress(phase, min(0.99, number / (expected + 1)))
    on_progress(phase, 1.0)
