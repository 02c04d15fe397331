"""The account of a whole database, larger than memory if need be, in one or several processes."""

from __future__ import annotations

import pickle
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
    own_ones,
    time_window,
    transitions_of,
)
from core.attribution.fitted import MIN_CONVERSIONS, FittedModel, fit
from core.attribution.fused import Credit, Engine, chosen_engine, share_credit
from core.attribution.model import Model, function_name
from core.attribution.parameters import Parameters
from core.attribution.paths import Paths
from core.attribution.transitions import Transitions, merge
from core.errors import InputError
from core.ledger.connections import Reader, open_reader
from core.ledger.path_reader import (
    RANGE_TOUCHES,
    Window,
    events_at_most,
    read_paths,
    user_ranges,
)
from core.ledger.provenance import database_notices
from core.ledger.scratch_folder import scratch_folder
from core.processes import worker_pool, workers_deaf_to_ctrl_c

MEMORY_BYTES = 256 * 1024 * 1024
"""Journeys beyond this many bytes wait for the second pass in files."""

_PARTS = 8
"""Ranges whose transitions are held before they are merged."""

Progress = Callable[[str, float], None]
_T = TypeVar("_T")
_Users = tuple[str, str | bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The query of an account; it can be pickled for other processes.

    most: channels that data_driven tells apart, as in `fit`.
    """

    file: Path
    parameters: Parameters
    window: Window = field(default_factory=Window)
    with_nulls: bool = True
    most: int | None = None
    touches_per_range: int = RANGE_TOUCHES


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The result of reading a range of users: its paths or their file, and the input of a fit.

    channels: of the paths in a file, because the file does not hold them.
    """

    paths: Paths | Path
    channels: tuple[str, ...]
    transitions: Transitions
    window: tuple[int, int] | None


class _Chain:
    """The transitions of all ranges so far, in a few parts, so their memory is bounded.

    The parts are added up from the left, so sums equal those of one merge of all, bit by bit.
    """

    def __init__(self) -> None:
        self._parts: list[Transitions] = []
        self._window: tuple[int, int] | None = None

    def take(self, seen: _Seen) -> tuple[Paths | Path, tuple[str, ...]]:
        """Add *seen*; return its paths and channels, which sharing out credit needs."""
        self._parts.append(seen.transitions)
        if len(self._parts) >= _PARTS:
            self._parts = [merge(self._parts)]
        if seen.window is not None:
            first, last = self._window or seen.window
            self._window = min(first, seen.window[0]), max(last, seen.window[1])
        return seen.paths, seen.channels

    def fit(self, survey: Survey, minimum: int) -> FittedModel:
        """Return the model of all added parts, of which there is at least one."""
        return fit(
            merge(self._parts), survey.parameters, window=self._window, minimum=minimum,
            most=survey.most,
        )  # fmt: skip


def account_of_database(
    survey: Survey,
    *,
    models: Sequence[str | Model] = (),
    minimum: int = MIN_CONVERSIONS,
    jobs: int = 1,
    fitted: FittedModel | None = None,
    engine: Engine = "auto",
    on_progress: Progress = lambda phase, share: None,
) -> Account:
    """Return the account of the conversions in the window of *survey*.

    Users are read range by range, by ordered scans. The ranges are added up in their order, so
    *jobs* does not change a bit of the figures. With one job the database is read
    in one state; with several, do not write to it meanwhile. *fitted*: a model of other journeys,
    instead of one of these. Raise InputError for a database or
    models that cannot be used.
    """
    chosen, notices = chosen_models(models, has_times=True)
    own = own_ones(chosen)
    is_fitted = any(model.needs_weights for model in chosen)
    if jobs > 1:
        _check_travel(own)
    with ExitStack() as stack:
        connection = stack.enter_context(closing(open_reader(survey.file)))
        notices += database_notices(connection, survey.file)
        events = max(1, events_at_most(connection))
        ranges = user_ranges(connection, touches=survey.touches_per_range)
        # All processes use one engine, whatever each has loaded.
        picked: Engine = chosen_engine(engine, events)
        told = partial(_told, on_progress, max(1, events // survey.touches_per_range))
        # Entered before the pool, so removed after it: the pool's processes write to the folder.
        folder = stack.enter_context(scratch_folder()) if is_fitted else None
        pool = stack.enter_context(worker_pool(jobs)) if jobs > 1 else None
        reader = connection if pool is None else None
        if is_fitted and fitted is None:
            look = partial(_look, survey, reader, folder, _Budget(0 if pool else MEMORY_BYTES))
            chain = _Chain()
            parts = told("reading", _mapped(pool, look, enumerate(ranges)))
            sources = [chain.take(part) for part in parts]
            fitted = chain.fit(survey, minimum)
            share = partial(_share, survey, fitted, picked, own)
            credits = list(told("sharing", _mapped(pool, share, sources)))
        else:
            one_pass = partial(
                _read_and_share, survey, reader, picked, own, fitted if is_fitted else None
            )
            credits = list(told("reading", _mapped(pool, one_pass, ranges)))
        names = [model.name for model in chosen]
        return account_from(
            credits, names, survey.parameters, fitted if is_fitted else None, notices
        )


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
        chain = _Chain()
        expected = max(1, events // survey.touches_per_range)
        for part in _told(on_progress, expected, "reading", map(look, enumerate(ranges))):
            chain.take(part)
        return chain.fit(survey, minimum)


def paths_of_database(
    survey: Survey, *, phase: str, on_progress: Progress = lambda phase, share: None
) -> Iterator[Paths]:
    """Yield the paths in the window of *survey*, range by range, in their order."""
    with closing(open_reader(survey.file)) as connection:
        events = max(1, events_at_most(connection))
        ranges = user_ranges(connection, touches=survey.touches_per_range)
        expected = max(1, events // survey.touches_per_range)
        found = (
            read_paths(
                connection, survey.parameters, users=users, window=survey.window, with_times=True
            )
            for users in ranges
        )
        yield from _told(on_progress, expected, phase, found)


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
        np.savez(kept, **_arrays(paths))
    return _Seen(
        paths=kept, channels=paths.channels, transitions=transitions, window=time_window(paths)
    )


def _share(
    survey: Survey,
    fitted: FittedModel,
    engine: Engine,
    own: Sequence[Model],
    source: tuple[Paths | Path, tuple[str, ...]],
) -> Credit:
    found, channels = source
    paths = found if isinstance(found, Paths) else _loaded(found, channels)
    weights = fitted.weights_of(paths.channels)
    return share_credit(paths, survey.parameters, weights=weights, engine=engine, own=own)


def _read_and_share(
    survey: Survey,
    reader: Reader | None,
    engine: Engine,
    own: Sequence[Model],
    fitted: FittedModel | None,
    users: _Users,
) -> Credit:
    paths = _read(survey, reader, users)
    weights = None if fitted is None else fitted.weights_of(paths.channels)
    return share_credit(paths, survey.parameters, weights=weights, engine=engine, own=own)


def _check_travel(own: Sequence[Model]) -> None:
    """Raise InputError for a model that cannot be sent to other processes."""
    for model in own:
        try:
            pickle.dumps(model)
        except (AttributeError, TypeError, pickle.PicklingError):
            raise InputError(
                f"model {model.name}: other processes cannot be given "
                f"{function_name(model.credits)}; make it a function of a module, or use one job"
            ) from None


def _read(survey: Survey, reader: Reader | None, users: _Users) -> Paths:
    if reader is not None:
        return read_paths(reader, survey.parameters, users=users, window=survey.window)
    with closing(open_reader(survey.file)) as own:
        return _read(survey, own, users)


def _arrays(paths: Paths) -> dict[str, Any]:
    found = {each.name: getattr(paths, each.name) for each in fields(paths)}
    return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}


def _loaded(file: Path, channels: tuple[str, ...]) -> Paths:
    with np.load(file) as data:
        return Paths(channels=channels, **{name: data[name] for name in data.files})


def _mapped(
    pool: ProcessPoolExecutor | None, call: Callable[[Any], _T], tasks: Iterable[Any]
) -> Iterator[_T]:
    """Yield the result of each task in order; with a pool, a few tasks run ahead."""
    if pool is None:
        yield from map(call, tasks)
        return
    rest = iter(tasks)
    waiting: list[Future[_T]] = []
    ahead = 16
    while True:
        with workers_deaf_to_ctrl_c():
            waiting += [pool.submit(call, task) for task in islice(rest, ahead)]
        if not waiting:
            return
        yield waiting.pop(0).result()
        ahead = 1


def _told(on_progress: Progress, expected: int, phase: str, parts: Iterable[_T]) -> Iterator[_T]:
    on_progress(phase, 0.0)
    for number, part in enumerate(parts, 1):
        yield part
        on_progress(phase, min(0.99, number / (expected + 1)))
    on_progress(phase, 1.0)
